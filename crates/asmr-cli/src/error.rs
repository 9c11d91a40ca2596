//! Failures: one sentence on stderr and an exit code.

use std::io::Write as _;

use asmr_media::MediaError;

use crate::report::tamed;

/// All went well.
pub(crate) const OK: u8 = 0;
/// A write failed, or a target was missed.
pub(crate) const FAILED: u8 = 1;
/// Called wrongly, or input that cannot be used.
pub(crate) const USAGE: u8 = 2;
/// Ended by Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

/// Why a verb ended without its result.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    sentence: String,
}

impl Failure {
    /// The call or the input is at fault.
    pub(crate) fn usage(sentence: impl Into<String>) -> Self {
        Self { code: USAGE, sentence: sentence.into() }
    }

    /// The call was right, and yet it did not work.
    pub(crate) fn failed(sentence: impl Into<String>) -> Self {
        Self { code: FAILED, sentence: sentence.into() }
    }

    /// What to say.
    pub(crate) fn sentence(&self) -> &str {
        &self.sentence
    }

    /// Says the sentence on stderr; gives the exit code.
    pub(crate) fn report(&self) -> u8 {
        say(&self.sentence);
        self.code
    }
}

impl From<MediaError> for Failure {
    fn from(error: MediaError) -> Self {
        let code = if error.is_write_failure() { FAILED } else { USAGE };
        Self { code, sentence: error.to_string() }
    }
}

/// One line on stderr. A closed stderr is no reason to stop.
pub(crate) fn say(sentence: &str) {
    // A file name may hold line breaks; a sentence is one line.
    let line = sentence.split(['\n', '\r']).map(str::trim).collect::<Vec<_>>().join(" ");
    let _ = writeln!(std::io::stderr(), "asmr: {}", tamed(&line));
}
