//! Fitting activation-sharing networks to signals.
#![forbid(unsafe_code)]

pub mod gradient;
