//! What must hold of any command line, for fuzzers and their regression tests. Nothing is executed.

use std::ffi::OsString;
use std::fmt::Debug;
use std::time::Duration;

use asmr::network::MAX_WIDTH;
use asmr::partition::{MAX_LEVELS, MIN_LEVELS, parse_bases};
use asmr::signal::{MAX_AXES, MAX_EXTENT};
use asmr_media::ShapeOptions;
use clap::Parser as _;
use clap::error::ErrorKind;

use crate::args::{Cli, Command, EncodeArgs, wrong_call};
use crate::values::{
    Bases, Distances, Extents, FrameBounds, Place, Ranges, bases, batch, bpp, bytes, factor, frames, loss,
    mac, max_error, omega_0, psnr, rate, region, sample_type, seam_weight, seconds, seed, shape, spacing,
    steps, time, whole,
};

/// The longest text that is said about a wrong value, beside the value itself.
const MAX_SENTENCE: usize = 2000;

/// Parses arguments, one a line, and checks the result: a refusal is one short sentence; what is accepted lies in its
/// option's range and is the same when parsed again. Tells whether it was accepted. Bytes of the form `=OPTION=VALUE` give a value to the option's own
/// parser, which is a hundred times quicker than a whole command line.
///
/// # Panics
/// When something does not hold.
pub fn check(bytes: &[u8]) -> bool {
    if let Some(named) = bytes.strip_prefix(b"=")
        && let Ok(named) = std::str::from_utf8(named)
        && let Some((option, value)) = named.split_once('=')
    {
        return check_value(option, value);
    }
    let words: Vec<OsString> =
        std::iter::once("asmr".into()).chain(bytes.split(|&b| b == b'\n').take(40).map(word)).collect();
    match Cli::try_parse_from(&words) {
        Ok(cli) => {
            check_call(&cli);
            let again = Cli::try_parse_from(&words).expect("it was accepted before");
            assert_eq!(format!("{cli:?}"), format!("{again:?}"));
            true
        }
        Err(error) => {
            let is_answer = matches!(
                error.kind(),
                ErrorKind::DisplayHelp
                    | ErrorKind::DisplayVersion
                    | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            );
            if !is_answer {
                let sentence = wrong_call(&error, &words);
                let given: usize = words.iter().map(|word| word.len()).sum();
                assert!(!sentence.trim().is_empty());
                // What is not UTF-8 grows threefold, and an argument may be told twice.
                assert!(sentence.len() <= MAX_SENTENCE + 6 * given, "{sentence}");
            }
            is_answer
        }
    }
}

#[cfg(unix)]
fn word(bytes: &[u8]) -> OsString {
    use std::os::unix::ffi::OsStringExt as _;
    OsString::from_vec(bytes.to_vec())
}

#[cfg(not(unix))]
fn word(bytes: &[u8]) -> OsString {
    String::from_utf8_lossy(bytes).into_owned().into()
}

/// A value that was accepted must be one that its option accepts; a refusal must be short and say something.
fn taken<T: Debug>(text: &str, result: Result<T, String>, accepts: impl FnOnce(&T) -> bool) -> bool {
    match result {
        Ok(value) => {
            assert!(accepts(&value), "{text:?} gives {value:?}");
            true
        }
        Err(problem) => {
            assert!(!problem.is_empty() && problem.len() <= MAX_SENTENCE + text.len(), "{problem}");
            false
        }
    }
}

fn check_value(option: &str, text: &str) -> bool {
    match option {
        "bases" => taken(text, bases(text), are_bases),
        "batch" => taken(text, batch(text), |x| *x > 0.0 && *x <= 1.0),
        "bpp" => taken(text, bpp(text), |x| *x > 0.0 && *x <= 4096.0),
        "bytes" => taken(text, bytes(text), |n| (1..=1_000_000_000_000_000).contains(n)),
        "dtype" => taken(text, sample_type(text), |t| t.name() == text),
        "frames" => taken(text, frames(text), are_frames),
        "limits" => taken(text, factor(text), |n| (1..=1024).contains(n)),
        "loss" => taken(text, loss(text), |x| *x > 0.0 && *x <= 20.0),
        "lr" => taken(text, rate(text), |x| *x > 0.0 && *x <= 1.0),
        "mac" => taken(text, mac(text), |x| *x > 0.0 && x.is_finite()),
        "max-error" => taken(text, max_error(text), |x| (0.0..=1e300).contains(x)),
        "omega-0" => taken(text, omega_0(text), |x| *x > 0.0 && *x <= 10_000.0),
        "psnr" => taken(text, psnr(text), |x| *x > 0.0 && *x <= 200.0),
        "region" => taken(text, region(text), are_ranges),
        "seam-weight" => taken(text, seam_weight(text), |x| (0.01..=100.0).contains(x)),
        "seed" => taken(text, seed(text), |_| true),
        "shape" => taken(text, shape(text), are_extents),
        "spacing" => taken(text, spacing(text), are_distances),
        "start" => taken(text, seconds(text), |x| (0.0..=1e9).contains(x)),
        "steps" => taken(text, steps(text), |n| (1..=1_000_000_000).contains(n)),
        "threads" => taken(text, whole(1..=1024)(text), |n| (1..=1024).contains(n)),
        "time" => taken(text, time(text), is_time),
        "width" => taken(text, whole(1..=MAX_WIDTH as u64)(text), |n| (1..=MAX_WIDTH).contains(n)),
        _ => false,
    }
}

fn are_bases(Bases(bases): &Bases) -> bool {
    let text: Vec<String> =
        bases.iter().map(|axis| axis.iter().map(usize::to_string).collect::<Vec<_>>().join(",")).collect();
    parse_bases(&text.join(";")).is_ok_and(|again| again == *bases)
}

fn are_frames(&FrameBounds(start, end): &FrameBounds) -> bool {
    end.is_none_or(|end| end > start)
}

fn are_extents(Extents(extents): &Extents) -> bool {
    (1..=MAX_AXES).contains(&extents.len()) && extents.iter().all(|extent| (1..=MAX_EXTENT).contains(extent))
}

fn are_distances(Distances(distances): &Distances) -> bool {
    !distances.is_empty() && distances.iter().all(|x| x.is_finite() && *x > 0.0)
}

fn are_ranges(Ranges(ranges): &Ranges) -> bool {
    let is_place = |place: Option<Place>| match place {
        None | Some(Place::Sample(_)) => true,
        Some(Place::Second(second)) => (0.0..=1e9).contains(&second),
    };
    !ranges.is_empty() && ranges.iter().all(|&(start, end)| is_place(start) && is_place(end))
}

fn is_time(time: &Duration) -> bool {
    !time.is_zero() && *time <= Duration::from_secs(3_600_000)
}

fn check_call(cli: &Cli) {
    assert!(cli.common.threads.is_none_or(|n| (1..=1024).contains(&n)));
    assert!((1..=1024).contains(&cli.common.limits));
    match &cli.command {
        Command::Encode(args) => check_encode(args),
        Command::Decode(args) => {
            assert!(args.region.as_ref().is_none_or(are_ranges), "{args:?}");
            assert!(args.frames.as_ref().is_none_or(are_frames), "{args:?}");
            assert!(args.thumbnail.is_none_or(|factor| factor > 0), "{args:?}");
        }
        Command::Eval(args) => assert!((1..=100_000).contains(&args.reps), "{args:?}"),
        #[cfg(feature = "compare")]
        Command::Compare(args) => crate::compare::check(args),
        Command::MetaTrain(args) => crate::meta::check(args),
        Command::Import(args) => assert!(args.bases.as_ref().is_none_or(are_bases), "{args:?}"),
        Command::Info(_) | Command::Verify(_) | Command::Export(_) => {}
    }
}

fn check_encode(args: &EncodeArgs) {
    let holds = args.levels.is_none_or(|n| (MIN_LEVELS..=MAX_LEVELS).contains(&n))
        && args.width.is_none_or(|n| (1..=MAX_WIDTH).contains(&n))
        && args.bases.as_ref().is_none_or(are_bases)
        && args.mac.is_none_or(|x| x > 0.0 && x.is_finite())
        && args.omega_0 > 0.0
        && args.omega_0 <= 10_000.0
        && args.steps.is_none_or(|n| (1..=1_000_000_000).contains(&n))
        && args.lr.is_none_or(|x| x > 0.0 && x <= 1.0)
        && args.batch.is_none_or(|x| x > 0.0 && x <= 1.0)
        && args.seam_weight.is_none_or(|x| (0.01..=100.0).contains(&x))
        && args.loss.is_none_or(|x| x > 0.0 && x <= 20.0)
        && args.psnr.is_none_or(|x| x > 0.0 && x <= 200.0)
        && args.bytes.is_none_or(|n| n > 0)
        && args.bpp.is_none_or(|x| x > 0.0 && x <= 4096.0)
        && args.max_error.is_none_or(|x| (0.0..=1e300).contains(&x))
        && args.time.as_ref().is_none_or(is_time)
        && args.chunk.is_none_or(|n| (1..=MAX_EXTENT).contains(&n))
        && is_time(&args.checkpoint)
        && args.part.start.is_none_or(|x| (0.0..=1e9).contains(&x))
        && args.part.duration.is_none_or(|x| (0.0..=1e9).contains(&x))
        && args.part.frames.as_ref().is_none_or(are_frames)
        && args.part.shape.as_ref().is_none_or(are_extents)
        && args.part.spacing.as_ref().is_none_or(are_distances)
        && args.part.resolution.is_none_or(|n| (8..=ShapeOptions::MAX_RESOLUTION).contains(&n));
    assert!(holds, "{args:?}");
}
