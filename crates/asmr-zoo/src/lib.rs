//! Baselines, and the benches that compare asmr with them. Nothing here is published or used by another crate.
//!
//! | module | what |
//! |---|---|
//! | [`siren`] | a SIREN on this project's own kernels, and its fit |
//! | [`peers`] | `PyTorch` models in a process of their own, one repetition per request |
//! | [`machine`] | what runs here, its multiply-add peak and its memory bandwidth |
//! | [`timing`] | repetitions of ours and the peers', interleaved |
//! | [`cases`] | the networks that are timed |
//! | [`speed`] | decodes and steps beside the peers, and their memory |
//! | [`scaling`] | decode time against samples, depth, threads and width |
//! | [`fit_time`] | quality reached in a given time |
//! | [`gate`] | fixed work whose instructions are counted |
//! | [`table`] | result files |
#![forbid(unsafe_code)]

pub mod cases;
pub mod fit_time;
pub mod gate;
pub mod machine;
pub mod peers;
pub mod scaling;
pub mod siren;
pub mod speed;
pub mod table;
pub mod timing;

/// What a bench gives, or a sentence that says what went wrong.
pub type Outcome<T> = Result<T, String>;
