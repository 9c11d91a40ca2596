//! Fitting activation-sharing networks to signals.
//!
//! [`fit::fit`] takes a signal, a network's shape and a [`config::FitConfig`], tells what happens as a stream of
//! [`fit::FitEvent`]s and gives back the best network it saw. Below it: [`gradient`] (loss and gradient of whole
//! signals in the angle-sum plan), [`sampler`] (batches of whole cells), [`optimiser`] and [`soap`]. [`budget`] says
//! how large a network a time allows. [`meta`] learns a network that many signals share.
#![forbid(unsafe_code)]

pub mod budget;
pub mod checkpoint;
pub mod config;
pub mod fit;
pub mod gradient;
pub mod measure;
pub mod meta;
pub mod optimiser;
pub mod quantise;
pub mod rounding;
pub mod sampler;
pub mod soap;
mod state;
pub mod work;

/// The README's example, compiled and run as a test.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
