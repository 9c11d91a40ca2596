//! Baselines, and the benches that compare asmr with them. Nothing here is published or used by another crate.
//!
//! | module | what |
//! |---|---|
//! | [`field`] | what every baseline is: evaluation, losses, gradients, cost |
//! | [`mod@fit`] | how baselines are fitted |
//! | [`baseline`] | baselines of any kind, and how they are stored |
//! | [`siren`] | sine layers |
//! | [`ffn`] | rectifiers over Fourier features |
//! | [`kilonerf`] | a grid of tiny networks |
//! | [`loe`] | layers that choose their matrix by position |
//! | [`ngp`] | a multiresolution hash grid and a small network |
//! | [`wire`] | complex Gabor wavelets |
//! | [`unshared`] | ASMR without activation sharing |
//! | [`plenoxels`] | an explicit grid, sparse where the signal is |
//! | [`mlp`] | dense layers, which several of them share |
//! | [`budget`] | what methods are given equally much of, and the settings that use most of it |
//! | [`contestant`] | ASMR and the baselines by one path: a fit, a decode, and what they cost |
//! | [`rate_search`] | a fit of a baseline in a given time: its batch and its rate |
//! | [`mod@compare`] | contestants on one picture, as rows of a table |
//! | [`page`] | that table with pictures as one file of HTML |
//! | [`experiment`] | experiments as files |
//! | [`runner`] | their fits, one after the other |
//! | [`records`] | what they measured |
//! | [`report`] | that as one file of HTML |
//! | [`meta_study`] | what a few steps reach from what many pictures taught |
//! | [`claims`] | what the paper claims, and what was measured |
//! | [`plot`] | curves as SVG |
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

mod axes;
pub mod baseline;
pub mod budget;
pub mod cases;
pub mod claims;
pub mod compare;
pub mod contestant;
mod draws;
pub mod experiment;
pub mod ffn;
pub mod field;
pub mod fit;
pub mod fit_time;
pub mod gate;
mod interpolation;
pub mod kilonerf;
pub mod loe;
pub mod machine;
pub mod meta_study;
pub mod mlp;
pub mod ngp;
pub mod page;
pub mod peers;
pub mod plenoxels;
pub mod plot;
pub mod rate_search;
pub mod records;
pub mod report;
pub mod runner;
pub mod scaling;
pub mod siren;
pub mod speed;
pub mod table;
pub mod timing;
pub mod unshared;
pub mod wire;

/// What a bench gives, or a sentence that says what went wrong.
pub type Outcome<T> = Result<T, String>;
