//! What must hold of any bytes: one function for each fuzzer, also run by `cargo test` over the inputs kept in
//! `fuzz/seeds` and `fuzz/regressions`. `docs/FUZZING.md` has the commands.
//!
//! A body panics when something does not hold. Each works with small limits, so that what an input may cost is known;
//! time and memory are bounded from outside, by the fuzzer's options and by the test.
#![forbid(unsafe_code)]

mod checkpoint;
mod file;
mod flac;
mod folder;
mod made;
mod media;
mod mesh;
mod volume;
mod weights;

pub use asmr_media::is_guarded;
pub use checkpoint::kept_fit;
pub use file::{assembled, parts};
pub use folder::{pack, unpack};

/// A fuzzer: its name, the most bytes an input has, and its body.
#[derive(Clone, Copy)]
pub struct Target {
    /// Of the binary in `fuzz/fuzz_targets` and of the folders of its inputs.
    pub name: &'static str,
    /// Longer inputs are not tried.
    pub max_bytes: usize,
    /// Panics when something does not hold; tells whether the input was taken, not refused.
    pub body: fn(&[u8]) -> bool,
}

/// All fuzzers.
pub const TARGETS: [Target; 13] = [
    Target { name: "reader", max_bytes: 1 << 15, body: file::reader },
    Target { name: "header", max_bytes: 1 << 14, body: file::header },
    Target { name: "decoder", max_bytes: 1 << 14, body: file::decoder },
    Target { name: "pictures", max_bytes: 1 << 14, body: media::pictures },
    Target { name: "audio", max_bytes: 1 << 13, body: media::audio },
    Target { name: "y4m", max_bytes: 1 << 13, body: media::y4m },
    Target { name: "volumes", max_bytes: 1 << 13, body: volume::volumes },
    Target { name: "raw", max_bytes: 1 << 12, body: volume::raw },
    Target { name: "zarr", max_bytes: 1 << 13, body: volume::zarr },
    Target { name: "meshes", max_bytes: 1 << 13, body: mesh::meshes },
    Target { name: "weights", max_bytes: 1 << 14, body: weights::weights },
    Target { name: "checkpoint", max_bytes: 1 << 13, body: checkpoint::checkpoint },
    Target { name: "options", max_bytes: 1 << 11, body: asmr_cli::grammar::check },
];

/// Runs the body of a fuzzer; tells whether the input was taken. Inputs that are too long are passed over.
///
/// # Panics
/// When something does not hold, or there is no such fuzzer.
#[must_use]
pub fn run(name: &str, bytes: &[u8]) -> bool {
    let target = TARGETS.iter().find(|target| target.name == name).expect("there is a fuzzer of this name");
    bytes.len() <= target.max_bytes && (target.body)(bytes)
}

/// What is said about an input that is refused: one line that a terminal can show, and not the input itself.
fn check_message(message: &str) {
    assert!(!message.trim().is_empty(), "nothing is said");
    assert!(message.len() <= 1500, "{} bytes: {message}", message.len());
    assert!(!message.chars().any(char::is_control), "a message with control characters: {message:?}");
}
