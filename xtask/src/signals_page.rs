//! docs/SIGNALS.md: every kind of signal through the command, from files of results/.

use crate::pages::{Page, Section, Selection, figure, text};

pub(crate) const PAGE: Page = Page { path: "docs/SIGNALS.md", head: HEAD, sections: SECTIONS, further: None };

const HEAD: &str = "\
# Signals of every kind

Made from files of `results/VERSION/` by `cargo xtask pages --write`; never typed. What they say in words is in
[results/README.md](../results/README.md).
";

const SECTIONS: &[Section] = &[
    Section {
        file: "signals",
        title: "Time, speed and size",
        about: "`asmr encode` with defaults but for the options given. *Minutes* are of the whole command, reading and comparing\n\
                included; *fit* counts samples visited a second by the fit, *decode* samples decoded a second.",
        rows: Selection::All,
        columns: &[
            text("signal", "signal"),
            text("kind", "kind"),
            text("extents", "extents"),
            text("options", "options"),
            figure("minutes", "minutes", 2),
            figure("fit_msamples_per_s", "fit, Msamples/s", 1),
            figure("msamples_per_s", "decode, Msamples/s", 1),
            figure("mac_exec", "executed MAC/sample", 0),
            figure("psnr_db", "PSNR, dB", 2),
            figure("bytes", "file, bytes", 0),
            figure("rate_bpp", "bits/sample", 2),
        ],
    },
    Section {
        file: "signals",
        title: "Quality by each kind's own measures",
        about: "Sound: signal-to-noise ratio and log-spectral distance. Films and pictures: SSIM, and the worst frame. Shapes: IoU of the\n\
                grids, Chamfer distance and normal consistency of the surfaces against the mesh. *Seams*: squared error at the edges of\n\
                blocks over that inside, in dB; *chunks*: networks in the file.",
        rows: Selection::All,
        columns: &[
            text("signal", "signal"),
            text("n_chunks", "chunks"),
            text("width", "width"),
            figure("steps", "steps", 0),
            figure("psnr_db", "PSNR, dB", 2),
            figure("snr_db", "SNR, dB", 2),
            figure("lsd_db", "LSD, dB", 2),
            figure("ssim", "SSIM", 4),
            figure("psnr_db_worst", "worst frame, dB", 2),
            figure("iou", "IoU", 5),
            figure("chamfer", "Chamfer", 6),
            figure("normal_consistency", "normals", 4),
            figure("seam_db", "seams, dB", 1),
            text("commit", "commit"),
        ],
    },
    Section {
        file: "seams",
        title: "Seams, and what weighting them does",
        about: "The same fits with the loss of samples at the edges of blocks weighted (`--seam-weight`).",
        rows: Selection::All,
        columns: &[
            text("signal", "signal"),
            text("options", "options"),
            figure("seam_weight", "seam weight", 1),
            figure("psnr_db", "PSNR, dB", 2),
            figure("seam_db", "seams, dB", 2),
            figure("lsd_db", "LSD, dB", 2),
            figure("ssim", "SSIM", 4),
            figure("psnr_db_worst", "worst frame, dB", 2),
            figure("max_abs_error", "largest error", 3),
        ],
    },
    Section {
        file: "film-partitions",
        title: "Partitions of a film: the published one and others",
        about: "150 × 270 × 480 RGB (the first 150 frames of bikes.mp4, a crop of its middle), as many weights and\n\
                as many batches of cells an epoch for each.",
        rows: Selection::All,
        columns: &[
            text("partition", "partition"),
            text("bases", "bases"),
            figure("width", "width", 0),
            figure("n_params", "weights", 0),
            figure("ratio_paper", "SIREN's MAC over published count", 1),
            figure("mac_exec", "executed MAC/sample", 0),
            figure("steps", "steps", 0),
            figure("fit_msamples_per_s", "fit, Msamples/s", 1),
            figure("minutes", "minutes", 1),
            figure("psnr_db", "PSNR, dB", 2),
        ],
    },
    Section {
        file: "kills",
        title: "Killed and resumed",
        about: "Steps, PSNR and size of the last run are those of the fit that was never killed (`shadedrelief` above).",
        rows: Selection::All,
        columns: &[
            text("run", "run"),
            figure("seconds", "seconds", 1),
            text("ended", "ended"),
            text("output", "output file"),
            figure("steps", "steps", 0),
            figure("psnr_db", "PSNR, dB", 4),
            figure("bytes", "bytes", 0),
        ],
    },
];
