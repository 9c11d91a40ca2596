//! Activation-sharing multi-resolution coordinate networks (ASMR, ICLR 2024).
#![forbid(unsafe_code)]

pub mod anglesum;
pub mod coding;
pub mod cost;
pub mod exact;
pub mod file;
pub mod inference;
pub mod interchange;
pub mod metadata;
pub mod modulation;
pub mod network;
mod parallel;
pub mod partition;
pub mod planner;
pub mod published;
pub mod reference;
pub mod residual;
mod samples;
pub mod signal;
pub mod walk;
