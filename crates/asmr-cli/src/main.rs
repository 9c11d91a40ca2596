//! `asmr`: turns a signal into a small network, shows what it costs, and gives the signal back.
//!
//! A thin face over the libraries: it parses, calls, draws bars and prints. Results go to stdout, everything else to
//! stderr. See `asmr --help`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    asmr_cli::main()
}
