//! Activation-sharing multi-resolution coordinate networks (ASMR, ICLR 2024).
#![forbid(unsafe_code)]

pub mod signal;
