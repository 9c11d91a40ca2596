//! The command `asmr` as a library: its program is [`main`] and nothing else, so that fuzzers and tests reach the grammar
//! of its options without starting a process.
#![forbid(unsafe_code)]

mod args;
mod choices;
#[cfg(feature = "compare")]
mod compare;
mod corrections;
mod decode;
mod encode;
mod error;
mod eval;
mod files;
pub mod grammar;
mod info;
mod interchange;
mod interrupt;
mod job;
mod meta;
mod partfile;
mod pieces;
mod progress;
mod quality;
mod report;
mod resume;
mod target;
mod values;
mod verify;

use std::process::ExitCode;

use args::{Cli, Command};
use error::Failure;

/// Runs the command with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    interrupt::install();
    // A decoder's panic that becomes a sentence of ours is not to be told twice.
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !asmr_media::is_guarded() {
            tell(info);
        }
    }));
    let code = match args::parse() {
        Ok(cli) => run(&cli).unwrap_or_else(|failure| failure.report()),
        Err(code) => code,
    };
    ExitCode::from(code)
}

fn run(cli: &Cli) -> Result<u8, Failure> {
    let common = &cli.common;
    if let Some(threads) = common.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().map_err(|error| {
            Failure::failed(format!("{threads} threads could not be started: {error}; try a lower --threads"))
        })?;
    }
    match &cli.command {
        Command::Encode(args) => encode::run(args, common),
        Command::Decode(args) => decode::run(args, common),
        Command::Info(args) => info::run(args, common),
        Command::Verify(args) => verify::run(args, common),
        Command::Eval(args) => eval::run(args, common),
        #[cfg(feature = "compare")]
        Command::Compare(args) => compare::run(args, common),
        Command::MetaTrain(args) => meta::run(args, common),
        Command::Import(args) => interchange::import(args, common),
        Command::Export(args) => interchange::export(args, common),
    }
}
