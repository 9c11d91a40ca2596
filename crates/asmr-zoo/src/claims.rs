//! What the ASMR paper (Li, Luo, Xu and Wong, ICLR 2024, arXiv 2405.12398) says in its abstract, sentence by sentence, and what
//! the experiments here say to it.

use std::fmt::Write as _;
use std::path::Path;

use asmr::cost::Cost;
use asmr::network::{Modulator, NetworkConfig};
use asmr::partition::{Partition, parse_bases};

use crate::Outcome;
use crate::machine;
use crate::records::{Summary, length};
use crate::report::Section;
use crate::runner::lengths;

/// Whether a claim holds here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Holds,
    /// Under conditions, which the figure says.
    Partly,
    /// It does not.
    Fails,
    /// What it needs was not measured.
    Unmeasured,
}

impl Verdict {
    /// As in the table.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Partly => "holds partly",
            Self::Fails => "fails",
            Self::Unmeasured => "not measured",
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
}

/// The paper's largest saving: 8192 × 8192, width 1024, by its own count.
const LARGEST: (&str, usize, f64) = ("4,4,4,4,2,16;4,4,4,4,2,16", 1024, 508.2);
/// Growth of cost from the least to the greatest depth that still is "near O(1)", where a SIREN's grows by 3.5.
const NEARLY_CONSTANT: f64 = 1.25;

/// All claims, by what these experiments measured.
#[must_use]
pub fn claims(sections: &[Section], quick: bool) -> Vec<Claim> {
    let quick = if quick { " --quick" } else { "" };
    let find = |name: &str| sections.iter().find(|section| section.name == name);
    let command = |name: &str| format!("asmr-zoo run {name}{quick}");
    let unmeasured = |claim, name: &str| Claim {
        claim,
        figure: "–".to_owned(),
        verdict: Verdict::Unmeasured,
        command: command(name),
    };
    let mut all = vec![largest_saving()];
    for (claim, name, judge) in JUDGES {
        let judged = find(name).and_then(judge);
        all.push(match judged {
            Some((figure, verdict)) => Claim { claim, figure, verdict, command: command(name) },
            None => unmeasured(claim, name),
        });
    }
    all
}

type Judge = fn(&Section) -> Option<(String, Verdict)>;

const JUDGES: [(&str, &str, Judge); 5] = [
    ("cost hardly grows with depth: multiply-adds per sample", "depth", macs_by_depth),
    ("cost hardly grows with depth: time per sample", "depth", time_by_depth),
    ("more layers reconstruct better", "ultra-low-mac", quality_by_depth),
    ("better quality than a SIREN of equal width, depth and steps", "against-siren", better_than_siren),
    ("fewer multiply-adds than that SIREN, and less time", "against-siren", cheaper_than_siren),
];

/// By the cost model alone: the published count and the executed one.
fn largest_saving() -> Claim {
    let (bases, width, published) = LARGEST;
    let partition = parse_bases(bases).and_then(|bases| Partition::new(&[8192, 8192], &bases));
    let (ratio_paper, ratio_exec) = partition.map_or((0.0, 0.0), |partition| {
        let config =
            NetworkConfig { partition, channels: 3, width, omega_0: 30.0, modulator: Modulator::Linear };
        let cost = Cost::of(&config);
        (cost.ratio_paper(), cost.mac_siren / cost.mac_exec)
    });
    Claim {
        claim: "up to 500 times fewer multiply-adds than a SIREN",
        figure: format!(
            "{ratio_paper:.1} times by the published count (published: {published}), {ratio_exec:.1} times by what is executed: 8192 × 8192, width {width}, bases {bases}"
        ),
        verdict: if ratio_paper >= 500.0 && ratio_exec >= 500.0 { Verdict::Holds } else { Verdict::Partly },
        command: "asmr-zoo report".to_owned(),
    }
}

/// Each contestant of a series, after its last length; none unless all of them were measured, on the same signals.
fn summaries<'a>(section: &'a Section, series: &str) -> Option<Vec<Summary<'a>>> {
    let is_of = |name: &str, of: Option<&String>| of.map_or(name, String::as_str) == series;
    let contestants = section.experiment.contestants.iter();
    let all: Option<Vec<Summary<'_>>> = contestants
        .filter(|contestant| is_of(&contestant.name, contestant.series.as_ref()))
        .map(|contestant| {
            let stop = *lengths(&section.experiment, contestant).last()?;
            Summary::of(&section.records, &contestant.name, &length(stop))
        })
        .collect();
    let n_signals = section.experiment.all_signals().len();
    all.filter(|all| !all.is_empty() && all.iter().all(|summary| summary.signals().len() == n_signals))
}

/// The largest value of a column over the contestants of a series as a multiple of the first's.
fn growth(section: &Section, series: &str, column: &str, inverse: bool) -> Option<(f64, usize)> {
    let all = summaries(section, series)?;
    let values: Vec<f64> = all.iter().filter_map(|summary| summary.mean(column)).collect();
    let values: Vec<f64> = values.into_iter().map(|v| if inverse { 1.0 / v } else { v }).collect();
    let first = *values.first()?;
    (values.len() > 1).then(|| (values.iter().copied().fold(f64::MIN, f64::max) / first, values.len()))
}

fn by_depth(section: &Section, column: &str, inverse: bool) -> Option<(String, Verdict)> {
    let (asmr, n) = growth(section, "ASMR", column, inverse)?;
    let (siren, n_siren) = growth(section, "SIREN", column, inverse)?;
    if n != n_siren {
        return None;
    }
    let verdict = if asmr <= NEARLY_CONSTANT {
        Verdict::Holds
    } else if asmr < siren {
        Verdict::Partly
    } else {
        Verdict::Fails
    };
    Some((
        format!("over {n} depths at most {asmr:.2} times that of the first; of SIREN {siren:.2} times"),
        verdict,
    ))
}

fn macs_by_depth(section: &Section) -> Option<(String, Verdict)> {
    by_depth(section, "mac_exec", false)
}

fn time_by_depth(section: &Section) -> Option<(String, Verdict)> {
    by_depth(section, "decode_msamples_s_1", true)
}

fn quality_by_depth(section: &Section) -> Option<(String, Verdict)> {
    let all = summaries(section, "ASMR")?;
    let quality: Vec<f64> = all.iter().filter_map(|summary| summary.mean("psnr_db")).collect();
    let (first, last) = (*quality.first()?, *quality.last()?);
    let rises = quality.windows(2).all(|pair| pair[1] >= pair[0]);
    let figures: Vec<String> = quality.iter().map(|db| format!("{db:.2}")).collect();
    let verdict = match (rises, last > first) {
        (true, true) => Verdict::Holds,
        (false, true) => Verdict::Partly,
        _ => Verdict::Fails,
    };
    Some((format!("{} dB from fewest to most layers", figures.join(", ")), verdict))
}

fn pair(section: &Section) -> Option<(Summary<'_>, Summary<'_>)> {
    let last = |series: &str| summaries(section, series)?.pop();
    Some((last("ASMR")?, last("SIREN")?))
}

fn better_than_siren(section: &Section) -> Option<(String, Verdict)> {
    let (asmr, siren) = pair(section)?;
    let differences: Vec<f64> = asmr
        .signals()
        .into_iter()
        .filter_map(|signal| Some(asmr.of_signal(signal, "psnr_db")? - siren.of_signal(signal, "psnr_db")?))
        .collect();
    let n = differences.len();
    let n_better = differences.iter().filter(|difference| **difference > 0.0).count();
    let mean = (n > 0).then(|| differences.iter().sum::<f64>() / n as f64)?;
    let verdict = match n_better {
        all if all == n => Verdict::Holds,
        0 => Verdict::Fails,
        _ => Verdict::Partly,
    };
    Some((
        format!("better on {n_better} of {n} signals, {mean:+.2} dB on the mean, each at its best rate"),
        verdict,
    ))
}

fn cheaper_than_siren(section: &Section) -> Option<(String, Verdict)> {
    let (asmr, siren) = pair(section)?;
    let macs = siren.mean("mac_exec")? / asmr.mean("mac_exec")?;
    let time = asmr.mean("decode_msamples_s_1")? / siren.mean("decode_msamples_s_1")?;
    let verdict = if macs > 1.0 && time > 1.0 { Verdict::Holds } else { Verdict::Fails };
    Some((
        format!("{macs:.0} times fewer executed, {time:.0} times the samples a second on one thread"),
        verdict,
    ))
}

/// Writes the claims as a file of results.
///
/// # Errors
/// When that fails.
pub fn write(claims: &[Claim], path: &Path, root: &Path) -> Outcome<()> {
    let mut text = format!(
        "# What the ASMR paper's abstract claims, and what the experiments here say; made by `asmr-zoo report`\n# commit {}; {}\nclaim\tfigure\tverdict\tcommand\n",
        machine::commit(root),
        machine::describe()
    );
    for Claim { claim, figure, verdict, command } in claims {
        let _ = writeln!(text, "{claim}\t{figure}\t{}\t{command}", verdict.words());
    }
    crate::table::write_whole(path, &text)
}
