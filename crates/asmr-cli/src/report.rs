//! What results look like: parts of JSON objects, and numbers for people.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;

use asmr::cost::Cost;
use asmr::file::FileHeader;
use asmr::metadata::ShapeField;
use asmr::network::{Modulator, NetworkConfig};
use asmr::signal::{ColorType, Media, SampleType, SignalInfo, ValueRange};
use serde::Serialize;

use crate::error::Failure;

/// A signal's shape and kind.
#[derive(Debug, Serialize)]
pub(crate) struct SignalReport<'a> {
    extents: &'a [usize],
    channels: usize,
    sample_type: SampleType,
    color: Option<ColorType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_range: Option<ValueRange>,
    #[serde(skip_serializing_if = "Media::is_plain")]
    media: &'a Media,
}

impl<'a> SignalReport<'a> {
    pub(crate) fn new(info: &'a SignalInfo) -> Self {
        Self {
            extents: &info.extents,
            channels: info.channels,
            sample_type: info.sample_type,
            color: info.color,
            value_range: info.value_range,
            media: &info.media,
        }
    }
}

/// A network's shape.
#[derive(Debug, Serialize)]
pub(crate) struct NetworkReport<'a> {
    bases: &'a [Vec<usize>],
    padded_extents: Vec<u64>,
    n_levels: usize,
    width: usize,
    modulator: Modulator,
    omega_0: f32,
    n_params: usize,
}

impl<'a> NetworkReport<'a> {
    pub(crate) fn new(config: &'a NetworkConfig) -> Self {
        let partition = &config.partition;
        Self {
            bases: partition.bases(),
            padded_extents: padded_extents(config),
            n_levels: partition.n_levels(),
            width: config.width,
            modulator: config.modulator,
            omega_0: config.omega_0,
            n_params: config.n_params(),
        }
    }
}

/// A network's cost per sample: as published, as executed, and that of a SIREN of the same shape.
#[derive(Debug, Serialize)]
pub(crate) struct CostReport {
    mac_paper: f64,
    sin_paper: f64,
    mac_exec: f64,
    sin_exec: f64,
    mac_siren: f64,
    sin_siren: f64,
    ratio_paper: f64,
}

impl CostReport {
    pub(crate) fn new(cost: &Cost) -> Self {
        Self {
            mac_paper: cost.mac_paper,
            sin_paper: cost.sin_paper,
            mac_exec: cost.mac_exec,
            sin_exec: cost.sin_exec,
            mac_siren: cost.mac_siren,
            sin_siren: cost.sin_siren,
            ratio_paper: cost.ratio_paper(),
        }
    }
}

/// Extents with padding.
pub(crate) fn padded_extents(config: &NetworkConfig) -> Vec<u64> {
    (0..config.partition.n_axes()).map(|axis| config.partition.padded_extent(axis)).collect()
}

/// Bits of the whole file per sample.
pub(crate) fn rate_bpp(n_bytes: u64, signal: &SignalInfo) -> f64 {
    8.0 * n_bytes as f64 / signal.extents.iter().map(|&e| e as f64).product::<f64>()
}

/// How a long signal is cut.
#[derive(Debug, Serialize)]
pub(crate) struct ChunkReport {
    n_chunks: usize,
    chunk_extent: usize,
}

impl ChunkReport {
    /// Nothing where there is one network for everything.
    pub(crate) fn new(header: &FileHeader) -> Option<Self> {
        (header.n_chunks() > 1)
            .then(|| Self { n_chunks: header.n_chunks(), chunk_extent: header.chunk_extent })
    }
}

/// A line on chunks, if there are several.
pub(crate) fn chunk_line(header: &FileHeader) -> String {
    if header.n_chunks() == 1 {
        return String::new();
    }
    format!(
        "  chunks    {} of {} slices each, a network of {} weights for every one\n",
        header.n_chunks(),
        header.chunk_extent,
        thousands(header.network.n_params() as u64)
    )
}

/// Text as a terminal may be given it: a header, or a file's name, may hold what moves its cursor or changes its colours.
pub(crate) fn tamed(text: &str) -> String {
    let escape =
        |c: char| if c.is_control() && c != '\n' { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}

/// Prints text on stdout, tamed. That nobody listens any more is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    write(&tamed(text))
}

fn write(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write to the standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints one JSON object on stdout.
pub(crate) fn print_json(object: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(object)
        .map_err(|error| Failure::failed(format!("the result cannot be told as JSON: {error}")))?;
    // Another program reads it, and JSON has escapes of its own.
    write(&(text + "\n"))
}

/// `512 x 768`.
pub(crate) fn times<T: ToString>(extents: &[T]) -> String {
    extents.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ")
}

/// `512 x 768, 8-bit RGB`.
pub(crate) fn describe(info: &SignalInfo) -> String {
    let depth = match info.sample_type {
        SampleType::U8 => "8-bit",
        SampleType::U16 => "16-bit",
        SampleType::F32 => "32-bit float",
        other => other.name(),
    };
    let color = match info.color {
        Some(ColorType::Gray) => "grey".to_owned(),
        Some(ColorType::GrayAlpha) => "grey+alpha".to_owned(),
        Some(ColorType::Rgb) => "RGB".to_owned(),
        Some(ColorType::Rgba) => "RGBA".to_owned(),
        None if info.channels == 1 => "1 channel".to_owned(),
        None => format!("{} channels", info.channels),
    };
    let kind = match &info.media {
        Media::Plain if info.color.is_some() => color,
        Media::Plain => format!("values, {color}"),
        Media::Audio(audio) => {
            let seconds = info.extents[0] as f64 / f64::from(audio.sample_rate);
            format!("sound, {color}, {} Hz, {}", audio.sample_rate, duration(seconds))
        }
        Media::Video(video) => {
            format!("film, {color}, {:.3} frames/s", f64::from(video.rate[0]) / f64::from(video.rate[1]))
        }
        Media::Volume(volume) if volume.spacing.is_empty() => format!("volume, {color}"),
        Media::Volume(volume) => {
            format!("volume, {color}, spacing {} {}", times(&volume.spacing), volume.unit)
        }
        Media::Shape(shape) => {
            let field = match shape.field {
                ShapeField::Occupancy => "occupancy",
                ShapeField::Distance => "distance",
            };
            format!("{field} of a shape, spacing {:.4}", shape.spacing)
        }
    };
    format!("{}, {depth} {kind}", times(&info.extents))
}

/// `134,145`.
pub(crate) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `36.61 dB`, or that there is no difference.
pub(crate) fn decibels(psnr_db: Option<f64>) -> String {
    psnr_db.map_or_else(|| "exact (no difference)".to_owned(), |db| format!("{db:.2} dB PSNR"))
}

/// `, SSIM 0.9412`, or nothing.
pub(crate) fn similarity(ssim: Option<f64>) -> String {
    ssim.map_or_else(String::new, |ssim| format!(", SSIM {ssim:.4}"))
}

/// `95 ms`, `4.2 s`, `12 s`, `3 min 20 s`, `2 h 5 min`.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 0.1 => format!("{:.1} ms", s * 1e3),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 100.0 => format!("{s:.0} s"),
        // Rounded first: 119.6 s are 2 min 0 s.
        s if s < 5970.0 => format!("{} min {} s", s.round() as u64 / 60, s.round() as u64 % 60),
        s if s.is_finite() => {
            let minutes = (s / 60.0).round() as u64;
            format!("{} h {} min", minutes / 60, minutes % 60)
        }
        _ => "unknown".to_owned(),
    }
}

/// Lines common to all looks at a network: its shape and cost.
pub(crate) fn network_lines(config: &NetworkConfig, cost: &Cost) -> String {
    let partition = &config.partition;
    let modulator = match config.modulator {
        Modulator::Linear => "linear",
        Modulator::Nonlinear => "nonlinear",
        Modulator::Table => "table",
    };
    let mut text = String::new();
    let _ = writeln!(
        text,
        "  network   {} weights, {} levels, width {}, {modulator} modulators, omega_0 {}",
        thousands(config.n_params() as u64),
        partition.n_levels(),
        config.width,
        config.omega_0,
    );
    let padded = padded_extents(config);
    let padding = if padded.iter().zip(partition.extents()).any(|(&p, &e)| p != e as u64) {
        let share = partition.n_padded_samples() as f64 / partition.n_samples() as f64 - 1.0;
        format!(", padded to {} (+{:.1} %)", times(&padded), 100.0 * share)
    } else {
        String::new()
    };
    let _ = writeln!(text, "  bases     {}{padding}", partition.bases_text());
    let _ = writeln!(text, "  executed  {:.1} MAC/sample, {:.2} sines/sample", cost.mac_exec, cost.sin_exec);
    let _ = writeln!(
        text,
        "  published {:.1} MAC/sample, {:.1} sines/sample; a SIREN of this shape: {:.0} and {:.0} ({:.1} times the MACs)",
        cost.mac_paper,
        cost.sin_paper,
        cost.mac_siren,
        cost.sin_siren,
        cost.ratio_paper()
    );
    text
}

/// A path as one would type it in a shell.
pub(crate) fn quote(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "._/+-,=:@%~\\".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::{duration, tamed};

    #[test]
    fn durations_carry() {
        let cases = [
            (0.0954, "95.4 ms"),
            (0.95, "950 ms"),
            (4.21, "4.2 s"),
            (119.6, "2 min 0 s"),
            (200.4, "3 min 20 s"),
            (7199.0, "2 h 0 min"),
            (7500.0, "2 h 5 min"),
        ];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn what_is_printed_does_not_act_on_a_terminal() {
        assert_eq!(tamed("spacing 1 \u{1b}[31mmm\u{9b}\r\nµm\n"), "spacing 1 \\u{1b}[31mmm\\u{9b}\\r\nµm\n");
    }
}
