//! `asmr import` and `asmr export`: weights from and for `PyTorch`.

use std::io::Read as _;
use std::path::Path;

use asmr::cost::Cost;
use asmr::file::AsmrFile;
use asmr::interchange::{self, ImportError, MAX_IMPORT_HEADER_BYTES, imported_signal};
use asmr::network::MAX_PARAMS;
use serde::Serialize;

use crate::args::{Common, ExportArgs, ImportArgs};
use crate::error::{Failure, OK};
use crate::files;
use crate::report::{
    CostReport, NetworkReport, SignalReport, describe, network_lines, print, print_json, rate_bpp, thousands,
};
use crate::values::Bases;

/// The largest `.safetensors` file that is read: the most weights as f64, and room for the header.
const MAX_IMPORT_BYTES: u64 = 8 * MAX_PARAMS as u64 + MAX_IMPORT_HEADER_BYTES + 8;

/// What is told about a conversion.
#[derive(Debug, Serialize)]
struct ConversionReport<'a> {
    input: String,
    output: String,
    bytes: u64,
    rate_bpp: f64,
    #[serde(flatten)]
    signal: SignalReport<'a>,
    #[serde(flatten)]
    network: NetworkReport<'a>,
    #[serde(flatten)]
    cost: CostReport,
}

/// Runs `import`.
pub(crate) fn import(args: &ImportArgs, common: &Common) -> Result<u8, Failure> {
    let bytes = read_weights(&args.input)?;
    let bases = args.bases.as_ref().map(|Bases(bases)| bases.as_slice());
    let network = interchange::import(&bytes, bases).map_err(|error| {
        let remedy = match error {
            ImportError::NoBases => ", as in: --bases \"4,4,4,8;4,4,6,8\"",
            _ => "",
        };
        Failure::usage(format!("{} cannot be imported: {error}{remedy}", args.input.display()))
    })?;
    drop(bytes);
    let output = files::output_path(args.output.as_ref(), &args.input, "asmr", files::none_replaced)?;
    files::check_name(&output, "asmr")?;
    files::check_no_stdout(&output)?;
    let file = AsmrFile { signal: imported_signal(network.config()), network, steps: None, fit: None };
    let (bytes, file) = files::checked_bytes(&file, &output, common)?;
    files::write_bytes(&output, &bytes)?;
    tell(&args.input, &output, bytes.len() as u64, &file, common)
}

/// Runs `export`.
pub(crate) fn export(args: &ExportArgs, common: &Common) -> Result<u8, Failure> {
    let file = files::read_asmr(&args.input, common)?;
    let output = files::output_path(args.output.as_ref(), &args.input, "safetensors", files::none_replaced)?;
    files::check_name(&output, "safetensors")?;
    files::check_no_stdout(&output)?;
    let bytes = interchange::export(&file.network)
        .map_err(|error| Failure::failed(format!("{} cannot be made: {error}", output.display())))?;
    files::write_bytes(&output, &bytes)?;
    tell(&args.input, &output, bytes.len() as u64, &file, common)
}

/// A whole `.safetensors` file, if it is not longer than any network's can be.
fn read_weights(path: &Path) -> Result<Vec<u8>, Failure> {
    if files::is_asmr(path) {
        return Err(Failure::usage(format!(
            "{} is an .asmr file already; nothing is to be imported",
            path.display()
        )));
    }
    let (file, known_len) = files::open(path, "a .safetensors")?;
    let too_large = |len: String| {
        Failure::usage(format!(
            "{} has {len} bytes, and at most {MAX_IMPORT_BYTES} are accepted ({MAX_PARAMS} weights)",
            path.display()
        ))
    };
    if let Some(len) = known_len.filter(|&len| len > MAX_IMPORT_BYTES) {
        return Err(too_large(len.to_string()));
    }
    let mut bytes = Vec::new();
    let reserved = known_len.map_or(Ok(()), |len| bytes.try_reserve_exact(len as usize + 1));
    if reserved.is_err() {
        return Err(Failure::failed(format!("there is not enough memory to read {}", path.display())));
    }
    file.take(MAX_IMPORT_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
    if bytes.len() as u64 > MAX_IMPORT_BYTES {
        return Err(too_large("more".to_owned()));
    }
    Ok(bytes)
}

fn tell(input: &Path, output: &Path, n_bytes: u64, file: &AsmrFile, common: &Common) -> Result<u8, Failure> {
    let config = file.network.config();
    let cost = Cost::of(config);
    let report = ConversionReport {
        input: input.display().to_string(),
        output: output.display().to_string(),
        bytes: n_bytes,
        rate_bpp: rate_bpp(n_bytes, &file.signal),
        signal: SignalReport::new(&file.signal),
        network: NetworkReport::new(config),
        cost: CostReport::new(&cost),
    };
    if common.json {
        print_json(&report)?;
    } else {
        let mut text = format!(
            "{}: {}\n  file      {} bytes, {:.3} bits per sample\n",
            report.output,
            describe(&file.signal),
            thousands(n_bytes),
            report.rate_bpp
        );
        text += &network_lines(config, &cost);
        print(&text)?;
    }
    Ok(OK)
}
