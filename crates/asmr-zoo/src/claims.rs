//! What the ASMR paper (Li, Luo, Xu and Wong, ICLR 2024, arXiv 2405.12398) says in its abstract, sentence by sentence, and what
//! the experiments here say to it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use asmr::cost::Cost;
use asmr::network::{Modulator, NetworkConfig};
use asmr::partition::{Partition, parse_bases};

use crate::Outcome;
use crate::baseline::Method;
use crate::experiment::{ContestantSpec, MethodSpec, SignalSpec};
use crate::field::{Field as _, Shape};
use crate::records::{Summary, length};
use crate::report::Section;
use crate::runner::{lengths, progress};
use crate::siren::{Siren, SirenSettings};

/// Whether a claim holds here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Holds,
    /// It does on so many of so many signals, and on the others it was not measured.
    HoldsOn(usize, usize),
    /// Under conditions, which the figure says.
    Partly,
    /// It does not.
    Fails,
    /// What it needs was not measured.
    Unmeasured,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Holds => f.write_str("holds"),
            Self::HoldsOn(n, of) => write!(f, "holds, on {n} of {of}"),
            Self::Partly => f.write_str("holds partly"),
            Self::Fails => f.write_str("fails"),
            Self::Unmeasured => f.write_str("not measured"),
        }
    }
}

/// A claim and what was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// In our words.
    pub claim: &'static str,
    /// What was found.
    pub figure: String,
    /// What that means.
    pub verdict: Verdict,
    /// What finds it.
    pub command: String,
    /// Commits of the fits it was found by.
    pub commit: String,
    /// Machines of these.
    pub machine: String,
}

/// Where there is nothing to say.
const NOTHING: &str = "–";
/// The paper's largest saving: 8192 × 8192, width 1024, by its own count.
const LARGEST: (&str, usize, f64) = ("4,4,4,4,2,16;4,4,4,4,2,16", 1024, 508.2);
/// What it claims of that.
const UP_TO: f64 = 500.0;
/// ASMR with about as many samples a step as SIREN has.
const IN_BATCHES: &str = "ASMR, in batches";
/// Growth of cost from 3 layers to 8 that still is "near O(1)", where a SIREN's multiply-adds grow by 5.9.
const NEARLY_CONSTANT: f64 = 1.25;
/// In dB: what two fits may differ by and still be as good, where no second seed tells.
const TIE: f64 = 0.1;
/// In dB: what fits by different programs, with other draws of weights and batches, may differ by.
const NEAR: f64 = 0.5;

/// All claims, by what these experiments measured.
#[must_use]
pub fn claims(sections: &[Section], quick: bool) -> Vec<Claim> {
    let quick = if quick { " --quick" } else { "" };
    let mut all = vec![largest_saving(quick)];
    for (claim, name, judge) in JUDGES {
        let section = sections.iter().find(|section| section.name == name);
        let judged = section.map_or_else(|| Err(NOTHING.to_owned()), |section| judged(section, judge));
        let (figure, verdict) = judged.unwrap_or_else(|problem| (problem, Verdict::Unmeasured));
        let texts = |column: &str| -> String {
            let rows = section.iter().flat_map(|section| section.records.iter());
            let texts: BTreeSet<&str> = rows.map(|row| row.text(column)).collect();
            if texts.is_empty() {
                NOTHING.to_owned()
            } else {
                texts.into_iter().collect::<Vec<_>>().join(", ")
            }
        };
        let (commit, machine) = (texts("commit"), texts("machine"));
        all.push(Claim {
            claim,
            figure,
            verdict,
            command: format!("asmr-zoo run {name}{quick}"),
            commit,
            machine,
        });
    }
    all
}

/// What was found of a claim; an error says what was not measured.
type Judgement = Outcome<(String, Verdict)>;
type Judge = fn(&Fits<'_>) -> Judgement;

/// Claims, the experiment of each, and what judges it. The abstract speaks of inference cost, and counts it in multiply-adds: what it
/// takes in time is ours to add.
const JUDGES: [(&str, &str, Judge); 9] = [
    ("cost hardly grows with depth: multiply-adds per sample of 512 × 512", "depth", macs_by_depth),
    ("cost hardly grows with depth: time per sample of 512 × 512", "depth", time_by_depth),
    ("cost hardly grows with depth: multiply-adds per sample of 4096 × 4096", "depth-large", macs_by_depth),
    ("cost hardly grows with depth: time per sample of 4096 × 4096", "depth-large", time_by_depth),
    ("more layers reconstruct better", "ultra-low-mac", quality_by_depth),
    ("better quality than a SIREN of equal width, depth and steps", "against-siren", better_than_siren),
    ("fewer multiply-adds than that SIREN, and less time", "against-siren", cheaper_than_siren),
    (
        "of the text: explicit grids (Plenoxels, Instant-NGP) are the cheapest to evaluate",
        "kodak",
        explicit_is_cheapest,
    ),
    ("not of the paper: methods reach here what other programs reach with them", "anchors", as_elsewhere),
];

/// A section's fits, all of which a judge that asks for them needs.
struct Fits<'a> {
    section: &'a Section,
    /// Those that failed, of what was asked for.
    failed: std::cell::RefCell<BTreeSet<String>>,
}

/// A judge's verdict, which neither fits that failed nor signals that were left out make better.
fn judged(section: &Section, judge: Judge) -> Judgement {
    let fits = Fits { section, failed: std::cell::RefCell::default() };
    let (mut figure, mut verdict) = judge(&fits)?;
    let failed = fits.failed.into_inner();
    let (n, of) = (section.experiment.all_signals().len(), section.experiment.n_signals);
    if !failed.is_empty() {
        let _ = write!(figure, "; failed: {}", failed.into_iter().collect::<Vec<_>>().join(", "));
        if verdict == Verdict::Holds {
            verdict = Verdict::Partly;
        }
    }
    if verdict == Verdict::Holds && n < of {
        verdict = Verdict::HoldsOn(n, of);
    }
    Ok((figure, verdict))
}

impl<'a> Fits<'a> {
    /// A contestant after its last length; an error unless all of its fits are there.
    fn summary(&self, contestant: &ContestantSpec) -> Outcome<Summary<'a>> {
        let Section { experiment, records, .. } = self.section;
        let name = &contestant.name;
        let stop = *lengths(experiment, contestant).last().ok_or_else(|| format!("{name} has no length"))?;
        let (n, of) = progress(experiment, records, contestant, stop);
        if n < of {
            return Err(format!("{n} of {of} fits of {name} are there"));
        }
        let summary =
            Summary::of(records, name, &length(stop)).ok_or_else(|| format!("no fits of {name}"))?;
        let failed = summary
            .failed
            .iter()
            .map(|row| format!("{name} on {}, seed {}", row.text("signal"), row.text("seed")));
        self.failed.borrow_mut().extend(failed);
        Ok(summary)
    }

    /// Each contestant of a series.
    fn series(&self, series: &str) -> Outcome<Vec<Summary<'a>>> {
        let is_of =
            |contestant: &&ContestantSpec| contestant.series.as_ref().unwrap_or(&contestant.name) == series;
        let contestants = self.section.experiment.contestants.iter().filter(is_of);
        let all = contestants.map(|contestant| self.summary(contestant)).collect::<Outcome<Vec<_>>>()?;
        if all.is_empty() { Err(format!("there is no {series}")) } else { Ok(all) }
    }

    /// Means of a column over the contestants of a series.
    fn means(&self, series: &str, column: &str) -> Outcome<Vec<f64>> {
        let means = self.series(series)?.into_iter().map(|summary| summary.mean(column));
        means.collect::<Option<_>>().ok_or_else(|| format!("{series} has fits without {column}"))
    }

    /// The last of a series each.
    fn pair(&self) -> Outcome<(Summary<'a>, Summary<'a>)> {
        let last = |series: &str| self.series(series)?.pop().ok_or_else(|| format!("there is no {series}"));
        Ok((last("ASMR")?, last("SIREN")?))
    }
}

/// By the cost model: the published count and the executed one.
fn largest_saving(quick: &str) -> Claim {
    let (bases, width, published) = LARGEST;
    let ratios = || -> Outcome<(f64, f64)> {
        let extents = vec![8192, 8192];
        let bases = parse_bases(bases).map_err(|error| error.to_string())?;
        let partition = Partition::new(&extents, &bases).map_err(|error| error.to_string())?;
        let settings = SirenSettings { width, layers: partition.n_levels(), ..SirenSettings::default() };
        let siren =
            Siren::new(Shape { extents, channels: 3 }, settings).map_err(|error| error.to_string())?;
        let modulator = Modulator::Linear;
        let cost = Cost::of(&NetworkConfig { partition, channels: 3, width, omega_0: 30.0, modulator });
        Ok((cost.ratio_paper(), siren.cost().mac_exec / cost.mac_exec))
    };
    let (figure, verdict) = match ratios() {
        Ok((by_paper, executed)) => {
            let verdict = match (by_paper >= UP_TO, executed >= UP_TO) {
                (true, true) => Verdict::Holds,
                (true, false) | (false, true) => Verdict::Partly,
                (false, false) => Verdict::Fails,
            };
            let figure = format!(
                "{by_paper:.1} times by the published count (published: {published}), {executed:.1} times by what both execute: \
                 8192 × 8192, width {width}, bases {bases}; the test counts_of_real_walks_are_the_formula counts what decodes execute; \
                 quality at this size is not measured"
            );
            (figure, verdict)
        }
        Err(problem) => (problem, Verdict::Unmeasured),
    };
    Claim {
        claim: "up to 500 times fewer multiply-adds than a SIREN",
        figure,
        verdict,
        command: format!("asmr-zoo report{quick}"),
        commit: NOTHING.to_owned(),
        machine: NOTHING.to_owned(),
    }
}

/// How a figure of some depths grows: the largest as a multiple of the first.
fn growth(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::MIN, f64::max) / values.first().copied().unwrap_or(f64::NAN)
}

fn by_depth(asmr: &[f64], siren: &[f64]) -> Judgement {
    let n = asmr.len();
    if n < 2 || n != siren.len() {
        return Err(format!("{n} depths of ASMR and {} of SIREN are no comparison", siren.len()));
    }
    let (asmr, siren) = (growth(asmr), growth(siren));
    let verdict = if asmr <= NEARLY_CONSTANT {
        Verdict::Holds
    } else if asmr < siren {
        Verdict::Partly
    } else {
        Verdict::Fails
    };
    let figure =
        format!("over {n} depths at most {asmr:.2} times that of the first; of SIREN {siren:.2} times");
    Ok((figure, verdict))
}

fn macs_by_depth(fits: &Fits<'_>) -> Judgement {
    by_depth(&fits.means("ASMR", "mac_exec")?, &fits.means("SIREN", "mac_exec")?)
}

fn time_by_depth(fits: &Fits<'_>) -> Judgement {
    let times = |series| -> Outcome<Vec<f64>> {
        let speeds = fits.means(series, "decode_msamples_s_1")?;
        Ok(speeds.into_iter().map(|speed| 1.0 / speed).collect())
    };
    by_depth(&times("ASMR")?, &times("SIREN")?)
}

/// Of both ways to fit ASMR: this project's, and the published one.
fn quality_by_depth(fits: &Fits<'_>) -> Judgement {
    let (ours, ours_holds) = gain_by_depth(fits, "ASMR")?;
    let (published, published_holds) = gain_by_depth(fits, "ASMR, as published")?;
    let verdict = match (ours_holds, published_holds) {
        (Verdict::Holds, Verdict::Holds) => Verdict::Holds,
        (Verdict::Fails, Verdict::Fails) => Verdict::Fails,
        _ => Verdict::Partly,
    };
    Ok((
        format!(
            "from fewest to most layers, this project's optimiser: {ours}; the published one: {published}"
        ),
        verdict,
    ))
}

fn gain_by_depth(fits: &Fits<'_>, series: &str) -> Judgement {
    let all = fits.series(series)?;
    let quality = fits.means(series, "psnr_db")?;
    let spread = all.iter().filter_map(|summary| summary.spread("psnr_db")).reduce(f64::max);
    let tie = spread.unwrap_or(TIE);
    let gain = quality[quality.len() - 1] - quality[0];
    let falls = quality.windows(2).any(|pair| pair[1] < pair[0] - tie);
    let verdict = match (falls, gain > tie) {
        (false, true) => Verdict::Holds,
        (true, true) => Verdict::Partly,
        _ => Verdict::Fails,
    };
    let figures: Vec<String> = quality.iter().map(|db| format!("{db:.2}")).collect();
    Ok((format!("{} dB ({})", figures.join(", "), ties(tie, spread)), verdict))
}

/// What counts as a tie, in words.
fn ties(tie: f64, spread: Option<f64>) -> String {
    let why = if spread.is_some() { "what seeds differ by" } else { "one seed each" };
    format!("differences up to {tie:.2} dB count as none ({why})")
}

fn better_than_siren(fits: &Fits<'_>) -> Judgement {
    let (asmr, siren) = fits.pair()?;
    let (mut figure, n_better) = beside(fits, &asmr, &siren)?;
    figure += ", each at its best rate";
    let verdict = match n_better {
        all if all == fits.section.experiment.all_signals().len() => Verdict::Holds,
        0 => Verdict::Fails,
        _ => Verdict::Partly,
    };
    let Some(unequal) = unequal_batches((asmr.mean("batch"), siren.mean("batch"))) else {
        return Ok((figure, verdict));
    };
    figure += &unequal;
    if let Some(in_batches) = fits.series(IN_BATCHES)?.pop() {
        let _ = write!(
            figure,
            "; with as many samples a step as SIREN: {}",
            beside(fits, &in_batches, &siren)?.0
        );
    }
    Ok((figure, if verdict == Verdict::Holds { Verdict::Partly } else { verdict }))
}

/// On how many signals one contestant is better than another, and worse, in words; and the former as a number.
fn beside(fits: &Fits<'_>, one: &Summary<'_>, other: &Summary<'_>) -> Outcome<(String, usize)> {
    let signals: Vec<String> = fits.section.experiment.all_signals().iter().map(SignalSpec::name).collect();
    let of = |signal: &String| {
        let difference = one.of_signal(signal, "psnr_db")? - other.of_signal(signal, "psnr_db")?;
        let spreads = [one, other].map(|summary| summary.spread_of_signal(signal, "psnr_db"));
        Some((difference, spreads.into_iter().flatten().reduce(f64::max)))
    };
    let differences: Vec<(f64, Option<f64>)> = signals.iter().filter_map(of).collect();
    let count = |is: &dyn Fn(f64, f64) -> bool| {
        differences.iter().filter(|(difference, spread)| is(*difference, spread.unwrap_or(TIE))).count()
    };
    let (n_better, n_worse) = (count(&|d, tie| d > tie), count(&|d, tie| d < -tie));
    let n = differences.len();
    if n == 0 {
        return Err("no signal has fits of both that did not fail".to_owned());
    }
    let mean = differences.iter().map(|(difference, _)| difference).sum::<f64>() / n as f64;
    let spread = differences.iter().filter_map(|(_, spread)| *spread).reduce(f64::max);
    let ties = ties(spread.unwrap_or(TIE), spread);
    Ok((
        format!(
            "better on {n_better} and worse on {n_worse} of {n} signals, {mean:+.2} dB on the mean ({ties})"
        ),
        n_better,
    ))
}

/// What is to be said where ASMR's steps have more than twice the samples that SIREN's have: as many steps are not the same then.
fn unequal_batches(batches: (Option<f64>, Option<f64>)) -> Option<String> {
    let (asmr, siren) = (batches.0?, batches.1?);
    (asmr > 2.0 * siren)
        .then(|| format!("; a step of ASMR has {asmr:.0} samples on the mean, one of SIREN {siren:.0}"))
}

fn cheaper_than_siren(fits: &Fits<'_>) -> Judgement {
    let (asmr, siren) = fits.pair()?;
    let of = |summary: &Summary<'_>, column: &str| {
        summary.mean(column).ok_or_else(|| format!("there is no {column}"))
    };
    let macs = of(&siren, "mac_exec")? / of(&asmr, "mac_exec")?;
    let time = of(&asmr, "decode_msamples_s_1")? / of(&siren, "decode_msamples_s_1")?;
    let verdict = match (macs > 1.0, time > 1.0) {
        (true, true) => Verdict::Holds,
        (false, false) => Verdict::Fails,
        _ => Verdict::Partly,
    };
    let figure =
        format!("{macs:.0} times fewer executed, {time:.0} times the samples a second on one thread");
    Ok((figure, verdict))
}

fn explicit_is_cheapest(fits: &Fits<'_>) -> Judgement {
    let (mut explicit, mut others) = (Vec::new(), Vec::new());
    for contestant in &fits.section.experiment.contestants {
        let name = contestant.name.as_str();
        let speed = fits.summary(contestant)?.mean("decode_msamples_s_1");
        let speed = speed.ok_or_else(|| format!("all fits of {name} failed"))?;
        let is_explicit = match &contestant.method {
            MethodSpec::Plenoxels(_) => true,
            MethodSpec::Baseline(method) => matches!(method, Method::Ngp(_)),
            MethodSpec::Asmr(_) => false,
        };
        let kin = if is_explicit { &mut explicit } else { &mut others };
        kin.push((name, speed));
    }
    let by_speed = |a: &(&str, f64), b: &(&str, f64)| b.1.total_cmp(&a.1);
    explicit.sort_by(by_speed);
    others.sort_by(by_speed);
    let (Some(fastest), Some(slowest), Some(other)) = (explicit.first(), explicit.last(), others.first())
    else {
        return Err("there is nothing to compare".to_owned());
    };
    let verdict = if slowest.1 > other.1 {
        Verdict::Holds
    } else if fastest.1 > other.1 {
        Verdict::Partly
    } else {
        Verdict::Fails
    };
    let listed: Vec<String> = explicit.iter().map(|(name, speed)| format!("{name} {speed:.2}")).collect();
    Ok((
        format!(
            "decoded Msamples/s on one thread: {}; the fastest of the others: {} {:.2}",
            listed.join(", "),
            other.0,
            other.1
        ),
        verdict,
    ))
}

fn as_elsewhere(fits: &Fits<'_>) -> Judgement {
    let contestants = &fits.section.experiment.contestants;
    let unknown: Vec<&str> =
        contestants.iter().filter(|c| c.elsewhere.is_empty()).map(|c| c.name.as_str()).collect();
    if !unknown.is_empty() {
        return Err(format!("there is no figure from elsewhere for {}", unknown.join(", ")));
    }
    let mut differences = Vec::new();
    for contestant in contestants {
        for there in &contestant.elsewhere {
            let here = fits.summary(contestant)?.of_signal(&there.signal, "psnr_db");
            let here = here.ok_or_else(|| format!("{} has no PSNR on {}", contestant.name, there.signal))?;
            differences.push((contestant.name.as_str(), here - there.psnr_db));
        }
    }
    let n_near = differences.iter().filter(|(_, difference)| difference.abs() <= NEAR).count();
    let verdict = match n_near {
        0 => Verdict::Fails,
        all if all == differences.len() => Verdict::Holds,
        _ => Verdict::Partly,
    };
    let listed: Vec<String> = differences.iter().map(|(name, db)| format!("{name} {db:+.2}")).collect();
    Ok((format!("difference in dB: {}; up to {NEAR} counts as none", listed.join(", ")), verdict))
}

/// Writes the claims as a file of results.
///
/// # Errors
/// When that fails.
pub fn write(claims: &[Claim], path: &Path, command: &str) -> Outcome<()> {
    let mut text = format!(
        "# What the ASMR paper's abstract claims, and what the experiments here say; made by `{command}`\nclaim\tfigure\tverdict\tcommand\tcommit\tmachine\n"
    );
    for Claim { claim, figure, verdict, command, commit, machine } in claims {
        let _ = writeln!(text, "{claim}\t{figure}\t{verdict}\t{command}\t{commit}\t{machine}");
    }
    crate::table::write_whole(path, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_batches_of_ours_are_told() {
        assert_eq!(unequal_batches((Some(262_144.0), Some(131_072.0))), None);
        assert_eq!(unequal_batches((Some(16_384.0), Some(262_144.0))), None);
        assert_eq!(unequal_batches((None, Some(16_384.0))), None);
        let told = unequal_batches((Some(262_144.0), Some(16_384.0))).unwrap();
        assert_eq!(told, "; a step of ASMR has 262144 samples on the mean, one of SIREN 16384");
    }
}
