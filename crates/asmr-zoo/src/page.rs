//! A comparison as one file of HTML that needs no other: the table, decoded pictures, maps of their errors, and all settings.
//!
//! Pictures are PNG in data URIs. There is no script and nothing to load; colours follow the reader's choice of light or dark.

use std::fmt::Write as _;

use asmr::signal::{Samples, Signal};

use crate::compare::{COLUMNS, Comparison, length};
use crate::rate_search::{BATCHES, MAX_RATES, RATE_FACTORS, TARGET_STEPS, TRIAL_SHARE};

/// An error of this share of the range is white in a map.
const WHITE_ERROR: f64 = 1.0 / 16.0;

/// Of all pages here.
pub(crate) const STYLE: &str = "
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #8886; }
th:first-child, td:first-child { text-align: left; }
td.best { font-weight: bold; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1rem; }
figure { margin: 0; }
img { width: 100%; height: auto; image-rendering: auto; }
pre { overflow-x: auto; font-size: .85rem; }
";

/// What columns mean, in words.
const MEANINGS: [(&str, &str); COLUMNS.len()] = [
    ("method", "asmr is this project's network, the others are its rivals"),
    ("psnr_db", "of the decoded samples, rounded to the picture's own values"),
    ("ssim", "structural similarity, mean over channels"),
    ("params", "stored numbers"),
    ("bytes", "of a file with all of them as 32-bit floats, none rounded or coded"),
    ("mac_paper", "multiply-adds per sample, counted as published"),
    ("mac_exec", "multiply-adds per sample as executed here"),
    ("sines", "sines and cosines evaluated per sample, each counted"),
    ("table_reads", "rows of tables read per sample"),
    ("fit_s", "seconds of the fit, the search of its rate included"),
    ("steps", "optimiser updates of the fit, that search not included"),
    ("Ms/s_1", "million samples decoded per second on 1 thread, median of repetitions"),
    ("Ms/s_2", "the same on 2 threads"),
    ("rate", "learning rate at its highest"),
    ("batch", "samples of a step"),
];

/// The page. `name` is the picture's.
///
/// # Errors
/// A sentence when a picture cannot be written as PNG.
pub fn page(name: &str, original: &Signal, comparison: &Comparison) -> Result<String, String> {
    let extents: Vec<String> = comparison.shape.extents.iter().map(ToString::to_string).collect();
    let title = format!("{} compared", escaped(name));
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n\
         <p>{} samples, {}. Budget {}, fits of {} on {}, seed {}. {}.</p>\n",
        extents.join(" × "),
        counted(comparison.shape.channels, "channel"),
        comparison.budget,
        length(comparison.length),
        counted(comparison.fit_threads, "thread"),
        comparison.seed,
        escaped(&comparison.machine),
    );
    out += &table(comparison);
    let _ = write!(
        out,
        "<h2>Pictures</h2>\n<p>Error maps: the root mean square over channels of a sample's error; black is none, white is {WHITE_ERROR} of \
         the range or more.</p>\n<div class=\"pictures\">\n"
    );
    out += &figure(original, "the original")?;
    out += "</div>\n";
    for row in &comparison.rows {
        let _ = write!(out, "<h3>{}</h3>\n<div class=\"pictures\">\n", row.method);
        let cells = row.cells();
        let caption = format!("{}: {} dB, {} parameters", row.method, cells[1], cells[3]);
        out += &figure(&row.decoded, &caption)?;
        let map = uri(&errors(original, &row.decoded), &comparison.shape.extents, 1, png::BitDepth::Eight)?;
        out += &img(&map, &format!("{}: errors", row.method));
        out += "</div>\n";
    }
    let json = serde_json::to_string_pretty(comparison)
        .map_err(|error| format!("the settings cannot be told: {error}"))?;
    let _ = write!(
        out,
        "<h2>All settings</h2>\n<details>\n<summary>Everything that was chosen, to repeat a row by</summary>\n\
         <pre>{}</pre>\n</details>\n</body>\n</html>\n",
        escaped(&json)
    );
    Ok(out)
}

fn table(comparison: &Comparison) -> String {
    let mut out = "<div class=\"wide\">\n<table>\n<thead>\n<tr>".to_owned();
    for column in COLUMNS {
        let _ = write!(out, "<th scope=\"col\">{column}</th>");
    }
    out += "</tr>\n</thead>\n<tbody>\n";
    // An exact picture is better than any.
    let quality = |db: Option<f64>| db.unwrap_or(f64::INFINITY);
    let best = comparison.rows.iter().map(|row| quality(row.psnr_db)).fold(f64::NEG_INFINITY, f64::max);
    for row in &comparison.rows {
        out += "<tr>";
        for (column, cell) in COLUMNS.iter().zip(row.cells()) {
            let is_best = *column == "psnr_db" && quality(row.psnr_db) == best;
            let class = if is_best { " class=\"best\"" } else { "" };
            let _ = write!(out, "<td{class}>{}</td>", escaped(&cell));
        }
        out += "</tr>\n";
    }
    out += "</tbody>\n</table>\n</div>\n";
    for refusal in &comparison.refused {
        let _ = writeln!(out, "<p>{}: no row: {}</p>", escaped(&refusal.method), escaped(&refusal.reason));
    }
    let searched = comparison.rows.iter().any(|row| !row.trials.is_empty());
    if searched {
        let _ = writeln!(
            out,
            "<p>Rivals are fitted in random batches, of {} samples or more, chosen so that up to about {TARGET_STEPS} steps fit into \
             the time, at the best of {} to {MAX_RATES} rates about the published one, each tried for {:.0} % of the time or a little more, which \
             counts; the best also with a quarter of the batch. asmr is fitted by its preset, without such a search: its presets were found \
             beforehand, on camera.png and Kodak pictures. Where the budget is a time, its width follows from that.</p>",
            BATCHES.start(),
            RATE_FACTORS.len(),
            100.0 * TRIAL_SHARE
        );
    }
    out += "<details>\n<summary>What the columns mean</summary>\n<dl>\n";
    for (column, meaning) in MEANINGS {
        let _ = writeln!(out, "<dt>{column}</dt><dd>{meaning}</dd>");
    }
    out + "</dl>\n</details>\n"
}

fn figure(signal: &Signal, caption: &str) -> Result<String, String> {
    let info = signal.info();
    let (bytes, depth) = match signal.samples() {
        Samples::U8(values) => (values.clone(), png::BitDepth::Eight),
        Samples::U16(values) => {
            (values.iter().flat_map(|value| value.to_be_bytes()).collect(), png::BitDepth::Sixteen)
        }
        _ => return Err("pictures have unsigned values of 8 or 16 bits".to_owned()),
    };
    Ok(img(&uri(&bytes, &info.extents, info.channels, depth)?, caption))
}

fn img(uri: &str, caption: &str) -> String {
    let caption = escaped(caption);
    format!("<figure><img src=\"{uri}\" alt=\"{caption}\"><figcaption>{caption}</figcaption></figure>\n")
}

/// A grey value per sample: how far it is off.
fn errors(original: &Signal, decoded: &Signal) -> Vec<u8> {
    let channels = original.info().channels;
    let white = original.info().peak() * WHITE_ERROR;
    let (a, b) = (original.samples().doubles(), decoded.samples().doubles());
    a.chunks_exact(channels)
        .zip(b.chunks_exact(channels))
        .map(|(a, b)| {
            let square: f64 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
            (255.0 * (square / channels as f64).sqrt() / white).round().min(255.0) as u8
        })
        .collect()
}

/// A PNG of rows × columns × channels as a data URI.
fn uri(bytes: &[u8], extents: &[usize], channels: usize, depth: png::BitDepth) -> Result<String, String> {
    let side =
        |extent: usize| u32::try_from(extent).map_err(|_| "the picture is too large for PNG".to_owned());
    let [rows, columns] = extents else { return Err("pictures have 2 axes".to_owned()) };
    let color = match channels {
        1 => png::ColorType::Grayscale,
        2 => png::ColorType::GrayscaleAlpha,
        3 => png::ColorType::Rgb,
        _ => png::ColorType::Rgba,
    };
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, side(*columns)?, side(*rows)?);
    encoder.set_color(color);
    encoder.set_depth(depth);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(bytes)?;
        writer.finish()
    });
    written.map_err(|error| format!("a picture cannot be written as PNG: {error}"))?;
    Ok(format!("data:image/png;base64,{}", base64(&file)))
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().enumerate().fold(0u32, |bits, (i, &b)| bits | u32::from(b) << (16 - 8 * i));
        for i in 0..4 {
            let sign = SIGNS[(bits >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= group.len() { char::from(sign) } else { '=' });
        }
    }
    text
}

/// `1 thread`, `2 threads`.
fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Text that HTML takes as text, in an attribute too.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of RFC 4648, section 10.
    #[test]
    fn base64_is_the_standard_one() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, coded) in cases {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xbf]), "+/+/");
    }

    #[test]
    fn every_column_has_a_meaning() {
        assert_eq!(MEANINGS.map(|(column, _)| column), COLUMNS);
    }
}
