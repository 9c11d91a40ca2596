//! `asmr verify`: whether a file is whole, and what is left of it if not.

use asmr::file::{Encoding, FileError};
use serde::Serialize;

use crate::args::{Common, VerifyArgs};
use crate::corrections;
use crate::error::{Failure, OK, USAGE, say};
use crate::files::{is_lost, open_damaged, unusable};
use crate::report::{print, print_json, quote, thousands};

/// What is told about a file whose header and index are whole.
#[derive(Debug, Serialize)]
struct VerifyReport {
    file: String,
    whole: bool,
    bytes: u64,
    version: u16,
    encoding: Encoding,
    n_chunks: usize,
    /// Slices of damaged or missing chunks, `[start, end]`.
    lost: Vec<[u64; 2]>,
    /// Slices of chunks of which the first passes are whole, and not all.
    coarser: Vec<[u64; 2]>,
    /// What is wrong first.
    error: Option<String>,
}

/// Runs the verb.
pub(crate) fn run(args: &VerifyArgs, common: &Common) -> Result<u8, Failure> {
    let path = &args.input;
    let mut reader = open_damaged(path, common)?;
    let n_chunks = reader.header().n_chunks();
    let (mut lost, mut coarser) = (Vec::new(), Vec::new());
    let mut first: Option<FileError> = None;
    for chunk in 0..n_chunks {
        let range = reader.header().chunk_range(chunk);
        let error = match corrections::whole_passes(&mut reader, chunk) {
            Ok(whole) if whole.n_passes == reader.header().n_passes() => continue,
            Ok(whole) => {
                coarser.push([range.start, range.end]);
                whole.error.or_else(|| reader.chunk(chunk).err())
            }
            Err(error) if !is_lost(&error) => return Err(unusable(path, &error)),
            Err(error) => {
                lost.push([range.start, range.end]);
                Some(error)
            }
        };
        first = first.or(error);
    }
    // Bytes that nobody reads are damage, too.
    let error = first.or(reader.check_length().err()).map(|error| unusable(path, &error));
    let report = VerifyReport {
        file: path.display().to_string(),
        whole: error.is_none(),
        bytes: reader.n_bytes(),
        version: reader.version(),
        encoding: reader.header().encoding,
        n_chunks,
        error: error.as_ref().map(|failure| failure.sentence().to_owned()),
        lost,
        coarser,
    };
    if common.json {
        print_json(&report)?;
    }
    let Some(error) = error else {
        if !common.json {
            let chunks = if n_chunks == 1 { "1 network" } else { &format!("{n_chunks} networks") };
            let (bytes, version) = (thousands(report.bytes), report.version);
            print(&format!("{}: whole; {chunks}, {bytes} bytes, format version {version}\n", report.file))?;
        }
        return Ok(OK);
    };
    let n_usable = n_chunks - report.lost.len();
    if n_usable == 0 {
        return Err(error);
    }
    let what =
        if report.coarser.is_empty() { "are whole" } else { "are there, some coarser than they were made" };
    say(&format!(
        "{}; {n_usable} of {n_chunks} networks {what}: asmr decode {} --recover",
        error.sentence(),
        quote(path)
    ));
    Ok(USAGE)
}
