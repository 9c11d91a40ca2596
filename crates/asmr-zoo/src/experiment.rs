//! Experiments as files: which methods, with which settings, are fitted to which signals for how long.
//!
//! ```toml
//! title = "Ultra-low multiply-adds"
//! about = "What is asked, and by what protocol."
//! files = ["image/camera.png"]           # below the folder of test signals
//! seeds = [0, 1, 2]
//! steps = [10000]                        # or seconds = [1, 3, 10]; a fit for each
//! rate_factors = [1.0, 0.3, 3.0]         # on each method's usual rate; the best is shown. Where it is at their end, they go on
//!
//! [[signal]]                             # what is cut or sampled
//! file = "audio/speech.wav"
//! duration_s = 2
//!
//! [[contestant]]
//! name = "ASMR, 4 levels"
//! series = "ASMR"                        # which curve of the plots it is on
//! method.asmr = { bases = "4,4,4,8;4,4,4,8", width = 256, preset = "paper" }
//!
//! [[contestant]]
//! name = "SIREN"
//! method.siren = { width = 256, layers = 4 }
//! batch = 16384
//! best_of = "SIREN"                      # of all that say so the best is drawn, and marked in tables
//! measured_samples = 1048576             # quality and speed from that many at most, evenly among all
//! elsewhere = [{ signal = "camera", steps = 10000, psnr_db = 30.1, source = "a paper" }] # is shown beside
//!
//! [[contestant]]
//! name = "Plenoxels, sparse"
//! method.plenoxels = { share = 0.5, stages = 2, threshold = 0.01 }
//!
//! [[contestant]]
//! name = "LoE"
//! method.loe = { tiles = [], width = 24 } # as many tiles as the grid's samples need
//!
//! [[plot]]
//! title = "Quality against cost"
//! x = "mac_exec"                         # a column of the results
//! x_log = true
//! y = "psnr_db"
//!
//! [quick]                                # what is done in minutes instead
//! signals = ["camera"]
//! seeds = [0]
//! steps = [300]
//! ```

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use asmr::metadata::ShapeField;
use asmr::network::{Modulator, NetworkConfig};
use asmr::partition::{Partition, parse_bases};
use asmr::planner::{PlanRequest, plan};
use asmr::signal::{SampleType, Samples, Signal, SignalInfo};
use asmr_media::{FrameRange, Held, Limits, ReadOptions, hold, open_signal};
use asmr_train::config::Preset;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

use crate::Outcome;
use crate::baseline::{Config, Method};
use crate::budget::Budget;
use crate::contestant::{Adjustment, Contestant};
use crate::field::Shape;
use crate::fit::Stop;
use crate::loe::{LoeSettings, usual_tiles};
use crate::plenoxels::PlenoxelsSettings;
use crate::rate_search::Stages;
use crate::records::COLUMNS;

/// Signals of an experiment are held in memory up to so many bytes.
const MAX_SIGNAL_BYTES: u64 = 4 << 30;

/// An experiment.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Its heading.
    pub title: String,
    /// What is asked and how.
    pub about: String,
    /// Signals that are taken whole, below the folder of test signals.
    #[serde(default)]
    pub files: Vec<String>,
    /// Signals of which a part is taken, or that are sampled.
    #[serde(default, rename = "signal")]
    pub signals: Vec<SignalSpec>,
    /// Seeds of weights and batches.
    #[serde(default = "one_seed")]
    pub seeds: Vec<u64>,
    /// Steps of the fits.
    #[serde(default)]
    pub steps: Vec<u32>,
    /// Seconds of the fits.
    #[serde(default)]
    pub seconds: Vec<f64>,
    /// Factors on each method's usual rate. Of two or more the best is sought: where it is the lowest or the highest, others
    /// beyond are tried ([`crate::runner`]). Baselines that are fitted for seconds search their rate themselves.
    #[serde(default = "usual_rate")]
    pub rate_factors: Vec<f64>,
    /// Whether decodes are timed once more when all fits of a signal are done, in turns, as figures that are held beside each other
    /// are to be.
    #[serde(default)]
    pub decodes_in_turns: bool,
    /// What is compared.
    #[serde(rename = "contestant")]
    pub contestants: Vec<ContestantSpec>,
    /// What is drawn.
    #[serde(default, rename = "plot")]
    pub plots: Vec<PlotSpec>,
    /// What is done in minutes instead.
    pub quick: Quick,
    /// How many signals the full protocol has.
    #[serde(skip)]
    pub n_signals: usize,
}

fn one_seed() -> Vec<u64> {
    vec![0]
}

fn usual_rate() -> Vec<f64> {
    vec![1.0]
}

/// A signal.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalSpec {
    /// Below the folder of test signals.
    pub file: String,
    /// What it is called; the file's name without its extension otherwise.
    pub name: Option<String>,
    /// Seconds of a recording.
    pub duration_s: Option<f64>,
    /// The first frame of a film and the one after the last.
    pub frames: Option<[u64; 2]>,
    /// Extents of plain values.
    pub shape: Option<Vec<usize>>,
    /// Their type.
    pub dtype: Option<SampleType>,
    /// Samples along each side of a mesh's grid.
    pub resolution: Option<usize>,
    /// What a mesh's grid tells.
    pub field: Option<ShapeField>,
    /// The signal is cut to these extents, or goes on as in mirrors.
    pub mirrored: Option<Vec<usize>>,
}

/// A method with its settings.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContestantSpec {
    /// What it is called.
    pub name: String,
    /// The curve it is on; one of its own otherwise.
    pub series: Option<String>,
    /// Of all contestants that say the same here, the one with the highest mean PSNR after a length stands for them.
    pub best_of: Option<String>,
    /// What it is.
    pub method: MethodSpec,
    /// Samples of a batch, where they are not as usual.
    pub batch: Option<usize>,
    /// The most samples that its quality and its speed are measured on, for methods whose decode of all takes long.
    pub measured_samples: Option<usize>,
    /// Factors on its usual rate in place of the experiment's, in quick runs too ...
    pub rate_factors: Option<Vec<f64>>,
    /// ... unless there are others for these.
    pub quick_rate_factors: Option<Vec<f64>>,
    /// Steps in place of the experiment's.
    pub steps: Option<Vec<u32>>,
    /// What the same fits reach elsewhere.
    #[serde(default)]
    pub elsewhere: Vec<Elsewhere>,
}

/// A published figure, or one of another program of the same equations.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Elsewhere {
    /// Name of the signal.
    pub signal: String,
    /// Length of the fit.
    pub steps: u32,
    /// What it reaches there.
    pub psnr_db: f64,
    /// Where that is from.
    pub source: String,
}

/// A network of this project or a baseline.
#[derive(Clone, Debug, PartialEq)]
pub enum MethodSpec {
    /// This project's.
    Asmr(AsmrSettings),
    /// An explicit grid, whose vertices may follow from the signal's samples.
    Plenoxels(PlenoxelsSpec),
    /// Another.
    Baseline(Method),
}

/// An explicit grid.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlenoxelsSpec {
    /// Vertices along each axis ...
    pub vertices: Option<Vec<usize>>,
    /// ... or their share of the samples along each axis.
    pub share: Option<f64>,
    /// Weight of total variation; as usual otherwise.
    pub tv: Option<f32>,
    /// Stages of a fit coarse to fine, which ends with about so many vertices; a whole grid otherwise.
    pub stages: Option<usize>,
    /// What a vertex may differ from 0 by, with all its neighbours, to be dropped between stages.
    #[serde(default)]
    pub threshold: f32,
}

impl<'de> Deserialize<'de> for MethodSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Says what is wrong with the settings themselves.
        fn read<T: DeserializeOwned, E: serde::de::Error>(table: toml::Table) -> Result<T, E> {
            T::deserialize(table).map_err(|error| E::custom(error.message()))
        }
        let mut table = toml::Table::deserialize(deserializer)?;
        let own = ["asmr", "plenoxels"].into_iter().find_map(|name| Some((name, table.remove(name)?)));
        match own {
            Some(("asmr", toml::Value::Table(settings))) if table.is_empty() => {
                read(settings).map(Self::Asmr)
            }
            Some((_, toml::Value::Table(settings))) if table.is_empty() => {
                read(settings).map(Self::Plenoxels)
            }
            Some(_) => {
                Err(D::Error::custom("a contestant has one method, as in method.asmr = { width = 256 }"))
            }
            None => read(table).map(Self::Baseline),
        }
    }
}

/// Settings of a network of this project; what is left out is planned as by `asmr encode`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AsmrSettings {
    /// As in `4,4,4,8;4,4,4,8`.
    pub bases: Option<String>,
    /// Levels of planned bases.
    pub levels: Option<usize>,
    /// Neurons of each sine layer.
    pub width: Option<usize>,
    /// Whether the width follows from the time of the fit, as with `asmr encode --time`.
    pub by_time: bool,
    /// How digits modulate.
    pub modulator: Modulator,
    /// Factor inside every sine.
    pub omega_0: f32,
    /// How it is fitted.
    pub preset: Preset,
}

impl Default for AsmrSettings {
    fn default() -> Self {
        Self {
            bases: None,
            levels: None,
            width: None,
            by_time: false,
            modulator: Modulator::Linear,
            omega_0: 30.0,
            preset: Preset::Default,
        }
    }
}

/// A plot: a curve for each series, a point for each contestant and length, means over signals and seeds.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlotSpec {
    /// Stands above it.
    pub title: String,
    /// A column of the results.
    pub x: String,
    /// Whether equal distances are equal ratios.
    #[serde(default)]
    pub x_log: bool,
    /// A column of the results.
    pub y: String,
    /// Whether equal distances are equal ratios.
    #[serde(default)]
    pub y_log: bool,
}

/// What is otherwise in a quick run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quick {
    /// Names of the signals that are left.
    pub signals: Option<Vec<String>>,
    /// Names of the contestants that are left.
    pub contestants: Option<Vec<String>>,
    /// Seeds.
    pub seeds: Option<Vec<u64>>,
    /// Steps, of all contestants.
    pub steps: Option<Vec<u32>>,
    /// Seconds.
    pub seconds: Option<Vec<f64>>,
    /// Factors on usual rates, of contestants without their own.
    pub rate_factors: Option<Vec<f64>>,
}

impl Experiment {
    /// Reads an experiment.
    ///
    /// # Errors
    /// A sentence that says what is wrong, and where.
    pub fn parse(text: &str) -> Outcome<Self> {
        let mut experiment: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        experiment.n_signals = experiment.all_signals().len();
        experiment.validate()?;
        let signals: Vec<String> = experiment.all_signals().iter().map(SignalSpec::name).collect();
        let contestants: Vec<String> = experiment.contestants.iter().map(|c| c.name.clone()).collect();
        let named = [
            (&experiment.quick.signals, "signal", signals),
            (&experiment.quick.contestants, "contestant", contestants),
        ];
        for (names, what, known) in named {
            if let Some(name) = names.iter().flatten().find(|name| !known.contains(name)) {
                return Err(format!(
                    "a quick run names the {what} {name}, and there is none; there are {}",
                    known.join(", ")
                ));
            }
        }
        experiment.quick().validate().map_err(|problem| format!("in a quick run {problem}"))?;
        Ok(experiment)
    }

    /// What a quick run does.
    #[must_use]
    pub fn quick(&self) -> Self {
        let mut quick = self.clone();
        let Quick { signals, contestants, seeds, steps, seconds, rate_factors } = self.quick.clone();
        if let Some(names) = signals {
            quick.signals = self.all_signals().into_iter().filter(|s| names.contains(&s.name())).collect();
            quick.files.clear();
        }
        if let Some(names) = contestants {
            quick.contestants.retain(|contestant| names.contains(&contestant.name));
        }
        if let Some(steps) = steps {
            quick.steps = steps;
            quick.contestants.iter_mut().for_each(|contestant| contestant.steps = None);
        }
        if let Some(factors) = rate_factors {
            quick.rate_factors = factors;
        }
        for contestant in &mut quick.contestants {
            if let Some(factors) = contestant.quick_rate_factors.take() {
                contestant.rate_factors = Some(factors);
            }
        }
        quick.seconds = seconds.unwrap_or(quick.seconds);
        quick.seeds = seeds.unwrap_or(quick.seeds);
        quick
    }

    /// All signals.
    #[must_use]
    pub fn all_signals(&self) -> Vec<SignalSpec> {
        let whole = |file: &String| SignalSpec { file: file.clone(), ..SignalSpec::default() };
        self.files.iter().map(whole).chain(self.signals.iter().cloned()).collect()
    }

    fn validate(&self) -> Outcome<()> {
        let distinct = |what: &str, names: &[String]| {
            let mut seen = HashSet::new();
            match names.iter().find(|name| !seen.insert(name.as_str())) {
                _ if names.is_empty() => Err(format!("there is no {what}; at least one is needed")),
                Some(twice) => Err(format!("two {what}s are {twice}; each is to be there once")),
                None => Ok(()),
            }
        };
        let signals: Vec<String> = self.all_signals().iter().map(SignalSpec::name).collect();
        distinct("signal", &signals)?;
        distinct("contestant", &self.contestants.iter().map(|c| c.name.clone()).collect::<Vec<_>>())?;
        let names = signals.iter().chain(self.contestants.iter().map(|contestant| &contestant.name));
        if let Some(name) =
            names.into_iter().find(|name| name.starts_with('#') || name.contains(['\t', '\n']))
        {
            return Err(format!("{name:?} cannot be a name: it would break the table of results"));
        }
        distinct("seed", &self.seeds.iter().map(u64::to_string).collect::<Vec<_>>())?;
        let own = self.contestants.iter().filter_map(|c| Some((c.name.as_str(), c.rate_factors.as_ref()?)));
        for (name, factors) in std::iter::once(("all", &self.rate_factors)).chain(own) {
            if factors.is_empty() || factors.iter().any(|factor| !(factor.is_finite() && *factor > 0.0)) {
                return Err(format!(
                    "rate_factors of {name} are {factors:?}; numbers above 0 are accepted, at least one"
                ));
            }
            distinct("rate factor", &factors.iter().map(f64::to_string).collect::<Vec<_>>())?;
        }
        for contestant in &self.contestants {
            let name = &contestant.name;
            let steps = contestant.steps.as_ref().unwrap_or(&self.steps);
            if steps.len() + self.seconds.len() == 0 {
                return Err(format!("{name} has neither steps nor seconds; give at least one of them"));
            }
            if steps.contains(&0) {
                return Err(format!("steps of {name} are {steps:?}; whole numbers above 0 are accepted"));
            }
            let lengths =
                steps.iter().map(u32::to_string).chain(self.seconds.iter().map(|s| format!("{s} s")));
            distinct("length", &lengths.collect::<Vec<_>>())?;
            if let MethodSpec::Asmr(settings) = &contestant.method
                && contestant.is_by_time()
                && (*settings != AsmrSettings { by_time: true, ..AsmrSettings::default() }
                    || !steps.is_empty())
            {
                return Err(format!(
                    "{name} is by_time: its settings follow from seconds, and it takes no others and no steps"
                ));
            }
            if let Some(unknown) = contestant.elsewhere.iter().find(|there| !signals.contains(&there.signal))
            {
                return Err(format!(
                    "{name} has a figure for {}, and there is no such signal",
                    unknown.signal
                ));
            }
            if matches!(contestant.method, MethodSpec::Asmr(_)) && contestant.measured_samples.is_some() {
                return Err(format!("{name} has measured_samples: ASMR is measured on all samples"));
            }
        }
        if self.seconds.iter().any(|&s| !(s > 0.0 && s < 1e9)) {
            return Err(format!("seconds are {:?}; numbers above 0 are accepted", self.seconds));
        }
        for plot in &self.plots {
            if let Some(column) = [&plot.x, &plot.y].into_iter().find(|c| !COLUMNS.contains(&c.as_str())) {
                return Err(format!("there is no column {column} to plot; there are {}", COLUMNS.join(", ")));
            }
        }
        Ok(())
    }
}

impl SignalSpec {
    /// What it is called.
    #[must_use]
    pub fn name(&self) -> String {
        let stem = || Path::new(&self.file).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        self.name.clone().unwrap_or_else(stem)
    }

    /// Reads it: from the first of some folders that has it, below them by its path or in them by its name.
    ///
    /// # Errors
    /// A sentence when it cannot be read, or is too large to be held.
    pub fn open(&self, folders: &[PathBuf]) -> Outcome<Signal> {
        let options = ReadOptions {
            duration_s: self.duration_s,
            frames: self.frames.map(|[start, end]| FrameRange { start, end: Some(end), rate: None }),
            shape: self.shape.clone(),
            dtype: self.dtype,
            resolution: self.resolution,
            field: self.field,
            limits: Limits::default(),
            ..ReadOptions::default()
        };
        let file = Path::new(&self.file);
        let places = folders.iter().flat_map(|folder| {
            [Some(folder.join(file)), file.file_name().map(|name| folder.join(name))].into_iter().flatten()
        });
        let path = places.into_iter().find(|path| path.exists());
        let path = path.ok_or_else(|| {
            format!("{} is not there; ASMR_DATA is to name the folder of test signals", file.display())
        })?;
        let mut opened = open_signal(&path, &options).map_err(|error| error.to_string())?;
        let held = hold(opened.reader.as_mut(), MAX_SIGNAL_BYTES, None);
        let signal = match held.map_err(|error| error.to_string())? {
            Held::Memory(signal) => signal,
            Held::Disk(_) => {
                return Err(format!("{} has more than {MAX_SIGNAL_BYTES} bytes", path.display()));
            }
        };
        match &self.mirrored {
            Some(extents) => mirrored(&signal, extents),
            None => Ok(signal),
        }
    }
}

/// A signal of bytes, cut to other extents, or going on as in mirrors at its ends.
fn mirrored(signal: &Signal, extents: &[usize]) -> Outcome<Signal> {
    let info = signal.info();
    let (Samples::U8(values), [rows, columns], [n_rows, n_columns]) =
        (signal.samples(), info.extents.as_slice(), extents)
    else {
        return Err("mirrored is for pictures of bytes, and needs two extents".to_owned());
    };
    // 0, 1, …, n - 1, n - 1, …, 1, 0, 0, 1, …
    let fold = |i: usize, n: usize| if (i / n).is_multiple_of(2) { i % n } else { n - 1 - i % n };
    let channels = info.channels;
    let mut out = Vec::with_capacity(n_rows * n_columns * channels);
    for y in 0..*n_rows {
        for x in 0..*n_columns {
            let at = (fold(y, *rows) * columns + fold(x, *columns)) * channels;
            out.extend_from_slice(&values[at..at + channels]);
        }
    }
    let info = SignalInfo { extents: extents.to_vec(), ..info.clone() };
    Signal::new(info, Samples::U8(out)).map_err(|error| error.to_string())
}

impl ContestantSpec {
    /// The contestant on a grid, for a fit of this length.
    ///
    /// # Errors
    /// A sentence when its settings do not suit the grid.
    pub fn build(&self, info: &SignalInfo, stop: Stop, rate_factor: f64) -> Outcome<Contestant> {
        let shape = Shape::of(info);
        let contestant = match &self.method {
            MethodSpec::Asmr(settings) if settings.by_time => {
                let Stop::Time(time) = stop else {
                    return Err(format!("{}: by_time needs seconds, not steps", self.name));
                };
                let within = Contestant::within("asmr", &shape, Budget::Time(time));
                within.ok_or("there is no asmr")?.map_err(|error| error.to_string())?
            }
            MethodSpec::Asmr(settings) => Contestant::asmr(settings.network(&shape)?, settings.preset),
            MethodSpec::Plenoxels(spec) => {
                spec.build(shape).map_err(|problem| format!("{}: {problem}", self.name))?
            }
            MethodSpec::Baseline(method) => {
                let mut method = method.clone();
                if let Method::Loe(LoeSettings { tiles, .. }) = &mut method
                    && tiles.is_empty()
                {
                    *tiles = usual_tiles(&shape.extents);
                }
                Contestant::baseline(Config { shape, method })
                    .map_err(|error| format!("{}: {error}", self.name))?
            }
        };
        // What ASMR's presets are was found beforehand, on pictures like these.
        let contestant = contestant.with_free_search();
        Ok(contestant.adjusted(Adjustment { rate_factor, batch: self.batch }))
    }

    /// Whether its settings follow from the time of the fit.
    #[must_use]
    pub fn is_by_time(&self) -> bool {
        matches!(&self.method, MethodSpec::Asmr(settings) if settings.by_time)
    }

    /// Factors on its rate in a fit of this length.
    #[must_use]
    pub fn factors(&self, experiment: &Experiment, stop: Stop) -> Vec<f64> {
        match (&self.method, stop) {
            (MethodSpec::Asmr(_), _) | (_, Stop::Steps(_)) => {
                self.rate_factors.as_ref().unwrap_or(&experiment.rate_factors).clone()
            }
            // It searches its rate itself.
            (_, Stop::Time(_)) => usual_rate(),
        }
    }
}

impl PlenoxelsSpec {
    fn build(&self, shape: Shape) -> Outcome<Contestant> {
        let vertices = match (&self.vertices, self.share) {
            (Some(vertices), None) => vertices.clone(),
            (None, Some(share)) if share > 0.0 && share <= 1.0 => {
                let along = |&extent: &usize| ((share * extent as f64).round() as usize).max(2);
                shape.extents.iter().map(along).collect()
            }
            _ => {
                return Err(format!(
                    "vertices are {:?} and share is {:?}; one of them is needed, a share above 0 and at most 1",
                    self.vertices, self.share
                ));
            }
        };
        let mut settings = PlenoxelsSettings::dense(&vertices);
        settings.tv = self.tv.unwrap_or(settings.tv);
        let with = |settings| Config { shape, method: Method::Plenoxels(settings) };
        let contestant = match self.stages {
            None => Contestant::baseline(with(settings)),
            Some(n_stages) => {
                // Each stage but the last doubles the cells.
                let doublings = n_stages.clamp(1, 16) - 1;
                let coarse = |&n: &usize| ((n - 1).div_ceil(1 << doublings) + 1).max(2);
                settings.vertices = vertices.iter().map(coarse).collect();
                Contestant::sparse(with(settings), Stages { n_stages, threshold: self.threshold })
            }
        };
        contestant.map_err(|error| error.to_string())
    }
}

impl AsmrSettings {
    fn network(&self, shape: &Shape) -> Outcome<NetworkConfig> {
        let request = PlanRequest {
            levels: self.levels,
            width: self.width,
            modulator: self.modulator,
            omega_0: self.omega_0,
            ..PlanRequest::new(&shape.extents, shape.channels)
        };
        let planned = || plan(&request).map_err(|error| error.to_string());
        let Some(bases) = &self.bases else { return Ok(planned()?.into_config(&request)) };
        let bases = parse_bases(bases).map_err(|error| error.to_string())?;
        let partition = Partition::new(&shape.extents, &bases).map_err(|error| error.to_string())?;
        let width = self.width.map_or_else(|| planned().map(|plan| plan.width), Ok)?;
        let network = NetworkConfig {
            partition,
            channels: shape.channels,
            width,
            omega_0: self.omega_0,
            modulator: self.modulator,
        };
        network.validate().map_err(|error| error.to_string())?;
        Ok(network)
    }
}
