//! Fitting activation-sharing networks to signals.
#![forbid(unsafe_code)]

pub mod config;
pub mod fit;
pub mod gradient;
pub mod optimiser;
pub mod sampler;
pub mod soap;
