//! Values of options: what each accepts, and what is said about others.

use std::ops::RangeInclusive;
use std::time::Duration;

use asmr::partition::parse_bases;
use asmr::signal::{MAX_AXES, MAX_EXTENT, SampleType};

/// The longest time limit: 1000 hours.
pub(crate) const MAX_TIME: Duration = Duration::from_secs(3_600_000);

/// First frame, and one past the last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameBounds(pub(crate) u64, pub(crate) Option<u64>);

/// Extents, slowest axis first.
#[derive(Clone, Debug)]
pub(crate) struct Extents(pub(crate) Vec<usize>);

/// Distances of samples, slowest axis first.
#[derive(Clone, Debug)]
pub(crate) struct Distances(pub(crate) Vec<f64>);

/// Bases as `[axis][level]`.
#[derive(Clone, Debug)]
pub(crate) struct Bases(pub(crate) Vec<Vec<usize>>);

/// A range per axis, either end of which may be left out.
#[derive(Clone, Debug)]
pub(crate) struct Ranges(pub(crate) Vec<(Option<Place>, Option<Place>)>);

/// A place along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Place {
    /// A sample's number.
    Sample(u64),
    /// A time in seconds.
    Second(f64),
}

pub(crate) fn bases(text: &str) -> Result<Bases, String> {
    parse_bases(text).map(Bases).map_err(|error| error.to_string())
}

/// Takes whole numbers in a range.
pub(crate) fn whole(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync {
    move |text| {
        let number = text.trim().parse().ok().filter(|n| range.contains(n));
        number.and_then(|n| usize::try_from(n).ok()).ok_or_else(|| match *range.end() {
            u64::MAX => format!("it must be a whole number, at least {}", range.start()),
            end => format!("it must be a whole number, {} to {end}", range.start()),
        })
    }
}

/// A factor on what files may ask for.
pub(crate) fn factor(text: &str) -> Result<u32, String> {
    whole(1..=1024)(text).map(|factor| factor as u32)
}

pub(crate) fn steps(text: &str) -> Result<u32, String> {
    whole(1..=1_000_000_000)(text).map(|steps| steps as u32)
}

pub(crate) fn seed(text: &str) -> Result<u64, String> {
    text.trim().parse().map_err(|_| format!("it must be a whole number, 0 to {}", u64::MAX))
}

/// A finite number in a range.
pub(crate) fn number(text: &str, range: &str, accepts: impl Fn(f64) -> bool) -> Result<f64, String> {
    text.trim()
        .parse::<f64>()
        .ok()
        .filter(|x| x.is_finite() && accepts(*x))
        .ok_or_else(|| format!("it must be {range}"))
}

pub(crate) fn mac(text: &str) -> Result<f64, String> {
    number(text, "a number above 0, in MAC/sample", |x| x > 0.0)
}

pub(crate) fn omega_0(text: &str) -> Result<f32, String> {
    number(text, "a number above 0 and at most 10000", |x| x as f32 > 0.0 && x <= 10_000.0).map(|x| x as f32)
}

pub(crate) fn rate(text: &str) -> Result<f64, String> {
    number(text, "a number above 0 and at most 1, as in 1e-3", |x| x > 0.0 && x <= 1.0)
}

pub(crate) fn psnr(text: &str) -> Result<f64, String> {
    number(text, "a number above 0 and at most 200, in dB", |x| x > 0.0 && x <= 200.0)
}

/// A size in bytes; a thousand is a thousand.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let range = "a size above 0, in bytes or with k, M, KiB or MiB, as in 40k";
    let text = text.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (value, unit) = text.split_at_checked(split).ok_or_else(|| format!("it must be {range}"))?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "kib" => 1024.0,
        "mib" => 1_048_576.0,
        _ => return Err(format!("it must be {range}")),
    };
    number(value, range, |x| x * factor >= 1.0 && x * factor <= 1e15).map(|x| (x * factor) as u64)
}

pub(crate) fn bpp(text: &str) -> Result<f64, String> {
    number(text, "a number of bits per sample above 0 and at most 4096", |x| x > 0.0 && x <= 4096.0)
}

pub(crate) fn seam_weight(text: &str) -> Result<f64, String> {
    number(text, "a number, 0.01 to 100", |x| (0.01..=100.0).contains(&x))
}

pub(crate) fn max_error(text: &str) -> Result<f64, String> {
    number(text, "a number, at least 0 and at most 1e300", |x| (0.0..=1e300).contains(&x))
}

pub(crate) fn loss(text: &str) -> Result<f64, String> {
    number(text, "a number above 0 and at most 20, in dB", |x| x > 0.0 && x <= 20.0)
}

pub(crate) fn batch(text: &str) -> Result<f64, String> {
    if text.eq_ignore_ascii_case("full") {
        return Ok(1.0);
    }
    let range = "\"full\", or a fraction above 0 and at most 1, as in 0.25 or 1/4";
    let value = match text.split_once('/') {
        Some((over, under)) => number(over, range, |x| x > 0.0)? / number(under, range, |x| x > 0.0)?,
        None => number(text, range, |_| true)?,
    };
    if value > 0.0 && value <= 1.0 { Ok(value) } else { Err(format!("it must be {range}")) }
}

pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let range = "a number and a unit (ms, s, m or h), more than 0 and at most 1000h, as in 20s";
    let split = text.rfind(|c: char| !c.is_ascii_alphabetic()).map_or(0, |i| i + 1);
    // The last character that is no letter may have several bytes; then it is no number either.
    let (value, unit) = text.split_at_checked(split).ok_or_else(|| format!("it must be {range}"))?;
    let seconds_per_unit = match unit {
        "ms" => 1e-3,
        "s" | "sec" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("it must be {range}")),
    };
    let seconds = number(value, range, |x| x > 0.0)? * seconds_per_unit;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|time| *time <= MAX_TIME && !time.is_zero())
        .ok_or_else(|| format!("it must be {range}"))
}

pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    number(text.strip_suffix('s').unwrap_or(text), "a number of seconds, 0 or more", |x| {
        (0.0..=1e9).contains(&x)
    })
}

pub(crate) fn frames(text: &str) -> Result<FrameBounds, String> {
    let wrong = || "write START..END, as in 0..64 (an end may be left out)".to_owned();
    let (start, end) = text.split_once("..").ok_or_else(wrong)?;
    let place = |text: &str, default: Option<u64>| match text.trim() {
        "" => Ok(default),
        text => text.parse().map(Some).map_err(|_| wrong()),
    };
    let (start, end) = (place(start, Some(0))?.unwrap_or(0), place(end, None)?);
    if end.is_some_and(|end| end <= start) {
        return Err(format!("there is no frame in it; {}", wrong()));
    }
    Ok(FrameBounds(start, end))
}

pub(crate) fn shape(text: &str) -> Result<Extents, String> {
    let extents: Result<Vec<usize>, _> = text.split(',').map(|e| e.trim().parse()).collect();
    extents
        .ok()
        .filter(|e| (1..=MAX_AXES).contains(&e.len()) && e.iter().all(|e| (1..=MAX_EXTENT).contains(e)))
        .map(Extents)
        .ok_or_else(|| {
            format!("it must be 1 to {MAX_AXES} whole numbers above 0, slowest axis first, as in 108,256,256")
        })
}

pub(crate) fn sample_type(text: &str) -> Result<SampleType, String> {
    use SampleType::{F32, F64, I8, I16, I32, U8, U16, U32};
    let all = [U8, I8, U16, I16, U32, I32, F32, F64];
    all.into_iter()
        .find(|t| t.name() == text)
        .ok_or_else(|| format!("it must be one of {}", all.map(SampleType::name).join(", ")))
}

pub(crate) fn spacing(text: &str) -> Result<Distances, String> {
    let distances: Result<Vec<f64>, _> = text.split(',').map(|d| d.trim().parse::<f64>()).collect();
    distances
        .ok()
        .filter(|d| d.iter().all(|d| d.is_finite() && *d > 0.0))
        .map(Distances)
        .ok_or_else(|| "it must be numbers above 0, one per axis, as in 1.5,0.957,0.957".to_owned())
}

pub(crate) fn region(text: &str) -> Result<Ranges, String> {
    let end = |text: &str| {
        let text = text.trim();
        if text.is_empty() {
            Some(None)
        } else if let Some(time) = text.strip_suffix('s') {
            let second: f64 = time.parse().ok()?;
            (0.0..=1e9).contains(&second).then_some(Some(Place::Second(second)))
        } else {
            text.parse().ok().map(|sample| Some(Place::Sample(sample)))
        }
    };
    text.split(',')
        .map(|range| {
            range.split_once("..").and_then(|(start, stop)| Some((end(start)?, end(stop)?))).ok_or_else(|| {
                format!(
                    "'{}' is not a range; write START..END for each axis, rows first, as in 0..128,64..192 (an end may be left out)",
                    range.trim()
                )
            })
        })
        .collect::<Result<_, _>>()
        .map(Ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let accepted = [("20s", 20.0), ("1.5m", 90.0), ("250ms", 0.25), ("2h", 7200.0), ("1e1s", 10.0)];
        for (text, seconds) in accepted {
            assert_eq!(time(text).map(|t| t.as_secs_f64()), Ok(seconds), "{text}");
        }
        let refused =
            ["", "s", "20", "-1s", "0s", "nans", "infs", "1001h", "1e400h", "20 parsecs", "é", "é1s", "1é"];
        for text in refused {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        let accepted = [
            ("40k", 40_000),
            ("40kB", 40_000),
            ("1.5M", 1_500_000),
            ("64KiB", 65_536),
            ("1MiB", 1_048_576),
            ("123", 123),
            ("7 b", 7),
        ];
        for (text, n) in accepted {
            assert_eq!(bytes(text), Ok(n), "{text}");
        }
        for text in ["", "k", "0", "-1k", "0.5", "1e99", "nan", "inf", "4 parsecs", "é", "1é", "1 k k"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn batches() {
        let accepted = [("full", 1.0), ("FULL", 1.0), ("0.25", 0.25), ("1/4", 0.25), ("1", 1.0)];
        for (text, value) in accepted {
            assert_eq!(batch(text), Ok(value), "{text}");
        }
        for text in ["", "0", "-0.5", "1.5", "nan", "inf", "1/0", "0/1", "3/2", "1/nan", "half"] {
            assert!(batch(text).is_err(), "{text}");
        }
    }

    #[test]
    fn regions() {
        let sample = |i| Some(Place::Sample(i));
        assert_eq!(region("1..5,2..7").unwrap().0, [(sample(1), sample(5)), (sample(2), sample(7))]);
        assert_eq!(region("..,3..").unwrap().0, [(None, None), (sample(3), None)]);
        assert_eq!(region("..4").unwrap().0, [(None, sample(4))]);
        let second = |s| Some(Place::Second(s));
        assert_eq!(region("12.5s..14s").unwrap().0, [(second(12.5), second(14.0))]);
        for text in [
            "",
            "5",
            "1-5",
            "1..=5",
            "-1..5",
            "1...5",
            "a..b",
            "1..5;2..7",
            "1..5,",
            "1..99999999999999999999",
            "-1s..2s",
            "nans..2s",
            "1.5..2",
        ] {
            assert!(region(text).is_err(), "{text}");
        }
    }
}
