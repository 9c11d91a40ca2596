//! `asmr info`: what a file holds and what it costs.

use std::fmt::Write as _;

use asmr::cost::{Cost, Part};
use asmr::file::{Encoding, FitRecord};
use asmr::inference::thumbnail_factors;
use asmr::residual::MaxError;
use serde::Serialize;

use crate::args::{Common, InfoArgs};
use crate::error::{Failure, OK};
use crate::files::{open_asmr, unusable};
use crate::report::{
    ChunkReport, CostReport, NetworkReport, SignalReport, chunk_line, describe, network_lines, print,
    print_json, rate_bpp, thousands,
};

/// What is told about a file.
#[derive(Debug, Serialize)]
struct InfoReport<'a> {
    file: String,
    bytes: u64,
    rate_bpp: f64,
    encoding: Encoding,
    bits_per_weight: f64,
    /// The most by which a decoded value differs from its original, where corrections make sure of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_error: Option<MaxError>,
    correction_bytes: u64,
    /// In progressive order, the bytes of each pass.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pass_bytes: Vec<u64>,
    #[serde(flatten)]
    signal: SignalReport<'a>,
    #[serde(flatten)]
    network: NetworkReport<'a>,
    #[serde(flatten)]
    chunks: Option<ChunkReport>,
    #[serde(flatten)]
    cost: CostReport,
    parts: Vec<PartReport>,
    thumbnail_factors: Vec<usize>,
    fit: Option<&'a FitRecord>,
}

/// One row of the cost table.
#[derive(Debug, Serialize)]
struct PartReport {
    part: String,
    n_params: u64,
    /// As 32-bit floats, which is what a decoder holds; coded weights take fewer bytes of the file.
    float_bytes: u64,
    mac_paper: f64,
    sin_paper: f64,
    mac_exec: f64,
    sin_exec: f64,
}

/// Runs the verb.
pub(crate) fn run(args: &InfoArgs, common: &Common) -> Result<u8, Failure> {
    let mut reader = open_asmr(&args.input, common)?;
    // Whether the weights are whole is part of what a file holds.
    let mut n_correction_bytes = 0;
    for chunk in 0..reader.header().n_chunks() {
        let read = reader.chunk(chunk).map_err(|error| unusable(&args.input, &error))?;
        // With their lengths, and that of the weights.
        n_correction_bytes += read
            .corrections
            .map_or(0, |slabs| slabs.iter().map(|slab| slab.len() as u64 + 4).sum::<u64>() + 4);
    }
    let (header, n_bytes) = (reader.header(), reader.n_bytes());
    let config = &header.network;
    let cost = Cost::of(config);
    let report = InfoReport {
        file: args.input.display().to_string(),
        bytes: n_bytes,
        rate_bpp: rate_bpp(n_bytes, &header.signal),
        encoding: header.encoding,
        bits_per_weight: 8.0 * (reader.weight_bytes() - n_correction_bytes) as f64
            / (header.n_chunks() as f64 * config.n_params() as f64),
        max_error: header.max_error,
        correction_bytes: n_correction_bytes,
        pass_bytes: if header.refinements.is_empty() { Vec::new() } else { reader.pass_bytes() },
        signal: SignalReport::new(&header.signal),
        network: NetworkReport::new(config),
        chunks: ChunkReport::new(header),
        cost: CostReport::new(&cost),
        parts: parts(&cost),
        thumbnail_factors: thumbnail_factors(&config.partition),
        fit: header.fit.as_ref(),
    };
    if common.json {
        print_json(&report)?;
    } else {
        let mut text = format!("{}: {}\n", report.file, describe(&header.signal));
        let _ = writeln!(
            text,
            "  file      {} bytes, {:.3} bits per sample",
            thousands(report.bytes),
            report.rate_bpp
        );
        let encoding = match report.encoding {
            Encoding::F32 => "as 32-bit floats",
            Encoding::Coded => "rounded and entropy-coded",
        };
        let _ = writeln!(text, "  weights   {encoding}, {:.2} bits each", report.bits_per_weight);
        if let Some(max_error) = report.max_error {
            let bound = match max_error {
                MaxError::Whole(0) => "every value is the original's".to_owned(),
                n => format!("no value is off by more than {n}"),
            };
            let bytes = thousands(report.correction_bytes);
            let _ = writeln!(text, "  corrected in {bytes} bytes: {bound}");
        }
        if !report.pass_bytes.is_empty() {
            let bytes: Vec<String> = report.pass_bytes.iter().map(|&n| thousands(n)).collect();
            let _ = writeln!(text, "  passes    {} of {} bytes", bytes.len(), bytes.join(" + "));
        }
        text += &chunk_line(header);
        text += &network_lines(config, &cost);
        let _ = writeln!(text, "  thumbnail factors {}", list(&report.thumbnail_factors));
        text += &table(&report.parts, &cost);
        text += &fit_lines(report.fit);
        print(&text)?;
    }
    Ok(OK)
}

fn parts(cost: &Cost) -> Vec<PartReport> {
    cost.parts
        .iter()
        .map(|part| PartReport {
            part: match part.part {
                Part::Layer(i) => format!("layer {i}"),
                Part::Modulator(level) => format!("modulator {level}"),
                Part::Output => "output".to_owned(),
            },
            // A file's network has at most 2^30 weights.
            n_params: part.n_params as u64,
            float_bytes: part.n_bytes() as u64,
            mac_paper: part.mac_paper,
            sin_paper: part.sin_paper,
            mac_exec: part.mac_exec,
            sin_exec: part.sin_exec,
        })
        .collect()
}

fn list(values: &[usize]) -> String {
    values.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

fn table(parts: &[PartReport], cost: &Cost) -> String {
    let mut text = format!(
        "\n  {:<14}{:>12}{:>14}{:>13}{:>13}{:>15}{:>15}\n",
        "part", "weights", "f32 bytes", "MAC, exec.", "sin, exec.", "MAC, publ.", "sin, publ."
    );
    let mut row = |name: &str, n_params: u64, bytes: u64, figures: [f64; 4]| {
        let _ = writeln!(
            text,
            "  {name:<14}{:>12}{:>14}{:>13.3}{:>13.3}{:>15.3}{:>15.3}",
            thousands(n_params),
            thousands(bytes),
            figures[0],
            figures[1],
            figures[2],
            figures[3]
        );
    };
    for p in parts {
        row(&p.part, p.n_params, p.float_bytes, [p.mac_exec, p.sin_exec, p.mac_paper, p.sin_paper]);
    }
    let figures = [cost.mac_exec, cost.sin_exec, cost.mac_paper, cost.sin_paper];
    row("all", cost.n_params as u64, cost.n_bytes() as u64, figures);
    text += "  (MAC and sines per sample of a whole decode)\n";
    text
}

fn fit_lines(fit: Option<&FitRecord>) -> String {
    let Some(fit) = fit else { return "\n  fit       not recorded\n".to_owned() };
    let entries: Vec<_> = fit
        .iter()
        .map(|(key, value)| match value.as_str() {
            Some(text) => format!("{key} {text}"),
            None => format!("{key} {value}"),
        })
        .collect();
    format!("\n  fit       {}\n", entries.join(", "))
}
