//! Meta-learning as an experiment: what a base learned from some pictures' tiles makes of other pictures' tiles in a few steps, beside
//! steps from weights that learned nothing, and beside plain fits of all weights.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use asmr::inference::{Decoder, Request};
use asmr::network::{Modulator, Network, NetworkConfig};
use asmr::planner::{PlanRequest, plan};
use asmr::signal::{Signal, SignalInfo};
use asmr_media::{psnr_db, tiles};
use asmr_train::config::{FitConfig, Preset};
use asmr_train::fit::{Control, fit};
use asmr_train::meta::{Base, MetaConfig, initial_base, meta_train, n_modulations};
use serde::Deserialize;

use crate::Outcome;
use crate::experiment::{PlotSpec, SignalSpec};
use crate::machine;
use crate::page::escaped;
use crate::plot::Curve;
use crate::report::{Part, drawn, table};
use crate::table::write_whole;

/// The most tiles of a picture that are measured, evenly among them.
const MAX_TILES: usize = 96;
/// For a tile that comes back exactly.
const EXACT_DB: f64 = 100.0;

/// What is learned from what, and measured on what.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetaExperiment {
    /// Its heading.
    pub title: String,
    /// What is asked and how.
    pub about: String,
    /// Pictures whose tiles are learned from, below the folder of test signals.
    pub learned_from: Vec<String>,
    /// Pictures whose tiles are measured.
    pub unseen: Vec<String>,
    /// Rows and columns of a tile.
    pub tile: [usize; 2],
    /// Levels of the network.
    pub levels: Option<usize>,
    /// Its width.
    pub width: usize,
    /// How digits modulate.
    pub modulator: Modulator,
    /// Updates of what tiles share; a base for each number.
    pub updates: Vec<u32>,
    /// Tiles an update looks at.
    pub batch: usize,
    /// Inner steps that are learned through.
    pub inner_steps: u32,
    /// Rate of what tiles share.
    pub rate: f64,
    /// Inner steps after which tiles are measured.
    pub measured_steps: Vec<u32>,
    /// Seed.
    #[serde(default)]
    pub seed: u64,
    /// What is drawn.
    #[serde(default, rename = "plot")]
    pub plots: Vec<PlotSpec>,
    /// What is done in minutes instead.
    pub quick: QuickMeta,
}

/// What is otherwise in a quick run.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuickMeta {
    /// Updates.
    pub updates: Vec<u32>,
}

/// Columns of the results.
pub const COLUMNS: [&str; 10] = [
    "start",
    "picture",
    "n_tiles",
    "updates",
    "steps",
    "psnr_db",
    "psnr_db_worst",
    "ms_per_tile",
    "learning_s",
    "commit",
];

/// What a start is called in the results.
const LEARNED: &str = "learned base";
const UNTRAINED: &str = "untrained base";
const ALL_WEIGHTS: &str = "all weights, from scratch";

impl MetaExperiment {
    /// Reads an experiment.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Outcome<Self> {
        let spec: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        if spec.learned_from.is_empty() || spec.unseen.is_empty() {
            return Err("learned_from and unseen need a picture each, at least".to_owned());
        }
        if let Some(both) = spec.unseen.iter().find(|file| spec.learned_from.contains(file)) {
            return Err(format!("{both} is learned from and said to be unseen"));
        }
        for plot in &spec.plots {
            if let Some(column) = [&plot.x, &plot.y].into_iter().find(|c| !COLUMNS.contains(&c.as_str())) {
                return Err(format!("there is no column {column} to plot; there are {}", COLUMNS.join(", ")));
            }
        }
        let has_steps =
            !spec.updates.is_empty() && !spec.quick.updates.is_empty() && !spec.measured_steps.is_empty();
        if !has_steps || [&spec.updates, &spec.quick.updates].iter().any(|updates| updates.contains(&0)) {
            return Err("updates and measured_steps need a number each, and updates one above 0".to_owned());
        }
        Ok(spec)
    }

    /// What a quick run does.
    #[must_use]
    pub fn quick(&self) -> Self {
        Self { updates: self.quick.updates.clone(), ..self.clone() }
    }

    fn network(&self, info: &SignalInfo) -> Outcome<NetworkConfig> {
        let request = PlanRequest {
            levels: self.levels,
            width: Some(self.width),
            modulator: self.modulator,
            ..PlanRequest::new(&info.extents, info.channels)
        };
        Ok(plan(&request).map_err(|error| error.to_string())?.into_config(&request))
    }

    /// What rows depend on, as a number.
    fn fingerprint(&self) -> String {
        format!("{:08x}", crc32fast::hash(format!("{self:?}").as_bytes()))
    }

    /// Learns and measures, unless `path` has the rows already, and writes them there after each base.
    ///
    /// # Errors
    /// A sentence when a picture is missing or unlike the others, learning fails, or rows cannot be written.
    pub fn run(
        &self,
        path: &Path,
        root: &Path,
        folders: &[PathBuf],
        command: &str,
        on_line: &mut dyn FnMut(&str),
    ) -> Outcome<Measured> {
        let mut measured = Measured::read(path).filter(|m| m.settings == self.fingerprint());
        let n_pictures = self.unseen.len();
        // In this order: bases, each with its steps, then steps from untrained weights and of all weights.
        let n_starts = self.updates.len() * self.measured_steps.len()
            + self.measured_steps.len()
            + self.measured_steps.iter().filter(|steps| **steps > 0).count();
        if let Some(measured) = measured.take_if(|m| m.rows.len() == n_starts * n_pictures) {
            return Ok(measured);
        }
        let tiles = Tiles::open(self, folders)?;
        let network = self.network(tiles.learned_from[0].info())?;
        on_line(&format!(
            "{} tiles; {} of {} weights are a tile's own",
            tiles.learned_from.len(),
            n_modulations(&network),
            network.n_params()
        ));
        let mut measured =
            Measured { settings: self.fingerprint(), machine: machine::describe(), rows: Vec::new() };
        let commit = machine::commit(root);
        let mut push = |start: &str, updates: u32, steps: u32, learning_s: f64, fitted: &Fitting<'_>| {
            for (name, chosen) in &tiles.unseen {
                let begun = Instant::now();
                let networks = chosen.iter().map(fitted).collect::<Outcome<Vec<_>>>()?;
                let ms = 1e3 * begun.elapsed().as_secs_f64() / chosen.len() as f64;
                let quality = networks.iter().zip(chosen).map(|(network, tile)| decoded_db(network, tile));
                let quality = quality.collect::<Outcome<Vec<f64>>>()?;
                let row = [
                    start.to_owned(),
                    name.clone(),
                    chosen.len().to_string(),
                    updates.to_string(),
                    steps.to_string(),
                    format!("{:.4}", quality.iter().sum::<f64>() / quality.len() as f64),
                    format!("{:.4}", quality.iter().copied().fold(f64::INFINITY, f64::min)),
                    format!("{ms:.3}"),
                    format!("{learning_s:.1}"),
                    commit.clone(),
                ];
                on_line(&row.join("\t"));
                measured.rows.push(row.to_vec());
            }
            measured.write(path, &self.title, command)
        };
        let config = |updates| MetaConfig {
            seed: self.seed,
            steps: updates,
            batch: self.batch,
            inner_steps: self.inner_steps,
            rate: self.rate,
            ..MetaConfig::default()
        };
        let adapted = |base: &Base, tile: &Signal, steps: u32| {
            let adapted = base.adapt(tile, steps).map_err(|error| error.to_string())?;
            base.with(&adapted.modulation).map_err(|error| error.to_string())
        };
        let untrained =
            initial_base(&tiles.learned_from, &network, &config(1)).map_err(|error| error.to_string())?;
        for &updates in &self.updates {
            let begun = Instant::now();
            let never = AtomicBool::new(false);
            let base = meta_train(&tiles.learned_from, &untrained, &config(updates), &never, &mut |_| {})
                .map_err(|error| error.to_string())?;
            let learning_s = begun.elapsed().as_secs_f64();
            for &steps in &self.measured_steps {
                push(LEARNED, updates, steps, learning_s, &|tile| adapted(&base, tile, steps))?;
            }
        }
        for &steps in &self.measured_steps {
            push(UNTRAINED, 0, steps, 0.0, &|tile| adapted(&untrained, tile, steps))?;
        }
        for &steps in self.measured_steps.iter().filter(|steps| **steps > 0) {
            push(ALL_WEIGHTS, 0, steps, 0.0, &|tile| {
                let mut config =
                    FitConfig { seed: self.seed, ..FitConfig::preset(Preset::Default, &network) };
                config.set_steps(steps);
                config.warmup_steps = config.warmup_steps.min(steps / 2);
                let fitted = fit(tile, &network, &config, &Control::default(), &mut |_| {});
                Ok(fitted.map_err(|error| error.to_string())?.network)
            })?;
        }
        Ok(measured)
    }
}

/// From a tile to its network.
type Fitting<'a> = dyn Fn(&Signal) -> Outcome<Network> + 'a;

/// Tiles of one shape.
struct Tiles {
    learned_from: Vec<Signal>,
    /// By the picture's name.
    unseen: Vec<(String, Vec<Signal>)>,
}

impl Tiles {
    fn open(spec: &MetaExperiment, folders: &[PathBuf]) -> Outcome<Self> {
        let cut = |file: &String| -> Outcome<Vec<Signal>> {
            let signal = SignalSpec { file: file.clone(), ..SignalSpec::default() };
            let all = tiles(&signal.open(folders)?, spec.tile).map_err(|error| error.to_string())?;
            if all.is_empty() { Err(format!("{file} is smaller than a tile")) } else { Ok(all) }
        };
        let learned: Vec<Vec<Signal>> = spec.learned_from.iter().map(cut).collect::<Outcome<_>>()?;
        let unseen: Vec<Vec<Signal>> = spec.unseen.iter().map(cut).collect::<Outcome<_>>()?;
        let info = learned[0][0].info().clone();
        let files = spec.learned_from.iter().chain(&spec.unseen);
        for (file, tiles) in files.zip(learned.iter().chain(&unseen)) {
            let other = tiles[0].info();
            if (other.channels, other.sample_type) != (info.channels, info.sample_type) {
                return Err(format!("{file} has other channels or values than {}", spec.learned_from[0]));
            }
        }
        let name =
            |file: &String| Path::new(file).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let chosen = |tiles: Vec<Signal>| {
            let step = tiles.len().div_ceil(MAX_TILES);
            tiles.into_iter().step_by(step).collect()
        };
        Ok(Self {
            learned_from: learned.into_iter().flatten().collect(),
            unseen: spec.unseen.iter().map(name).zip(unseen.into_iter().map(chosen)).collect(),
        })
    }
}

/// What was measured, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    settings: String,
    machine: String,
    /// A row for each start, picture and number of steps.
    pub rows: Vec<Vec<String>>,
}

impl Measured {
    /// Reads a file; none where there is no whole one.
    #[must_use]
    pub fn read(path: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(path).ok()?;
        let mut heads = text.lines().filter_map(|line| line.strip_prefix("# ")).skip(1);
        let machine = heads.next()?.to_owned();
        let settings = heads.next()?.strip_prefix("settings ")?.to_owned();
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        if !lines.next()?.split('\t').eq(COLUMNS) {
            return None;
        }
        let rows: Vec<Vec<String>> =
            lines.map(|line| line.split('\t').map(str::to_owned).collect()).collect();
        rows.iter().all(|row| row.len() == COLUMNS.len()).then_some(Self { settings, machine, rows })
    }

    fn write(&self, path: &Path, title: &str, command: &str) -> Outcome<()> {
        let lines = self.rows.iter().map(|row| row.join("\t") + "\n").collect::<String>();
        let Self { settings, machine, .. } = self;
        let heads = COLUMNS.join("\t");
        write_whole(
            path,
            &format!("# {title}; made by `{command}`\n# {machine}\n# settings {settings}\n{heads}\n{lines}"),
        )
    }
}

/// What was measured as a part of the page; a curve for each start, means over pictures.
#[must_use]
pub fn part(name: &str, spec: &MetaExperiment, measured: Option<&Measured>, problem: Option<&str>) -> Part {
    let rows = measured.map_or(&[][..], |measured| &measured.rows);
    let left_out = problem.map_or_else(String::new, |problem| {
        format!("<p><strong>Left out:</strong> {}</p>\n", escaped(problem))
    });
    let tables = match measured {
        None => left_out + "<p>Nothing was measured.</p>\n",
        Some(Measured { machine, .. }) => {
            let heads = COLUMNS.map(str::to_owned);
            left_out + &format!("<p>{}.</p>\n{}", escaped(machine), table(&heads, rows.iter().cloned()))
        }
    };
    let column = |name: &str| COLUMNS.iter().position(|known| *known == name);
    let plot = |spec: &PlotSpec| {
        let (x, y) = (column(&spec.x)?, column(&spec.y)?);
        // Of each start's number of steps, the sum over pictures and how many they are.
        let mut sums: Vec<(String, f64, f64, f64)> = Vec::new();
        for row in rows {
            let (at, value): (f64, f64) = (row[x].parse().ok()?, row[y].parse().ok()?);
            let name =
                if row[0] == LEARNED { format!("{LEARNED}, {} updates", row[3]) } else { row[0].clone() };
            match sums.iter_mut().find(|(known, known_at, ..)| *known == name && *known_at == at) {
                Some((.., sum, n)) => (*sum, *n) = (*sum + value, *n + 1.0),
                None => sums.push((name, at, value, 1.0)),
            }
        }
        let mut curves: Vec<Curve> = Vec::new();
        for (name, at, sum, n) in sums {
            match curves.iter_mut().find(|curve| curve.name == name) {
                Some(curve) => curve.points.push((at, sum / n)),
                None => curves.push(Curve { name, points: vec![(at, sum / n)] }),
            }
        }
        drawn(spec, curves)
    };
    let mut commits: Vec<&str> = rows.iter().map(|row| row[COLUMNS.len() - 1].as_str()).collect();
    commits.sort_unstable();
    commits.dedup();
    Part {
        name: name.to_owned(),
        title: spec.title.clone(),
        about: spec.about.clone(),
        tables,
        plots: spec.plots.iter().filter_map(plot).collect(),
        note: format!("seed {}; commit {}", spec.seed, commits.join(", ")),
    }
}

/// PSNR of the decoded values.
fn decoded_db(network: &Network, tile: &Signal) -> Outcome<f64> {
    let info = tile.info();
    let mut values = vec![0.0f32; info.extents.iter().product::<usize>() * info.channels];
    Decoder::new(network)
        .decode(&Request::whole(&network.config().partition), &mut values)
        .map_err(|error| error.to_string())?;
    let decoded = Signal::new(info.clone(), info.restored(&values)).map_err(|error| error.to_string())?;
    Ok(psnr_db(&decoded, tile).map_err(|error| error.to_string())?.unwrap_or(EXACT_DB))
}
