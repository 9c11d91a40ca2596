//! docs/BENCHMARKS.md: speed, from the files `bench-*.tsv` of results/.

use std::fmt::Write as _;
use std::path::Path;

use crate::pages::{Column, Page, Section, Selection, VERSION, figure, text};
use crate::read;
use crate::readme::number;

pub(crate) const PAGE: Page = Page {
    path: "docs/BENCHMARKS.md",
    head: HEAD,
    sections: SECTIONS,
    further: Some(("bench-step", bounds)),
};

const HEAD: &str = "\
# Benchmarks

Made from `results/VERSION/bench-*.tsv` by `cargo xtask bench`, or from files that are there by `cargo xtask pages
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
        file: "bench-machine",
        title: "The machine",
        about: "Multiply-adds in registers alone (two operations each), and `a = b + s·c` over arrays far larger than the\n\
                caches (two reads and one write counted).",
        rows: Selection::All,
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
        file: "bench-decode",
        title: "Decoding",
        about: "GFLOP/s = 2 · executed MAC/sample · samples / time. *Of peak* is its share of the multiply-add peak that the\n\
                same threads reached between these repetitions. *Memory* is the highest resident memory of a process that\n\
                decodes once; *beyond output* is that without the decoded values.",
        rows: Selection::All,
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
        file: "bench-decode",
        title: "Decoding, beside PyTorch",
        about: "Milliseconds, and how many times ours is quicker.",
        rows: Selection::All,
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
        file: "bench-step",
        title: "A full-batch step of fitting",
        about: "Gradient and update. The peer's optimiser is Adam; ours is given with Adam and with SOAP, the default. One\n\
                repetition of ours is the mean of 20 steps, since SOAP refreshes its bases every 20. GFLOP/s counts three\n\
                passes of the executed MAC/sample, the optimiser not.",
        rows: Selection::All,
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
        file: "bench-kinds",
        title: "A full-batch step for every kind of signal",
        about: "Grids of one, two and three axes with 2^18 samples each, cut into four levels with 16, 16, 16 and 64 digit tuples:\n\
                multiply-adds are equal, so times should be.",
        rows: Selection::All,
        columns: &[
            text("case", "case"),
            text("signal", "signal"),
            text("bases", "bases"),
            text("width", "width"),
            text("optimiser", "optimiser"),
            figure("mac_exec", "MAC/sample", 1),
            figure("median_ms", "ms", 1),
            figure("q1_ms", "lower quartile", 1),
            figure("q3_ms", "upper quartile", 1),
            figure("msamples_s", "Msamples/s", 1),
            figure("peak_share", "of peak", 2),
        ],
    },
    Section {
        file: "bench-fit-time",
        title: "Quality after so many seconds",
        about: "PSNR in dB of the decoded picture (clamped, rounded). Each time is a fit of its own, its decay planned for it.",
        rows: Selection::All,
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
        file: "bench-scaling-samples",
        title: "Decode time against samples",
        about: "Square pictures of one channel, four levels, width 256. Time per sample should hardly change.",
        rows: Selection::All,
        columns: SCALING,
    },
    Section {
        file: "bench-scaling-depth",
        title: "Decode time against depth",
        about: "4096² samples of one channel, width 256. A SIREN's MAC/sample grow with each layer; published ASMR's and those\n\
                executed here hardly do once there are a few levels.",
        rows: Selection::All,
        columns: SCALING,
    },
    Section {
        file: "bench-scaling-threads",
        title: "Decode time against threads",
        about: "",
        rows: Selection::All,
        columns: SCALING,
    },
    Section {
        file: "bench-scaling-width",
        title: "Decode time against width",
        about: "512² samples of one channel, bases 4,4,4,8.",
        rows: Selection::All,
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
