//! Running the command, and pictures to run it on.
#![allow(dead_code, unreachable_pub, reason = "each test file is a program of its own and uses its part")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use asmr::signal::{ColorType, SampleType, Samples, Signal, SignalInfo};
use serde_json::Value;
use tempfile::TempDir;

/// A few steps of a narrow network: milliseconds on a small picture.
pub const QUICK: [&str; 4] = ["--width", "16", "--steps", "20"];

/// What a call gave.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// Fails unless the exit code is this one.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        self
    }

    /// Fails unless this is a refusal: the exit code, nothing on stdout, and on stderr one sentence with all of the
    /// words.
    #[track_caller]
    pub fn refuses(self, code: i32, words: &[&str]) {
        let outcome = self.expect(code);
        assert_eq!(outcome.stdout, "", "{outcome:#?}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:#?}");
        assert!(outcome.stderr.starts_with("asmr: ") && outcome.stderr.ends_with('\n'), "{outcome:#?}");
        // A debug dump of one of our types would show its fields.
        assert!(!outcome.stderr.contains(" { "), "{outcome:#?}");
        assert!(outcome.stderr.len() < 1000, "{outcome:#?}");
        for word in words {
            assert!(outcome.stderr.contains(word), "'{word}' is not said: {outcome:#?}");
        }
    }

    /// The one JSON object on stdout.
    #[track_caller]
    pub fn json(&self) -> Value {
        let value: Value = serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:#?}"));
        assert!(value.is_object(), "{self:#?}");
        value
    }
}

/// A folder to work in, gone at the end.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// The names in the folder, sorted; hidden ones too.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// A call ready to run in the folder.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_asmr"));
        command.args(args).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    /// Runs a call in the folder.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Outcome {
        let output = self.command(args).output().unwrap();
        Outcome {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a call written in one line, words separated by spaces.
    pub fn asmr(&self, line: &str) -> Outcome {
        self.run(line.split_whitespace())
    }

    /// Writes a synthetic picture.
    pub fn picture(&self, name: &str, rows: usize, columns: usize, kind: Kind) {
        asmr_media::write_image(&self.path(name), &picture(rows, columns, kind)).unwrap();
    }

    /// Writes a picture `p.png` and a network `n.asmr` of it.
    pub fn encoded(rows: usize, columns: usize, kind: Kind, bases: &str) -> Self {
        let folder = Self::new();
        folder.picture("p.png", rows, columns, kind);
        let call = ["encode", "p.png", "-o", "n.asmr", "--bases", bases, "--quiet"];
        folder.run(call.iter().chain(&QUICK)).expect(0);
        folder
    }
}

/// Colour and sample type.
pub type Kind = (ColorType, SampleType);
pub const GREY: Kind = (ColorType::Gray, SampleType::U8);
pub const RGB: Kind = (ColorType::Rgb, SampleType::U8);
/// All kinds of pictures.
pub const KINDS: [Kind; 8] = [
    GREY,
    (ColorType::GrayAlpha, SampleType::U8),
    RGB,
    (ColorType::Rgba, SampleType::U8),
    (ColorType::Gray, SampleType::U16),
    (ColorType::GrayAlpha, SampleType::U16),
    (ColorType::Rgb, SampleType::U16),
    (ColorType::Rgba, SampleType::U16),
];

/// A smooth picture with some texture, different in each channel.
pub fn picture(rows: usize, columns: usize, (color, sample_type): Kind) -> Signal {
    let channels = color.n_channels();
    let values = (0..rows * columns * channels).map(|i| {
        let (y, x, c) = (i / channels / columns, i / channels % columns, i % channels);
        let (y, x, c) = (y as f64 / 17.0, x as f64 / 23.0, c as f64);
        0.5 + 0.3 * (y + c).sin() * (x - c).cos() + 0.1 * (9.0 * x + 7.0 * y).sin()
    });
    let samples = match sample_type {
        SampleType::U8 => Samples::U8(values.map(|v| (v * 255.0) as u8).collect()),
        SampleType::U16 => Samples::U16(values.map(|v| (v * 65535.0) as u16).collect()),
        _ => Samples::F32(values.map(|v| v as f32).collect()),
    };
    let info = SignalInfo::plain(vec![rows, columns], channels, sample_type, Some(color));
    Signal::new(info, samples).unwrap()
}

/// Fails unless both are the same number, or both none. (JSON is read with an error in the last bit.)
#[track_caller]
pub fn assert_close(told: &Value, expected: Option<f64>) {
    match (told.as_f64(), expected) {
        (Some(a), Some(b)) => assert!((a - b).abs() <= 1e-12 * b.abs(), "{a} is not {b}"),
        (a, b) => assert_eq!(a, b),
    }
}

/// Reads a picture back.
pub fn read(path: &Path) -> Signal {
    asmr_media::read_image(path, &asmr_media::Limits::default()).unwrap()
}

/// Shape and values of a `.npy` file of floats.
pub fn read_npy(bytes: &[u8]) -> (Vec<usize>, Vec<f32>) {
    assert_eq!(&bytes[..6], b"\x93NUMPY");
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..start]).unwrap();
    assert!(header.contains("'<f4'") && header.contains("'fortran_order': False"), "{header}");
    let shape = header.split_once('(').unwrap().1.split_once(')').unwrap().0;
    let shape =
        shape.split(',').map(str::trim).filter(|n| !n.is_empty()).map(|n| n.parse().unwrap()).collect();
    let (values, rest) = bytes[start..].as_chunks::<4>();
    assert!(rest.is_empty());
    (shape, values.iter().map(|&b| f32::from_le_bytes(b)).collect())
}
