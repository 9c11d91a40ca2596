//! ASMR and its rivals by one path: settings within a budget, a fit, a decode, and what they cost.
//!
//! With a number of steps each method is fitted as its authors publish (ASMR: preset `default`). In a given time the
//! published full batches would be a few steps, so rivals get random batches of a size with which about
//! [`TARGET_STEPS`](crate::rate_search::TARGET_STEPS) steps fit in, or a quarter of that, and the best of a few rates about the
//! published one, each tried for [`TRIAL_SHARE`](crate::rate_search::TRIAL_SHARE) of the time or a little more. ASMR takes its
//! preset as it is; where the budget is a time and not a size, its width follows from the time
//! ([`asmr_train::budget::width_for_time`]). Trials are part of the time, unless [`Contestant::with_free_search`] says otherwise.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use asmr::file::AsmrFile;
use asmr::inference::{Decoder, Request};
use asmr::network::{Network, NetworkConfig};
use asmr::signal::{Signal, SignalInfo};
use asmr_kernels::IsaLevel;
use asmr_train::config::{FitConfig, Preset};
use asmr_train::fit::{Control, Ending, FitEvent, fit};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::baseline::{Baseline, Config, Method, WholeDecoder, store};
use crate::budget::{Budget, asmr_cost, asmr_within, baseline_within};
use crate::field::{FieldCost, FieldError, Shape, refuse};
use crate::fit::{Recipe, Stop};
use crate::rate_search::{Run, Stages};

/// All methods that can be compared.
pub const METHODS: [&str; 8] = ["asmr", "siren", "ffn", "kilonerf", "loe", "ngp", "wire", "plenoxels"];

/// Why a method has no row.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ContestantError {
    /// No settings are within the budget.
    #[error("{0}")]
    Budget(String),
    /// Settings that a baseline refuses, or a fit that failed.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// Likewise of ASMR.
    #[error("{0}")]
    Asmr(String),
    /// The fit was told to stop.
    #[error("interrupted")]
    Interrupted,
}

/// Takes ASMR's errors as they say themselves.
pub(crate) fn asmr_error(error: &dyn std::fmt::Display) -> ContestantError {
    ContestantError::Asmr(error.to_string())
}

/// In what a fit differs from how the method is usually fitted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adjustment {
    /// Factor on the usual rate, above 0. In a given time baselines search about the rate that it leads to.
    pub rate_factor: f64,
    /// Samples of a batch; none: as usual. ASMR takes whole cells of about so many. In a given time baselines choose it themselves.
    pub batch: Option<usize>,
}

impl Default for Adjustment {
    fn default() -> Self {
        Self { rate_factor: 1.0, batch: None }
    }
}

/// A method with settings for one grid.
pub struct Contestant {
    name: &'static str,
    kind: Kind,
    adjustment: Adjustment,
    search_is_free: bool,
}

enum Kind {
    Asmr {
        network: NetworkConfig,
        preset: Preset,
        /// How long it took to find a width that suits the time.
        planned: Duration,
    },
    /// A grid fitted coarse to fine has stages, and is the coarsest here.
    Baseline(Config, Box<dyn Baseline>, Option<Stages>),
}

/// The settings of a contestant, all of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Settings {
    /// A network of this project.
    Asmr(NetworkConfig),
    /// A baseline: its method and settings.
    #[serde(untagged)]
    Baseline(Method),
}

/// How a contestant was fitted.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Procedure {
    /// ASMR: the effective configuration.
    Asmr(FitConfig),
    /// A baseline's optimiser.
    Baseline(Recipe),
}

/// A rate and a batch that were tried.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// The rate.
    pub rate: f64,
    /// Samples of a batch.
    pub batch: usize,
    /// Mean square error over the last quarter of the trial; none: it diverged.
    pub mse: Option<f64>,
    /// Steps that were made.
    pub steps: u32,
}

/// A contestant's fit.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Weights.
    pub params: Vec<f32>,
    /// The method and its settings, where they are what the fit led to ([`Contestant::settled`]).
    pub method: Option<Method>,
    /// Steps of the last fit, trials not counted.
    pub steps: u32,
    /// Seconds of the fit, trials included unless they are free.
    pub elapsed_s: f64,
    /// Seconds of the trials.
    pub search_s: f64,
    /// Learning rate at its highest.
    pub rate: f64,
    /// Whether a lower and a higher rate were tried and were worse; none: no rate was tried.
    pub rate_is_inside: Option<bool>,
    /// Samples of a batch.
    pub batch: usize,
    /// All settings of the fit.
    pub procedure: Procedure,
    /// What was tried before.
    pub trials: Vec<Trial>,
}

impl Contestant {
    fn of(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, adjustment: Adjustment::default(), search_is_free: false }
    }

    /// A method with the settings that use most of a budget. None: the name is none of [`METHODS`].
    ///
    /// # Errors
    /// [`ContestantError::Budget`] says what the method needs at least.
    #[must_use]
    pub fn within(name: &str, shape: &Shape, budget: Budget) -> Option<Result<Self, ContestantError>> {
        let name = METHODS.into_iter().find(|known| *known == name)?;
        let made = if name == "asmr" {
            let start = Instant::now();
            asmr_within(shape, budget).map(|network| Kind::Asmr {
                network,
                preset: Preset::Default,
                planned: start.elapsed(),
            })
        } else {
            baseline_within(name, shape, budget).and_then(|config| {
                let field = config.build()?;
                Ok(Kind::Baseline(config, field, None))
            })
        };
        Some(made.map(|kind| Self::of(name, kind)))
    }

    /// A network of this project, fitted by a preset.
    #[must_use]
    pub fn asmr(network: NetworkConfig, preset: Preset) -> Self {
        Self::of("asmr", Kind::Asmr { network, preset, planned: Duration::ZERO })
    }

    /// A baseline.
    ///
    /// # Errors
    /// [`ContestantError::Field`] for settings that it refuses.
    pub fn baseline(config: Config) -> Result<Self, ContestantError> {
        let field = config.build()?;
        Ok(Self::of(field.name(), Kind::Baseline(config, field, None)))
    }

    /// Plenoxels fitted coarse to fine; `coarse` is the first grid.
    ///
    /// # Errors
    /// [`ContestantError::Field`] for settings that it refuses, and for any other method.
    pub fn sparse(coarse: Config, stages: Stages) -> Result<Self, ContestantError> {
        let field = coarse.build()?;
        if !matches!(coarse.method, Method::Plenoxels(_)) {
            return Err(refuse("a method with stages", field.name(), "plenoxels").into());
        }
        Ok(Self::of(field.name(), Kind::Baseline(coarse, field, Some(stages))))
    }

    /// Fitted otherwise than usual.
    #[must_use]
    pub fn adjusted(self, adjustment: Adjustment) -> Self {
        Self { adjustment, ..self }
    }

    /// In a given time, with the search of a batch and a rate on top of it: settings found beforehand cost nothing either.
    #[must_use]
    pub fn with_free_search(self) -> Self {
        Self { search_is_free: true, ..self }
    }

    /// What a fit made of it, where that is something else: only then can its cost be told, and its weights be decoded.
    ///
    /// # Errors
    /// [`ContestantError::Field`] for settings that make no field.
    pub fn settled(&self, entry: &Entry) -> Result<Option<Self>, ContestantError> {
        match (&self.kind, &entry.method) {
            (Kind::Baseline(Config { shape, .. }, ..), Some(method)) => {
                Self::baseline(Config { shape: shape.clone(), method: method.clone() }).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Linear layers, the output layer included; 0 for a grid.
    #[must_use]
    pub fn n_layers(&self) -> usize {
        match &self.kind {
            Kind::Asmr { network, .. } => network.n_sine_layers() + 1,
            Kind::Baseline(config, ..) => config.method.n_layers(),
        }
    }

    /// The method's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What evaluation costs.
    #[must_use]
    pub fn cost(&self) -> FieldCost {
        match &self.kind {
            Kind::Asmr { network, .. } => asmr_cost(network),
            Kind::Baseline(_, field, _) => field.cost(),
        }
    }

    /// Weights as they are drawn; none where a fit decides how many there are.
    #[must_use]
    pub fn drawn(&self, seed: u64) -> Option<Vec<f32>> {
        match &self.kind {
            Kind::Asmr { network, .. } => Some(Network::init(network.clone(), seed, 1.0).ok()?.into_params()),
            Kind::Baseline(_, field, None) => Some(field.init(seed)),
            Kind::Baseline(_, _, Some(_)) => None,
        }
    }

    /// All settings.
    #[must_use]
    pub fn settings(&self) -> Settings {
        match &self.kind {
            Kind::Asmr { network, .. } => Settings::Asmr(network.clone()),
            Kind::Baseline(config, ..) => Settings::Baseline(config.method.clone()),
        }
    }

    /// Fits to a signal on the threads of the current pool. `on_progress` gets the share that is done.
    ///
    /// # Errors
    /// [`ContestantError`], also when `interrupt` is set meanwhile.
    pub fn fit(
        &self,
        signal: &Signal,
        stop: Stop,
        seed: u64,
        interrupt: &AtomicBool,
        on_progress: &mut dyn FnMut(f64),
    ) -> Result<Entry, ContestantError> {
        match &self.kind {
            Kind::Asmr { network, preset, planned } => {
                // What was spent before the fit is part of its time.
                let stop = match stop {
                    Stop::Time(limit) => Stop::Time(limit.saturating_sub(*planned).max(limit / 2)),
                    stop @ Stop::Steps(_) => stop,
                };
                let of_preset = match stop {
                    Stop::Time(_) => FitConfig::preset_until_time(*preset, network, 1),
                    Stop::Steps(_) => FitConfig::preset(*preset, network),
                };
                let mut config = FitConfig { seed, ..of_preset };
                if let Some(batch) = self.adjustment.batch {
                    let share = (batch as f64 / network.partition.n_samples() as f64).min(1.0);
                    // The published rate stays as it is, as rivals' do, and is what is searched about.
                    config.set_batch(share, network);
                }
                config.rate *= self.adjustment.rate_factor;
                let entry = fit_asmr(network, config, signal, stop, interrupt, on_progress)?;
                Ok(Entry { elapsed_s: entry.elapsed_s + planned.as_secs_f64(), ..entry })
            }
            Kind::Baseline(config, field, stages) => {
                let mut recipe = field.recipe();
                recipe.rate *= self.adjustment.rate_factor;
                recipe.batch = self.adjustment.batch.or(recipe.batch);
                let what = (config, field.as_ref(), *stages);
                let mut run = Run::new(what, signal, seed, interrupt, on_progress);
                match stop {
                    Stop::Steps(_) => run.published(recipe, stop),
                    Stop::Time(limit) => run.timed(recipe, limit, self.search_is_free),
                }
            }
        }
    }

    /// Makes weights ready to decode the whole grid.
    ///
    /// # Errors
    /// For weights of another number, or that are no numbers.
    ///
    /// # Panics
    /// What it gives does, when called with room for anything but the whole grid.
    pub fn decoder<'a>(&'a self, params: &'a [f32]) -> Result<WholeDecoder<'a>, ContestantError> {
        match &self.kind {
            Kind::Asmr { network, .. } => {
                let request = Request::whole(&network.partition);
                let network = Network::new(network.clone(), params.to_vec()).map_err(|e| asmr_error(&e))?;
                let decoder = Decoder::new(&network);
                Ok(Box::new(move |out| {
                    let done = decoder.decode(&request, out);
                    assert!(done.is_ok(), "room for the whole grid");
                }))
            }
            Kind::Baseline(_, field, _) => Ok(field.decoder(params, IsaLevel::detect())?),
        }
    }

    /// As [`Self::decoder`], of some samples only, which rise.
    ///
    /// # Errors
    /// As there, and for ASMR, whose samples share what the whole grid costs.
    ///
    /// # Panics
    /// As there.
    pub fn decoder_at<'a>(
        &'a self,
        params: &'a [f32],
        samples: Vec<u32>,
    ) -> Result<WholeDecoder<'a>, ContestantError> {
        match &self.kind {
            Kind::Asmr { .. } => {
                Err(ContestantError::Asmr("ASMR is measured on all samples, not on some".to_owned()))
            }
            Kind::Baseline(_, field, _) => Ok(field.decoder_at(params, samples, IsaLevel::detect())?),
        }
    }

    /// Bytes of a file with these weights as 32-bit floats.
    ///
    /// # Errors
    /// For weights that no file can hold.
    pub fn n_bytes(&self, info: &SignalInfo, params: &[f32]) -> Result<u64, ContestantError> {
        match &self.kind {
            Kind::Asmr { network, .. } => {
                let network = Network::new(network.clone(), params.to_vec()).map_err(|e| asmr_error(&e))?;
                let file = AsmrFile { signal: info.clone(), network, steps: None, fit: None };
                file.n_bytes().map_err(|e| asmr_error(&e))
            }
            Kind::Baseline(config, ..) => Ok(store(config, params)?.len() as u64),
        }
    }
}

fn fit_asmr(
    network: &NetworkConfig,
    mut config: FitConfig,
    signal: &Signal,
    stop: Stop,
    interrupt: &AtomicBool,
    on_progress: &mut dyn FnMut(f64),
) -> Result<Entry, ContestantError> {
    let mut control = Control { stop: Some(interrupt), ..Control::default() };
    match stop {
        Stop::Steps(steps) => config.set_steps(steps),
        Stop::Time(limit) => control.time_limit = Some(limit),
    }
    let mut events = |event| {
        if let FitEvent::Step { progress, .. } = event {
            on_progress(progress);
        }
    };
    let fitted = fit(signal, network, &config, &control, &mut events).map_err(|e| asmr_error(&e))?;
    if fitted.ending == Ending::Stopped {
        return Err(ContestantError::Interrupted);
    }
    let n_samples = Shape::of(signal.info()).n_samples();
    Ok(Entry {
        params: fitted.network.into_params(),
        method: None,
        steps: fitted.steps,
        elapsed_s: fitted.elapsed_s,
        search_s: 0.0,
        rate: config.rate,
        rate_is_inside: None,
        batch: ((config.batch * n_samples as f64).round() as usize).max(1),
        procedure: Procedure::Asmr(config),
        trials: Vec::new(),
    })
}
