//! Experiments as one page of HTML: claims, tables and plots, all from their files of results.
//!
//! No script and nothing to load; plots are SVG within the page.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::claims::Claim;
use crate::experiment::{Experiment, PlotSpec};
use crate::page::{STYLE, escaped};
use crate::plot::{Axis, Curve, Plot};
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
}

/// Columns of the tables of means: heading, column of the results, decimals.
const MEANS: [(&str, &str, usize); 13] = [
    ("PSNR, dB", "psnr_db", 2),
    ("SSIM", "ssim", 4),
    ("weights", "n_params", 0),
    ("bytes", "bytes", 0),
    ("MAC, published count", "mac_paper", 1),
    ("MAC, executed", "mac_exec", 1),
    ("sines", "sin_exec", 1),
    ("table reads", "table_reads", 0),
    ("steps", "steps", 0),
    ("fit, s", "fit_s", 1),
    ("decode, Ms/s, 1 thread", "decode_msamples_s_1", 2),
    ("2 threads", "decode_msamples_s_2", 2),
    ("rate", "rate", 6),
];

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
    if !claims.is_empty() {
        out += "<h2>Claims</h2>\n";
        let rows = claims.iter().map(|claim| {
            [claim.claim, &claim.figure, claim.verdict.words(), &claim.command].map(str::to_owned).to_vec()
        });
        out += &table(&["claim", "our figure", "verdict", "by"].map(str::to_owned), rows);
    }
    out += "<nav><ul>\n";
    for part in parts {
        let _ = writeln!(out, "<li><a href=\"#{}\">{}</a></li>", escaped(&part.name), escaped(&part.title));
    }
    out += "</ul></nav>\n";
    for Part { name, title, about, tables, plots } in parts {
        let (name, title, about) = (escaped(name), escaped(title), escaped(about));
        let _ = write!(out, "<h2 id=\"{name}\">{title}</h2>\n<p>{about}</p>\n{tables}");
        for plot in plots {
            let _ = writeln!(out, "<figure>{}</figure>", plot.svg());
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
        let summaries = self.summaries();
        if summaries.is_empty() {
            tables += "<p>Nothing was measured.</p>\n";
        } else {
            tables += &self.protocol();
            tables += &self.means(&summaries);
            if summaries.iter().any(|(_, _, summary)| summary.signals().len() > 1) {
                tables += &self.by_signal(&summaries);
            }
            for problem in self.problems() {
                let _ = writeln!(tables, "<p>{}</p>", escaped(&problem));
            }
        }
        Part {
            name: self.name.clone(),
            title: experiment.title.clone(),
            about: experiment.about.clone(),
            tables,
            plots: experiment.plots.iter().filter_map(|plot| self.plot(plot)).collect(),
        }
    }

    /// Name and length of each contestant with its rows.
    fn summaries(&self) -> Vec<(String, String, Summary<'_>)> {
        let contestants = self.experiment.contestants.iter();
        let all = contestants.flat_map(|contestant| {
            lengths(&self.experiment, contestant).into_iter().filter_map(|stop| {
                let summary = Summary::of(&self.records, &contestant.name, &length(stop))?;
                Some((contestant.name.clone(), length(stop), summary))
            })
        });
        all.collect()
    }

    /// Where figures come from.
    fn protocol(&self) -> String {
        let each = |column: &str| -> Vec<&str> {
            let texts: BTreeSet<&str> = self.records.iter().map(|row| row.text(column)).collect();
            texts.into_iter().collect()
        };
        let list = |column: &str| {
            let mut items = each(column);
            items.sort_by(|a, b| {
                let number = |text: &str| text.parse().unwrap_or(f64::INFINITY);
                number(a).total_cmp(&number(b)).then(a.cmp(b))
            });
            items.into_iter().map(escaped).collect::<Vec<_>>().join(", ")
        };
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

    fn means(&self, summaries: &[(String, String, Summary<'_>)]) -> String {
        let has_spread = self.experiment.seeds.len() > 1;
        let mut heads = ["contestant", "length", "fits"].map(str::to_owned).to_vec();
        heads.extend(MEANS.iter().map(|(head, ..)| (*head).to_owned()));
        if has_spread {
            heads.push("spread over seeds, dB".to_owned());
        }
        let rows = summaries.iter().map(|(name, length, summary)| {
            let (n, n_failed) = (summary.rows.len(), summary.n_failed);
            let fits = if n_failed == 0 { n.to_string() } else { format!("{n} of {}", n + n_failed) };
            let mut cells = vec![name.clone(), length.clone(), fits];
            cells.extend(MEANS.iter().map(|(_, column, decimals)| figure(summary.mean(column), *decimals)));
            if has_spread {
                cells.push(figure(summary.spread("psnr_db"), 2));
            }
            cells
        });
        table(&heads, rows)
    }

    fn by_signal(&self, summaries: &[(String, String, Summary<'_>)]) -> String {
        let signals: Vec<String> =
            self.experiment.all_signals().iter().map(crate::experiment::SignalSpec::name).collect();
        let mut heads = vec!["PSNR, dB".to_owned(), "length".to_owned()];
        heads.extend(signals.iter().cloned());
        let rows = summaries.iter().map(|(name, length, summary)| {
            let figures = signals.iter().map(|signal| figure(summary.of_signal(signal, "psnr_db"), 2));
            [name.clone(), length.clone()].into_iter().chain(figures).collect()
        });
        table(&heads, rows)
    }

    fn problems(&self) -> Vec<String> {
        let failed = self.records.iter().filter(|row| row.number("psnr_db").is_none());
        let said = failed.map(|row| {
            let [signal, contestant, length, factor, seed] = row.key();
            let problem = row.text("problem");
            format!("{contestant} on {signal} ({length}, rate factor {factor}, seed {seed}): {problem}")
        });
        said.collect()
    }

    /// A plot; none where nothing was measured.
    #[must_use]
    pub fn plot(&self, spec: &PlotSpec) -> Option<Plot> {
        let mut curves: Vec<Curve> = Vec::new();
        for contestant in &self.experiment.contestants {
            let series = contestant.series.as_ref().unwrap_or(&contestant.name);
            for stop in lengths(&self.experiment, contestant) {
                let summary = Summary::of(&self.records, &contestant.name, &length(stop));
                let point = summary.and_then(|s| Some((s.mean(&spec.x)?, s.mean(&spec.y)?)));
                let Some(point) = point.filter(|(x, y)| x.is_finite() && y.is_finite()) else { continue };
                match curves.iter_mut().find(|curve| curve.name == *series) {
                    Some(curve) => curve.points.push(point),
                    None => curves.push(Curve { name: series.clone(), points: vec![point] }),
                }
            }
        }
        drawn(spec, curves)
    }
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
    let mut out = "<div class=\"wide\">\n<table>\n<thead>\n<tr>".to_owned();
    for head in heads {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escaped(head));
    }
    out += "</tr>\n</thead>\n<tbody>\n";
    for row in rows {
        out += "<tr>";
        for cell in row {
            let _ = write!(out, "<td>{}</td>", escaped(&cell));
        }
        out += "</tr>\n";
    }
    out + "</tbody>\n</table>\n</div>\n"
}
