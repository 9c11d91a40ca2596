//! Activation-sharing multi-resolution coordinate networks (ASMR, ICLR 2024).
#![forbid(unsafe_code)]

pub mod cost;
pub mod file;
pub mod interchange;
pub mod network;
pub mod partition;
pub mod planner;
pub mod reference;
pub mod signal;
