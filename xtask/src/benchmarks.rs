//! docs/BENCHMARKS.md, which is made as a whole from the files `bench-*.tsv` of results/ and never typed.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::read;
use crate::readme::number;

const PAGE: &str = "docs/BENCHMARKS.md";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How a column is shown.
struct Column {
    /// Its name in the file.
    name: &'static str,
    heading: &'static str,
    /// Decimals of a number; `None`: text, as it stands.
    decimals: Option<usize>,
}

const fn text(name: &'static str, heading: &'static str) -> Column {
    Column { name, heading, decimals: None }
}

const fn figure(name: &'static str, heading: &'static str, decimals: usize) -> Column {
    Column { name, heading, decimals: Some(decimals) }
}

/// A table of the page: one file's columns, or some of them.
struct Section {
    file: &'static str,
    title: &'static str,
    about: &'static str,
    columns: &'static [Column],
}

const HEAD: &str = "\
# Benchmarks

Made from `results/VERSION/bench-*.tsv` by `cargo xtask bench`, or from files that are there by `cargo xtask benchmarks
--write`; never typed. Every table names its command, commit and machine.

How it is measured: ours and the peers take turns within the same seconds, because a machine's clock and its neighbours
swing; figures are medians, and ratios are those of medians. Everything is f32. Ours decodes from weights to values,
preparation included. The peers are PyTorch models written plainly from [METHOD.md](METHOD.md)
(`crates/asmr-zoo/peers/torch_peers.py`; `cargo xtask bench --check-peers` compares them with the golden vectors): ASMR with
activation sharing as published, and a SIREN with as many layers of the same width; each as it stands (eager) and through
`torch.compile`, whose compilation is not timed.
";

const SECTIONS: &[Section] = &[
    Section {
        file: "machine",
        title: "The machine",
        about: "Multiply-adds in registers alone (two operations each), and `a = b + s·c` over arrays far larger than the\n\
                caches (two reads and one write counted).",
        columns: &[
            text("what", "what"),
            text("threads", "threads"),
            text("unit", "unit"),
            figure("median", "median", 1),
            figure("q1", "lower quartile", 1),
            figure("q3", "upper quartile", 1),
        ],
    },
    Section {
        file: "decode",
        title: "Decoding",
        about: "GFLOP/s = 2 · executed MAC/sample · samples / time. *Of peak* is its share of the multiply-add peak that the\n\
                same threads reached between these repetitions. *Memory* is the highest resident memory of a process that\n\
                decodes once; *beyond output* is that without the decoded values.",
        columns: &[
            text("case", "case"),
            text("signal", "signal"),
            text("bases", "bases"),
            text("width", "width"),
            figure("mac_exec", "MAC/sample", 1),
            figure("median_ms", "ms", 2),
            figure("q1_ms", "lower quartile", 2),
            figure("q3_ms", "upper quartile", 2),
            figure("msamples_s", "Msamples/s", 1),
            figure("gflops", "GFLOP/s", 1),
            figure("peak_gflops", "peak, GFLOP/s", 1),
            figure("peak_share", "of peak", 2),
            figure("memory_mib", "memory, MiB", 1),
            figure("beyond_output_mib", "beyond output, MiB", 1),
        ],
    },
    Section {
        file: "decode",
        title: "Decoding, beside PyTorch",
        about: "Milliseconds, and how many times ours is quicker.",
        columns: &[
            text("case", "case"),
            text("threads", "threads"),
            figure("median_ms", "asmr, ms", 2),
            figure("asmr_eager_ms", "ASMR eager, ms", 1),
            figure("asmr_eager_ratio", "×", 1),
            figure("asmr_compile_ms", "ASMR compiled, ms", 1),
            figure("asmr_compile_ratio", "×", 1),
            figure("siren_eager_ms", "SIREN eager, ms", 1),
            figure("siren_eager_ratio", "×", 1),
            figure("siren_compile_ms", "SIREN compiled, ms", 1),
            figure("siren_compile_ratio", "×", 1),
            figure("asmr_eager_memory_mib", "memory of ASMR eager, MiB", 0),
        ],
    },
    Section {
        file: "step",
        title: "A full-batch step of fitting",
        about: "Gradient and update. The peer's optimiser is Adam; ours is given with Adam and with SOAP, the default. One\n\
                repetition of ours is the mean of 20 steps, since SOAP refreshes its bases every 20. GFLOP/s counts three\n\
                passes of the executed MAC/sample, the optimiser not.",
        columns: &[
            text("case", "case"),
            text("optimiser", "optimiser"),
            text("threads", "threads"),
            figure("median_ms", "ms", 1),
            figure("q1_ms", "lower quartile", 1),
            figure("q3_ms", "upper quartile", 1),
            figure("gflops", "GFLOP/s", 1),
            figure("peak_gflops", "peak, GFLOP/s", 1),
            figure("peak_share", "of peak", 2),
            figure("memory_mib", "memory, MiB", 1),
            figure("asmr_eager_ms", "ASMR eager, ms", 0),
            figure("asmr_eager_ratio", "×", 1),
            figure("asmr_compile_ms", "ASMR compiled, ms", 0),
            figure("asmr_compile_ratio", "×", 1),
            figure("asmr_eager_memory_mib", "memory of ASMR eager, MiB", 0),
        ],
    },
    Section {
        file: "fit-time",
        title: "Quality after so many seconds",
        about: "PSNR in dB of the decoded picture (clamped, rounded). Each time is a fit of its own, its decay planned for it.",
        columns: &[
            text("picture", "picture"),
            text("method", "method"),
            figure("weights", "weights", 0),
            figure("db_1s", "1 s", 2),
            figure("db_3s", "3 s", 2),
            figure("db_10s", "10 s", 2),
            figure("db_30s", "30 s", 2),
            figure("steps_30s", "steps in 30 s", 0),
        ],
    },
    Section {
        file: "scaling-samples",
        title: "Decode time against samples",
        about: "Square pictures of one channel, four levels, width 256. Time per sample should hardly change.",
        columns: SCALING,
    },
    Section {
        file: "scaling-depth",
        title: "Decode time against depth",
        about: "4096² samples of one channel, width 256. A SIREN's MAC/sample grow with each layer; published ASMR's and those\n\
                executed here hardly do once there are a few levels.",
        columns: SCALING,
    },
    Section { file: "scaling-threads", title: "Decode time against threads", about: "", columns: SCALING },
    Section {
        file: "scaling-width",
        title: "Decode time against width",
        about: "512² samples of one channel, bases 4,4,4,8.",
        columns: SCALING,
    },
];

const SCALING: &[Column] = &[
    text("case", "case"),
    text("signal", "samples"),
    text("bases", "bases"),
    text("threads", "threads"),
    figure("mac_siren", "SIREN, MAC/sample", 0),
    figure("mac_paper", "published, MAC/sample", 1),
    figure("mac_exec", "executed, MAC/sample", 1),
    figure("sin_exec", "executed, sin/sample", 2),
    figure("median_ms", "ms", 3),
    figure("q1_ms", "lower quartile", 3),
    figure("q3_ms", "upper quartile", 3),
    figure("msamples_s", "Msamples/s", 1),
    figure("peak_share", "of peak", 2),
];

/// Whether the page is what [`write()`] would make it.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    if read(&root.join(PAGE))? == page(root)? {
        return Ok(());
    }
    Err(format!("{PAGE} differs from results/; bring it up to date with: cargo xtask benchmarks --write"))
}

/// Brings the page up to date; whether anything changed.
pub(crate) fn write(root: &Path) -> Result<bool, String> {
    let path = root.join(PAGE);
    let new = page(root)?;
    if fs::read_to_string(&path).is_ok_and(|old| old == new) {
        return Ok(false);
    }
    fs::write(&path, new).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(true)
}

fn page(root: &Path) -> Result<String, String> {
    let mut out = HEAD.replace("VERSION", VERSION);
    for section in SECTIONS {
        let file = format!("results/{VERSION}/bench-{}.tsv", section.file);
        let _ = writeln!(out, "\n## {}\n", section.title);
        if !section.about.is_empty() {
            let _ = writeln!(out, "{}\n", section.about);
        }
        if root.join(&file).is_file() {
            let tsv = read(&root.join(&file))?;
            out.push_str(&table(&tsv, section.columns).map_err(|error| format!("{file}: {error}"))?);
            let _ = writeln!(out, "\nMade from `{file}`:");
            for note in tsv.lines().filter_map(|line| line.strip_prefix('#')) {
                let _ = writeln!(out, "* {}", note.trim());
            }
        } else {
            let _ = writeln!(out, "*Not measured yet: there is no `{file}`.*");
        }
        if section.file == "step" {
            let _ = write!(out, "\n{}", bounds(root)?);
        }
    }
    Ok(out)
}

/// What the ratios to the peers could be at most: those that the measured multiply-add peak would give. From all runs that
/// are recorded: a file `bench-NAME-earlier.tsv` is another run's `bench-NAME.tsv`.
fn bounds(root: &Path) -> Result<String, String> {
    let mut out = String::from(
        "## What bounds the ratios\n\n\
         *At most* is the ratio of a run at the whole measured multiply-add peak, every executed multiply-add counted and nothing\n\
         else: the ratio divided by the share of peak. What is missing to it is ours; beyond it, only fewer multiply-adds help.\n\n\
         | case | run | ms | of peak | × ASMR eager | at most | × ASMR compiled | at most | × SIREN eager | at most |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for (table, run) in [("decode", "earlier"), ("decode", "last"), ("step", "earlier"), ("step", "last")] {
        let suffix = if run == "earlier" { "-earlier" } else { "" };
        let file = format!("results/{VERSION}/bench-{table}{suffix}.tsv");
        if !root.join(&file).is_file() {
            continue;
        }
        let tsv = read(&root.join(&file))?;
        let mut lines = tsv.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let names: Vec<&str> = lines.next().ok_or_else(|| format!("{file} is empty"))?.split('\t').collect();
        for line in lines {
            let cells: Vec<&str> = line.split('\t').collect();
            let cell =
                |name: &str| names.iter().position(|n| *n == name).and_then(|at| cells.get(at)).copied();
            let value = |name: &str| cell(name).and_then(|text| text.parse::<f64>().ok());
            let (Some(share), Some(ms)) = (value("peak_share"), value("median_ms")) else {
                return Err(format!("{file}: a row without its share of peak: {line}"));
            };
            let kind = match cell("optimiser").unwrap_or_default() {
                "" => "decode".to_owned(),
                optimiser => format!("step, {optimiser}"),
            };
            let ratios = ["asmr_eager_ratio", "asmr_compile_ratio", "siren_eager_ratio"].map(|name| {
                value(name).map_or_else(
                    || "– | –".to_owned(),
                    |ratio| format!("{} | {}", number(ratio, 1), number(ratio / share, 0)),
                )
            });
            let _ = writeln!(
                out,
                "| {}, {kind} | {run} | {} | {} | {} |",
                cell("case").unwrap_or_default(),
                number(ms, 2),
                number(share, 2),
                ratios.join(" | ")
            );
        }
    }
    Ok(out)
}

/// A table in Markdown of a result file's named columns.
fn table(tsv: &str, columns: &[Column]) -> Result<String, String> {
    let mut lines = tsv.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let names: Vec<&str> = lines.next().ok_or("it is empty")?.split('\t').collect();
    let places = columns
        .iter()
        .map(|column| names.iter().position(|n| *n == column.name).ok_or(column.name))
        .collect::<Result<Vec<usize>, _>>()
        .map_err(|name| format!("it has no column {name}"))?;
    let mut out = String::from("|");
    for column in columns {
        let _ = write!(out, " {} |", column.heading);
    }
    out.push_str("\n|");
    for column in columns {
        out.push_str(if column.decimals.is_some() { "---:|" } else { "---|" });
    }
    out.push('\n');
    let mut n_rows = 0;
    for line in lines {
        let cells: Vec<&str> = line.split('\t').collect();
        if cells.len() != names.len() {
            return Err(format!("a row has {} cells instead of {}: {line}", cells.len(), names.len()));
        }
        out.push('|');
        for (column, &at) in columns.iter().zip(&places) {
            let shown = match (cells[at], column.decimals) {
                ("" | "null", _) => "–".to_owned(),
                (cell, None) => cell.replace('|', "\\|"),
                (cell, Some(decimals)) => {
                    let value = cell.parse().ok().filter(|value: &f64| value.is_finite());
                    number(
                        value.ok_or_else(|| format!("{} is \"{cell}\", no number", column.name))?,
                        decimals,
                    )
                }
            };
            let _ = write!(out, " {shown} |");
        }
        out.push('\n');
        n_rows += 1;
    }
    if n_rows == 0 { Err("it has no rows".to_owned()) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[text("case", "case"), figure("median_ms", "ms", 1)];

    #[test]
    fn a_table() {
        let tsv = "# made by x\n# commit y\nmedian_ms\tother\tcase\n1234.56\tz\ta\nnull\t\tb|c\n";
        let expected = "| case | ms |\n|---|---:|\n| a | 1,234.6 |\n| b\\|c | – |\n";
        assert_eq!(table(tsv, COLUMNS).as_deref(), Ok(expected));
    }

    #[test]
    fn broken_files_are_refused() {
        let broken = [
            ("", "it is empty"),
            ("case\tmedian_ms\n", "it has no rows"),
            ("case\n", "it has no column median_ms"),
            ("case\tmedian_ms\na\n", "a row has 1 cells instead of 2: a"),
            ("case\tmedian_ms\na\tinf\n", "median_ms is \"inf\", no number"),
            ("case\tmedian_ms\na\tfast\n", "median_ms is \"fast\", no number"),
        ];
        for (tsv, message) in broken {
            assert_eq!(table(tsv, COLUMNS).as_ref().map_err(String::as_str), Err(message), "{tsv}");
        }
    }
}
