//! Experiments as one page of HTML: claims, tables and plots, all from their files of results.
//!
//! No script and nothing to load; plots are SVG within the page.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::claims::Claim;
use crate::experiment::{ContestantSpec, Experiment, PlotSpec, SignalSpec};
use crate::fit::Stop;
use crate::page::{STYLE, escaped};
use crate::plot::{Axis, Curve, Plot};
use crate::rate_search::{LEAST_FREE_TRIAL, MAX_RATES, RATE_FACTORS, TRIAL_SHARE};
use crate::records::{Records, Summary, length};
use crate::runner::lengths;

/// An experiment and what it measured.
pub struct Section {
    /// Its name: that of its files.
    pub name: String,
    /// What it is; of a quick run, the quick one.
    pub experiment: Experiment,
    /// What it measured.
    pub records: Records,
    /// What was left out, and why.
    pub missing: Vec<String>,
    /// Whether it is a quick run.
    pub is_quick: bool,
}

/// A contestant's rows after one length.
struct Shown<'a> {
    contestant: &'a ContestantSpec,
    length: String,
    summary: Summary<'a>,
    /// Whether it stands for those that are best of the same.
    is_best: bool,
}

impl Shown<'_> {
    /// What it is called in tables.
    fn name(&self) -> String {
        let Self { contestant: ContestantSpec { name, best_of, .. }, is_best, .. } = self;
        match best_of {
            Some(of) if *is_best => format!("{name} (the best {of})"),
            _ => name.clone(),
        }
    }

    /// The curve it is on; none: another stands for it.
    fn series(&self) -> Option<&str> {
        let ContestantSpec { name, series, best_of, .. } = self.contestant;
        self.is_best.then(|| series.as_ref().or(best_of.as_ref()).unwrap_or(name).as_str())
    }
}

/// Columns of the tables of means: heading, column of the results, decimals. Those without any figure are left out.
const MEANS: [(&str, &str, usize); 17] = [
    ("PSNR, dB", "psnr_db", 2),
    ("SSIM", "ssim", 4),
    ("SNR, dB", "snr_db", 2),
    ("IoU", "iou", 4),
    ("layers", "layers", 0),
    ("weights", "n_params", 0),
    ("bytes", "bytes", 0),
    ("MAC, published count", "mac_paper", 1),
    ("MAC, executed", "mac_exec", 1),
    ("sines", "sin_exec", 1),
    ("table reads", "table_reads", 0),
    ("steps", "steps", 0),
    ("fit, s", "fit_s", 1),
    ("search, s", "search_s", 1),
    ("decode, Ms/s, 1 thread", "decode_msamples_s_1", 2),
    ("2 threads", "decode_msamples_s_2", 2),
    ("rate", "rate", 6),
];
/// Of these the highest after each length is marked.
const MARKED: [&str; 3] = ["psnr_db", "decode_msamples_s_1", "decode_msamples_s_2"];

/// A figure of a contestant's fits.
type Figure = fn(&Summary<'_>) -> Option<f64>;

/// An experiment's part of the page.
pub struct Part {
    /// Its name: that of its files.
    pub name: String,
    /// Its heading.
    pub title: String,
    /// What it is about.
    pub about: String,
    /// Tables, as HTML.
    pub tables: String,
    /// Plots.
    pub plots: Vec<Plot>,
    /// What stands below each of them: seeds, commits, and whether the run was quick.
    pub note: String,
}

/// The page.
#[must_use]
pub fn page(parts: &[Part], claims: &[Claim], quick: bool) -> String {
    let title = if quick { "Experiments, quick" } else { "Experiments" };
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>asmr: {title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    if quick {
        out += "<p>Every experiment with fewer signals, seeds and steps than its full protocol has: what its figures \
                say holds for short fits.</p>\n";
    }
    let _ = writeln!(
        out,
        "<p>ASMR is fitted by its presets, which were found beforehand, on camera.png and Kodak pictures. What rivals are given for that: \
         in a fixed number of steps, every rate named below and, where the best is at their end, others beyond; in a given time, a search \
         of batch and rate on top of the time: {} to {MAX_RATES} rates, each for {:.0} % of the time and {:.1} s at least, and the best with \
         a quarter of the batch. All end with their best weights by the loss. A fit of ASMR whose loss rises goes back to an earlier state \
         at a lower rate; one of a rival that diverges begins anew at a lower rate where it has a time, and fails where it has steps.</p>",
        RATE_FACTORS.len(),
        100.0 * TRIAL_SHARE,
        LEAST_FREE_TRIAL.as_secs_f64()
    );
    if !claims.is_empty() {
        out += "<h2>Claims</h2>\n";
        let rows = claims.iter().map(|claim| {
            let Claim { claim, figure, verdict, command, commit, .. } = claim;
            [(*claim).to_owned(), figure.clone(), verdict.to_string(), command.clone(), commit.clone()]
                .to_vec()
        });
        let heads = ["claim", "our figure", "verdict", "by", "commit"].map(str::to_owned);
        out += &table(&heads, rows);
    }
    out += "<nav><ul>\n";
    for part in parts {
        let _ = writeln!(out, "<li><a href=\"#{}\">{}</a></li>", escaped(&part.name), escaped(&part.title));
    }
    out += "</ul></nav>\n";
    for Part { name, title, about, tables, plots, note } in parts {
        let (name, title, about) = (escaped(name), escaped(title), escaped(about));
        let _ = write!(out, "<h2 id=\"{name}\">{title}</h2>\n<p>{about}</p>\n{tables}");
        for plot in plots {
            let _ = writeln!(out, "<figure>{}</figure>", plot.svg_with(note));
        }
    }
    out + "</body>\n</html>\n"
}

impl Section {
    /// Its part of the page.
    #[must_use]
    pub fn part(&self) -> Part {
        let experiment = &self.experiment;
        let mut tables = String::new();
        for problem in &self.missing {
            let _ = writeln!(tables, "<p><strong>Left out:</strong> {}</p>", escaped(problem));
        }
        let all = self.shown();
        if all.is_empty() {
            tables += "<p>Nothing was measured.</p>\n";
        } else {
            tables += &self.protocol();
            tables += &Self::means(&all);
            if all.iter().any(|shown| shown.summary.signals().len() > 1) {
                tables += &self.by_signal(&all);
            }
            tables += &Self::elsewhere(&all);
            for remark in self.remarks(&all) {
                let _ = writeln!(tables, "<p>{}</p>", escaped(&remark));
            }
            tables += &settings(&all);
        }
        let quick = if self.is_quick { "quick run; " } else { "" };
        let (seeds, commits) = (self.each("seed"), self.each("commit"));
        Part {
            name: self.name.clone(),
            title: experiment.title.clone(),
            about: experiment.about.clone(),
            tables,
            plots: experiment.plots.iter().filter_map(|plot| self.plot(plot)).collect(),
            note: format!("{quick}seeds {}; commit {}", seeds.join(", "), commits.join(", ")),
        }
    }

    /// Each contestant's rows after each length.
    fn shown(&self) -> Vec<Shown<'_>> {
        let contestants = self.experiment.contestants.iter();
        let mut all: Vec<Shown<'_>> = contestants
            .flat_map(|contestant| {
                lengths(&self.experiment, contestant).into_iter().filter_map(move |stop| {
                    let summary = Summary::of(&self.records, &contestant.name, &length(stop))?;
                    Some(Shown { contestant, length: length(stop), summary, is_best: true })
                })
            })
            .collect();
        let quality = |shown: &Shown<'_>| shown.summary.mean("psnr_db").unwrap_or(f64::NEG_INFINITY);
        for i in 0..all.len() {
            let (this, of) = (&all[i], &all[i].contestant.best_of);
            let is_beaten = of.is_some()
                && all.iter().enumerate().any(|(j, other)| {
                    (&other.contestant.best_of, &other.length) == (of, &this.length)
                        && (quality(other) > quality(this) || quality(other) >= quality(this) && j < i)
                });
            all[i].is_best = !is_beaten;
        }
        all
    }

    /// What stands in a column, each once.
    fn each(&self, column: &str) -> Vec<&str> {
        let texts: BTreeSet<&str> = self.records.iter().map(|row| row.text(column)).collect();
        let mut items: Vec<&str> = texts.into_iter().collect();
        let number = |text: &str| text.parse().unwrap_or(f64::INFINITY);
        items.sort_by(|a, b| number(a).total_cmp(&number(b)).then(a.cmp(b)));
        items
    }

    /// Where figures come from.
    fn protocol(&self) -> String {
        let list = |column| self.each(column).into_iter().map(escaped).collect::<Vec<_>>().join(", ");
        format!(
            "<p>Signals: {}. Seeds: {}. Factors on usual rates: {}; the best of each is shown. Threads of the fits: {}. Commit {}. {}.</p>\n",
            list("signal"),
            list("seed"),
            list("rate_factor"),
            list("threads"),
            list("commit"),
            list("machine")
        )
    }

    fn means(all: &[Shown<'_>]) -> String {
        let columns: Vec<&(&str, &str, usize)> = MEANS
            .iter()
            .filter(|(_, column, _)| all.iter().any(|shown| shown.summary.mean(column).is_some()))
            .collect();
        let spreads: [(&str, Figure); 2] = [
            ("spread over seeds, dB", |summary| summary.spread("psnr_db")),
            ("deviation over signals, dB", |summary| summary.deviation("psnr_db")),
        ];
        let spreads: Vec<_> = spreads
            .into_iter()
            .filter(|(_, of)| all.iter().any(|shown| of(&shown.summary).is_some()))
            .collect();
        let mut heads = ["contestant", "length", "fits"].map(str::to_owned).to_vec();
        let n_before = heads.len();
        heads.extend(columns.iter().map(|(head, ..)| (*head).to_owned()));
        heads.extend(spreads.iter().map(|(head, _)| (*head).to_owned()));
        let rows = all.iter().map(|shown| {
            let summary = &shown.summary;
            let (n, n_failed) = (summary.rows.len(), summary.failed.len());
            let fits = if n_failed == 0 { n.to_string() } else { format!("{n} of {}", n + n_failed) };
            let mut cells = vec![shown.name(), shown.length.clone(), fits];
            cells.extend(columns.iter().map(|(_, column, decimals)| figure(summary.mean(column), *decimals)));
            cells.extend(spreads.iter().map(|(_, of)| figure(of(summary), 2)));
            cells
        });
        table_with(&heads, rows, |row, column| {
            let column = column.checked_sub(n_before).and_then(|i| columns.get(i));
            column.is_some_and(|(_, column, _)| {
                MARKED.contains(column) && is_highest(all, row, |shown| shown.summary.mean(column))
            })
        })
    }

    fn by_signal(&self, all: &[Shown<'_>]) -> String {
        let signals: Vec<String> = self.experiment.all_signals().iter().map(SignalSpec::name).collect();
        let mut heads = vec!["PSNR, dB".to_owned(), "length".to_owned()];
        let n_before = heads.len();
        heads.extend(signals.iter().cloned());
        let rows = all.iter().map(|shown| {
            let figures = signals.iter().map(|signal| figure(shown.summary.of_signal(signal, "psnr_db"), 2));
            [shown.name(), shown.length.clone()].into_iter().chain(figures).collect()
        });
        table_with(&heads, rows, |row, column| {
            let signal = column.checked_sub(n_before).map(|i| &signals[i]);
            signal.is_some_and(|signal| {
                is_highest(all, row, |shown| shown.summary.of_signal(signal, "psnr_db"))
            })
        })
    }

    /// What the same fits reach elsewhere; nothing where no such figure is known.
    fn elsewhere(all: &[Shown<'_>]) -> String {
        let heads = ["contestant", "signal", "length", "here, dB", "elsewhere, dB", "difference, dB", "from"];
        let rows: Vec<Vec<String>> = all
            .iter()
            .flat_map(|shown| {
                let known = shown.contestant.elsewhere.iter();
                let known = known.filter(|there| length(Stop::Steps(there.steps)) == shown.length);
                known.map(|there| {
                    let here = shown.summary.of_signal(&there.signal, "psnr_db");
                    vec![
                        shown.contestant.name.clone(),
                        there.signal.clone(),
                        shown.length.clone(),
                        figure(here, 2),
                        figure(Some(there.psnr_db), 2),
                        here.map_or_else(|| figure(None, 2), |here| format!("{:+.2}", here - there.psnr_db)),
                        there.source.clone(),
                    ]
                })
            })
            .collect();
        if rows.is_empty() {
            return String::new();
        }
        table(&heads.map(str::to_owned), rows.into_iter())
    }

    /// What a reader of the tables is to know.
    fn remarks(&self, all: &[Shown<'_>]) -> Vec<String> {
        let mut remarks = Vec::new();
        for Shown { contestant, length, summary, .. } in all {
            if !summary.at_edge.is_empty() {
                remarks.push(format!(
                    "{} ({length}): the best rate is the highest or the lowest of those tried on {}.",
                    contestant.name,
                    summary.at_edge.join(", ")
                ));
            }
            let measured = summary.texts("measured_samples");
            if contestant.measured_samples.is_some() && !measured.is_empty() {
                remarks.push(format!(
                    "{} ({length}): quality and decoding speed on {} samples, every so manyeth along each axis.",
                    contestant.name,
                    measured.join(", ")
                ));
            }
        }
        let failed = self.records.iter().filter(|row| row.number("psnr_db").is_none());
        remarks.extend(failed.map(|row| {
            let [signal, contestant, length, factor, seed] = row.key();
            let problem = row.text("problem");
            format!("{contestant} on {signal} ({length}, rate factor {factor}, seed {seed}): {problem}")
        }));
        remarks
    }

    /// A plot; none where nothing was measured.
    #[must_use]
    pub fn plot(&self, spec: &PlotSpec) -> Option<Plot> {
        let mut curves: Vec<Curve> = Vec::new();
        for shown in self.shown() {
            let Some(series) = shown.series() else { continue };
            let point = shown.summary.mean(&spec.x).zip(shown.summary.mean(&spec.y));
            let Some(point) = point.filter(|(x, y)| x.is_finite() && y.is_finite()) else { continue };
            match curves.iter_mut().find(|curve| curve.name == *series) {
                Some(curve) => curve.points.push(point),
                None => curves.push(Curve { name: series.to_owned(), points: vec![point] }),
            }
        }
        drawn(spec, curves)
    }
}

/// Whether the figure of a row is the highest after its length.
fn is_highest(all: &[Shown<'_>], row: usize, of: impl Fn(&Shown<'_>) -> Option<f64>) -> bool {
    let Some(own) = of(&all[row]) else { return false };
    let others = all.iter().filter(|other| other.length == all[row].length);
    others.filter_map(of).all(|other| other <= own)
}

/// What was chosen in each fit that is shown.
fn settings(all: &[Shown<'_>]) -> String {
    let heads = ["contestant", "length", "signal", "seed", "rate factor", "settings"].map(str::to_owned);
    let columns = ["contestant", "length", "signal", "seed", "rate_factor", "settings"];
    let rows = all.iter().flat_map(|shown| &shown.summary.rows);
    let rows = rows.map(|row| columns.iter().map(|column| row.text(column).to_owned()).collect());
    format!("<details>\n<summary>Settings</summary>\n{}</details>\n", table(&heads, rows))
}

/// A plot of curves, each from its least x on; none without a point.
pub(crate) fn drawn(spec: &PlotSpec, mut curves: Vec<Curve>) -> Option<Plot> {
    for curve in &mut curves {
        curve.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    let axis = |column: &str, is_log, of: fn(&(f64, f64)) -> f64| {
        let values: Vec<f64> = curves.iter().flat_map(|curve| curve.points.iter().map(of)).collect();
        let label = label(column);
        if is_log { Axis::over_log(label, &values) } else { Axis::over(label, &values) }
    };
    let x = axis(&spec.x, spec.x_log, |point| point.0)?;
    let y = axis(&spec.y, spec.y_log, |point| point.1)?;
    Some(Plot { title: spec.title.clone(), x, y, curves })
}

/// A column in words.
fn label(column: &str) -> &str {
    match column {
        "decode_msamples_s_1" => "decoded Msamples/s, 1 thread",
        "decode_msamples_s_2" => "decoded Msamples/s, 2 threads",
        "n_params" => "weights",
        "mac_exec" => "MAC/sample, executed",
        "mac_paper" => "MAC/sample, published count",
        "fit_s" => "seconds of fitting",
        _ => MEANS.iter().find(|(_, known, _)| *known == column).map_or(column, |(head, ..)| head),
    }
}

fn figure(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.decimals$}"))
}

pub(crate) fn table(heads: &[String], rows: impl Iterator<Item = Vec<String>>) -> String {
    table_with(heads, rows, |_, _| false)
}

/// A table, some of whose cells are marked, by row and column.
fn table_with(
    heads: &[String],
    rows: impl Iterator<Item = Vec<String>>,
    is_marked: impl Fn(usize, usize) -> bool,
) -> String {
    let mut out = "<div class=\"wide\">\n<table>\n<thead>\n<tr>".to_owned();
    for head in heads {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escaped(head));
    }
    out += "</tr>\n</thead>\n<tbody>\n";
    for (i, row) in rows.enumerate() {
        out += "<tr>";
        for (j, cell) in row.iter().enumerate() {
            let class = if is_marked(i, j) { " class=\"best\"" } else { "" };
            let _ = write!(out, "<td{class}>{}</td>", escaped(cell));
        }
        out += "</tr>\n";
    }
    out + "</tbody>\n</table>\n</div>\n"
}
