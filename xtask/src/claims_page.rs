//! docs/CLAIMS.md: what the method is known by, run again, from files of results/.

use crate::pages::{Column, Page, Section, Selection, figure, text};

pub(crate) const PAGE: Page = Page { path: "docs/CLAIMS.md", head: HEAD, sections: SECTIONS, further: None };

const HEAD: &str = "\
# The paper's claims, run again

Made from files of `results/VERSION/experiments/` by `cargo xtask pages --write`; never typed. `cargo xtask report --quick` runs all of it
on two cores in about an hour, `cargo xtask report` the full protocols in days. Both begin anew where a report was done, as one was in a
fresh clone, and go on where one was stopped (but for meta-learning, which begins anew). Every row of every experiment, and the plots, are in `results/VERSION/experiments/`, what each experiment is in `experiments/`.

Where nothing else is said, figures are of `--quick`: fewer signals, steps and seconds than the full protocols, and one seed.
";

const CLAIMS: &[Column] = &[
    text("claim", "claim"),
    text("verdict", "verdict"),
    text("figure", "figure"),
    text("command", "command"),
];

const SECTIONS: &[Section] = &[
    Section {
        file: "experiments/quick/claims",
        title: "Claims",
        about: "Sentences of the ASMR paper's abstract, which counts multiply-adds and not time, and what is marked otherwise. *Holds on 3 of 13*: on\n\
                those of the full protocol's signals that were run.",
        rows: Selection::All,
        columns: CLAIMS,
    },
    Section {
        file: "experiments/claims",
        title: "Claims, by the full protocols",
        about: "The same by what was run of the full protocols, each by its command; the others are *not measured*, and what there is of one\n\
                that was begun is kept in the same folder.",
        rows: Selection::All,
        columns: CLAIMS,
    },
    Section {
        file: "experiments/against-siren",
        title: "Against SIREN, the full protocol",
        about: "Four layers of width 256, 1,000 steps, each at the best of its learning rates. *ASMR* is fitted by the paper's\n\
                optimiser in full batches, *ASMR, default* by this project's at its usual rate.",
        rows: Selection::Best(&["signal", "contestant"]),
        columns: &[
            text("signal", "signal"),
            text("contestant", "method"),
            figure("psnr_db", "PSNR, dB", 2),
            figure("ssim", "SSIM", 3),
            text("rate", "rate"),
            figure("batch", "samples a step", 0),
            figure("fit_s", "fit, s", 1),
            figure("mac_exec", "executed MAC/sample", 0),
            figure("decode_msamples_s_1", "decode, Msamples/s, 1 thread", 2),
            figure("decode_msamples_s_2", "2 threads", 2),
        ],
    },
    Section {
        file: "experiments/siren-batches",
        title: "What larger batches would give SIREN",
        about: "Full batches of all thirteen signals would take SIREN nine hours here. This is how much of the difference above they would\n\
                take away: the same SIREN on camera.png (262,144 samples), 500 steps, each at the best of three rates.",
        rows: Selection::Best(&["contestant"]),
        columns: &[
            text("contestant", "method"),
            figure("psnr_db", "PSNR, dB", 2),
            figure("ssim", "SSIM", 3),
            text("rate", "rate"),
            figure("batch", "samples a step", 0),
            figure("fit_s", "fit, s", 1),
        ],
    },
    Section {
        file: "experiments/quick/kodak",
        title: "Kodak pictures: every method, one table",
        about: "Each method at the paper's size and fitted for the same time on two threads, with the best learning rate of those it was given (*inside*: no end of\n\
                them, nothing where none was searched);\n\
                what a search for that took is in the file. Decoding is of the whole picture, table reads and interpolation included.",
        rows: Selection::Best(&["signal", "contestant"]),
        columns: &[
            text("signal", "signal"),
            text("contestant", "method"),
            figure("psnr_db", "PSNR, dB", 2),
            figure("ssim", "SSIM", 3),
            figure("n_params", "weights", 0),
            figure("mac_exec", "executed MAC/sample", 0),
            figure("table_reads", "table reads/sample", 0),
            figure("fit_s", "fit, s", 1),
            figure("steps", "steps", 0),
            text("rate_is_inside", "rate inside"),
            figure("decode_msamples_s_1", "decode, Msamples/s, 1 thread", 2),
            figure("decode_msamples_s_2", "2 threads", 2),
        ],
    },
    Section {
        file: "experiments/quick/wall-clock",
        title: "Equal time",
        about: "One picture after so many seconds of fitting.",
        rows: Selection::By(&["signal", "length", "contestant"]),
        columns: &[
            text("signal", "signal"),
            text("length", "time"),
            text("contestant", "method"),
            figure("psnr_db", "PSNR, dB", 2),
            text("rate_is_inside", "best rate inside those tried"),
            figure("n_params", "weights", 0),
            figure("decode_msamples_s_2", "decode, Msamples/s", 2),
        ],
    },
    Section {
        file: "experiments/quick/anchors",
        title: "The same fits elsewhere: here",
        about: "Methods with the settings of `experiments/anchors.toml` on camera.png, ...",
        rows: Selection::All,
        columns: &[
            text("contestant", "method"),
            text("length", "length"),
            text("rate", "rate"),
            figure("psnr_db", "PSNR, dB", 2),
        ],
    },
    Section {
        file: "anchors-jax",
        title: "The same fits elsewhere: in JAX",
        about: "... and by a program of equal mathematics in JAX, at the same rates, over several seeds.",
        rows: Selection::All,
        columns: &[
            text("method", "method"),
            figure("psnr_db", "PSNR, dB", 2),
            figure("deviation_db", "deviation, dB", 2),
            figure("seeds", "seeds", 0),
        ],
    },
];
