//! `cargo xtask results seams`, `film-partitions` and `kills`: the command with a setting changed, or killed again and again.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::results::{commit, machine, replace, run_command, value};

/// Signals of the study of seams: a name, the file below the folder of test signals, and options of `encode`.
const SEAM_SIGNALS: [(&str, &str, &[&str]); 6] = [
    ("librispeech-61", "audio/librispeech_61-70968-0000.wav", &["--duration", "2"]),
    ("jfk", "audio/jfk.flac", &[]),
    ("kodim13", "kodak/kodim13.png", &[]),
    ("carphone", "video/carphone_pristine.mp4", &["--frames", "0..32"]),
    ("stent", "volume/imageio_stent.npz", &["--preset", "fast"]),
    ("spot", "mesh/spot.obj", &["--resolution", "64", "--field", "distance"]),
];
const SEAM_WEIGHTS: [&str; 3] = ["1", "2", "4"];

/// A table that grows row by row in `NAME.tsv.new`, so that what was measured stays if the rest fails, and takes the old one's place when
/// it is whole.
pub(crate) struct Rows {
    path: PathBuf,
    text: String,
}

impl Rows {
    /// The table that `cargo xtask results NAME` makes.
    pub(crate) fn new(root: &Path, name: &str, about: &str, columns: &[&str]) -> Self {
        Self::named(root, name, name, about, columns)
    }

    /// A table whose name is not the words that `cargo xtask results` makes it by.
    pub(crate) fn named(root: &Path, name: &str, words: &str, about: &str, columns: &[&str]) -> Self {
        let path = root.join("results").join(env!("CARGO_PKG_VERSION")).join(format!("{name}.tsv"));
        let head = format!(
            "# {about}; made by `cargo xtask results {words}`\n# commit {}; {}\n",
            commit(root),
            machine()
        );
        Self { path, text: head + &columns.join("\t") + "\n" }
    }

    pub(crate) fn push(&mut self, row: &[String]) -> Result<(), String> {
        println!("{}", row.join("\t"));
        self.text += &row.join("\t");
        self.text.push('\n');
        let new = self.path.with_extension("tsv.new");
        std::fs::write(&new, &self.text).map_err(|e| format!("cannot write {}: {e}", new.display()))
    }

    /// Puts the table in its place.
    pub(crate) fn finish(self) -> Result<(), String> {
        replace(&self.path, &self.text)?;
        println!("wrote {}", self.path.display());
        Ok(())
    }
}

/// The command, built, a folder for its files, and the test signals.
pub(crate) struct Bench {
    pub(crate) asmr: PathBuf,
    pub(crate) work: PathBuf,
    pub(crate) data: PathBuf,
}

impl Bench {
    pub(crate) fn new(root: &Path) -> Result<Self, String> {
        let data = std::env::var("ASMR_DATA")
            .map_err(|_| "set ASMR_DATA to the folder of test signals".to_owned())?;
        run_command(
            Command::new("cargo").args(["build", "--release", "--package", "asmr-cli"]).current_dir(root),
        )?;
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let work = std::env::temp_dir().join(format!("asmr-study-{}", std::process::id()));
        std::fs::create_dir_all(&work).map_err(|e| format!("cannot make {}: {e}", work.display()))?;
        Ok(Self { asmr: target.join("release/asmr"), work, data: data.into() })
    }

    /// Encodes; gives minutes, and what it printed.
    fn encode(&self, input: &Path, options: &[&str]) -> Result<(f64, String), String> {
        let file = self.work.join("signal.asmr");
        let mut encode = Command::new(&self.asmr);
        encode.arg("encode").arg(input).args(options);
        encode.args(["--weights", "f32", "--json", "--quiet", "-o"]).arg(&file);
        let start = Instant::now();
        let made = run_command(&mut encode)?;
        Ok((start.elapsed().as_secs_f64() / 60.0, made))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.work);
    }
}

/// Error at the edges of blocks against the inside, with more and more weight on it in the fit.
pub(crate) fn seams(root: &Path) -> Result<(), String> {
    const KEYS: [&str; 6] = ["psnr_db", "seam_db", "lsd_db", "ssim", "psnr_db_worst", "max_abs_error"];
    let bench = Bench::new(root)?;
    let columns = [&["signal", "options", "seam_weight"][..], &KEYS].concat();
    let about = "`asmr encode SIGNAL OPTIONS --weights f32 --seam-weight W`";
    let mut rows = Rows::new(root, "seams", about, &columns);
    for (name, below, options) in SEAM_SIGNALS {
        for weight in SEAM_WEIGHTS {
            let options_and_weight = [options, &["--seam-weight", weight]].concat();
            let (_, made) = bench.encode(&bench.data.join(below), &options_and_weight)?;
            let mut row = vec![name.to_owned(), options.join(" "), weight.to_owned()];
            row.extend(KEYS.map(|key| value(&made, key).unwrap_or_default()));
            rows.push(&row)?;
        }
    }
    rows.finish()
}

/// The published bases of 150 x 270 x 480 samples.
const PUBLISHED: &str = "5,1,1,5,1,1,3,1,1,2;5,1,3,1,3,1,3,1,2,1;5,3,2,2,1,2,1,2,1,2";

/// As many weights in six levels instead of ten: fewer multiply-adds for each, spent on smaller blocks.
const SIX_LEVELS: &str = "2,1,5,1,5,3;3,5,1,3,2,3;3,2,4,5,1,4";

/// A film with the published bases and with others, as many weights and all else equal.
pub(crate) fn film_partitions(root: &Path, steps: &str) -> Result<(), String> {
    const KEYS: [&str; 8] =
        ["width", "bases", "n_params", "mac_paper", "ratio_paper", "mac_exec", "steps", "psnr_db"];
    let bench = Bench::new(root)?;
    // The middle, without loss.
    let film = bench.work.join("film.y4m");
    let mut crop = Command::new("ffmpeg");
    crop.args(["-v", "error", "-i"]).arg(bench.data.join("video/bikes.mp4"));
    run_command(crop.args(["-vf", "crop=480:270", "-frames:v", "150"]).arg(&film))?;
    let columns = [&["partition"][..], &KEYS, &["batch", "fit_msamples_per_s", "minutes"]].concat();
    let about = format!(
        "150 x 270 x 480 RGB, the middle of the first 150 frames of bikes.mp4: `asmr encode FILM --weights f32 --width W --chunk 150 \
         --batch 1/74 --steps {steps}` with `--levels 10` or `--bases`"
    );
    let mut rows = Rows::new(root, "film-partitions", &about, &columns);
    // Cheaper steps, so as many again in less than the time of the published bases.
    let doubled = steps.parse::<u32>().map_err(|e| format!("{steps}: {e}"))?.saturating_mul(2).to_string();
    for (name, partition, steps) in [
        ("planner, ten levels", ["--levels", "10", "--width", "512"], steps),
        ("published", ["--bases", PUBLISHED, "--width", "512"], steps),
        ("six levels", ["--bases", SIX_LEVELS, "--width", "724"], steps),
        ("six levels, twice the steps", ["--bases", SIX_LEVELS, "--width", "724"], &doubled),
    ] {
        let options = ["--chunk", "150", "--batch", "1/74", "--steps", steps];
        let (minutes, made) = bench.encode(&film, &[&partition[..], &options].concat())?;
        let mut row = vec![name.to_owned()];
        let keys = KEYS.iter().chain(&["batch", "fit_msamples_per_s"]);
        row.extend(keys.map(|key| value(&made, key).unwrap_or_default()));
        row.push(format!("{minutes:.2}"));
        rows.push(&row)?;
    }
    rows.finish()
}

/// Kills of the study.
const N_KILLS: u32 = 20;
/// The shortest time to a kill and the longest, in milliseconds.
const KILL_AFTER_MS: (u64, u64) = (2_000, 32_000);

/// A large picture's fit, killed at random moments and gone on with each time, then left to end.
pub(crate) fn kills(root: &Path) -> Result<(), String> {
    let bench = Bench::new(root)?;
    let (input, file) = (bench.data.join("megapixel/shadedrelief.jpg"), bench.work.join("killed.asmr"));
    let encode = || {
        let mut encode = Command::new(&bench.asmr);
        encode.arg("encode").arg(&input).args(["--resume", "--checkpoint", "5s"]);
        encode.args(["--json", "--quiet", "-o"]);
        encode.arg(&file).stdout(Stdio::piped()).stderr(Stdio::piped());
        encode
    };
    let about = "shadedrelief.jpg, `asmr encode --resume --checkpoint 5s` ended by SIGKILL after a random time, again and again, \
                 then left to end";
    let mut rows =
        Rows::new(root, "kills", about, &["run", "seconds", "ended", "output", "steps", "psnr_db", "bytes"]);
    // A generator of its own (Knuth's MMIX), so that the moments are random and the study can be repeated.
    let mut random = 2026u64;
    let none = String::new;
    for kill in 1..=N_KILLS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (least, most) = KILL_AFTER_MS;
        let wait = Duration::from_millis(least + (random >> 33) % (most - least));
        let start = Instant::now();
        let mut child = encode().spawn().map_err(|e| format!("cannot start the command: {e}"))?;
        while start.elapsed() < wait && child.try_wait().map_err(|e| e.to_string())?.is_none() {
            std::thread::sleep(Duration::from_millis(50));
        }
        // SIGKILL on Unix.
        let _ = child.kill();
        let output = child.wait_with_output().map_err(|e| e.to_string())?;
        let seconds = format!("{:.1}", start.elapsed().as_secs_f64());
        let ended = match output.status.code() {
            None => "killed".to_owned(),
            Some(code) => format!("by itself, exit code {code}"),
        };
        // There is either no output yet, or a whole one.
        let there = if file.exists() { valid(&bench, &file)? } else { "none" };
        rows.push(&[kill.to_string(), seconds, ended, there.to_owned(), none(), none(), none()])?;
    }
    let start = Instant::now();
    let made = run_command(&mut encode())?;
    let seconds = format!("{:.1}", start.elapsed().as_secs_f64());
    let mut last = vec!["last".to_owned(), seconds, "by itself".to_owned(), valid(&bench, &file)?.to_owned()];
    last.extend(["steps", "psnr_db", "bytes"].map(|key| value(&made, key).unwrap_or_default()));
    rows.push(&last)?;
    rows.finish()
}

/// Whether the command reads a file.
fn valid(bench: &Bench, file: &Path) -> Result<&'static str, String> {
    let mut info = Command::new(&bench.asmr);
    let output = info.arg("info").arg(file).output().map_err(|e| e.to_string())?;
    Ok(if output.status.success() { "valid" } else { "INVALID" })
}
