//! What a fit does: one struct, one place for defaults, named presets.

use asmr::network::{Modulator, NetworkConfig};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::sampler::n_batches;
use crate::work::step_mac;

/// Named settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// A look in a few seconds.
    Fast,
    /// Good quality in well under a minute for a photograph.
    Default,
    /// The best quality known, at several times the default's time.
    Best,
    /// The paper's protocol: Adam, rate 1e-4 decaying to 1e-5, 10,000 full-batch steps, its initialisation.
    Paper,
}

impl Preset {
    /// All presets.
    pub const ALL: [Self; 4] = [Self::Fast, Self::Default, Self::Best, Self::Paper];

    /// The preset's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Default => "default",
            Self::Best => "best",
            Self::Paper => "paper",
        }
    }
}

/// The optimiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// Adam on every tensor.
    Adam,
    /// SOAP on the matrices between sine layers, Adam on the rest ([`crate::soap`]).
    Soap,
}

/// The effective configuration of a fit; stored in the file it makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitConfig {
    /// Where the other values came from, before any was changed.
    pub preset: Preset,
    /// Seed of the initial weights and of the batches.
    pub seed: u64,
    /// The optimiser.
    pub algorithm: Algorithm,
    /// Optimiser updates, 1 to 10^9.
    pub steps: u32,
    /// Learning rate at its highest, above 0 and at most 1.
    pub rate: f64,
    /// The rate at the end of the cosine decay, as a fraction of `rate`, 0 to 1.
    pub final_rate: f64,
    /// Steps over which the rate rises linearly from nothing.
    pub warmup_steps: u32,
    /// Rate of the modulators as a fraction of `rate`, 0 to 1: `omega_0` acts on them twice.
    pub modulator_rate: f64,
    /// Adam's first-moment decay.
    pub beta1: f64,
    /// Adam's second-moment decay.
    pub beta2: f64,
    /// Fraction of the cells in a batch, above 0 and at most 1; 1 is full batch. Rounded to one over a whole number.
    pub batch: f64,
    /// Factor on the modulators' initial output; 1 is the paper's.
    pub modulation_scale: f64,
    /// Whether the output bias starts at the signal's mean instead of at random.
    pub mean_start: bool,
    /// The longest gradient (Euclidean norm) that is taken as it is; longer ones are shortened to it. 0: all are.
    #[serde(default)]
    pub clip: f64,
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{name} is {value}; it must be {range}")]
pub struct ConfigError {
    /// The setting.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// What is accepted.
    pub range: &'static str,
}

/// The most multiply-adds that the default preset executes for a signal, all chunks together: some minutes on two cores.
/// Other presets take theirs by their number of steps.
pub const MOST_WORK: f64 = 3e13;
/// Samples of a batch of a large signal, the paper's number for its largest pictures.
pub const BATCH_SAMPLES: f64 = (1 << 18) as f64;
/// Rate of such batches as a fraction of the full batch's.
const BATCH_RATE: f64 = 0.2;
/// Steps over which their rate rises, at most.
const BATCH_WARMUP: u32 = 400;
/// Steps that such a fit has at least.
const MIN_BATCH_STEPS: f64 = 100.0;
/// Samples from which the paper fits pictures in batches, ...
const PAPER_LARGE: f64 = (1 << 24) as f64;
/// ... and for how many epochs.
const PAPER_EPOCHS: u32 = 500;

impl FitConfig {
    /// A preset's settings for a network. The rate and the initial modulation follow the shape, as measured in the
    /// optimiser study (results/): see `stable_rate` and `initial_modulation` below.
    #[must_use]
    pub fn preset(preset: Preset, network: &NetworkConfig) -> Self {
        Self::preset_of_chunk(preset, network, 1)
    }

    /// A preset's settings for one of the networks of a signal in chunks. They share the work that a fit may take.
    ///
    /// A fit of so many samples that the preset's full-batch steps would execute more than [`MOST_WORK`] goes in batches of
    /// about [`BATCH_SAMPLES`] samples, as many as make that work. What it executes is counted, not timed, so the plan is the same on
    /// every machine.
    #[must_use]
    pub fn preset_of_chunk(preset: Preset, network: &NetworkConfig, n_chunks: u32) -> Self {
        let config = Self::full_batch(preset, network);
        let n_samples = network.partition.n_samples() as f64;
        if preset == Preset::Paper {
            return if network.partition.n_axes() == 2 && n_samples >= PAPER_LARGE {
                // 500 epochs of batches of 2^18 samples.
                let batch = BATCH_SAMPLES / n_samples;
                let steps = PAPER_EPOCHS * n_batches(network, batch);
                Self { batch, steps, ..config }
            } else {
                config
            };
        }
        let work = f64::from(config.steps) / f64::from(Self::full_batch(Preset::Default, network).steps)
            * MOST_WORK
            / f64::from(n_chunks);
        let full = step_mac(network, config.algorithm, 1.0);
        let batch = (BATCH_SAMPLES / n_samples).min(1.0);
        if f64::from(config.steps) * full <= work || n_batches(network, batch) == 1 {
            return config;
        }
        let steps = (work / step_mac(network, config.algorithm, batch)).clamp(MIN_BATCH_STEPS, 1e9) as u32;
        Self {
            batch,
            steps,
            rate: BATCH_RATE * config.rate,
            warmup_steps: BATCH_WARMUP.min(steps / 4),
            ..config
        }
    }

    fn full_batch(preset: Preset, network: &NetworkConfig) -> Self {
        let base = Self {
            preset,
            seed: 0,
            algorithm: Algorithm::Soap,
            steps: 300,
            rate: stable_rate(network.partition.n_levels(), network.width),
            final_rate: 0.1,
            warmup_steps: 80,
            modulator_rate: 0.03,
            beta1: 0.9,
            beta2: 0.999,
            batch: 1.0,
            modulation_scale: initial_modulation(network),
            mean_start: true,
            clip: 0.0,
        };
        match preset {
            Preset::Fast => Self { steps: 100, warmup_steps: 20, ..base },
            Preset::Default => base,
            Preset::Best => Self { steps: 2000, ..base },
            Preset::Paper => Self {
                algorithm: Algorithm::Adam,
                steps: 10_000,
                rate: 1e-4,
                warmup_steps: 0,
                modulator_rate: 1.0,
                modulation_scale: 1.0,
                mean_start: false,
                // Films: the only signals of three axes in the paper.
                clip: if network.partition.n_axes() == 3 { 0.1 } else { 0.0 },
                ..base
            },
        }
    }

    /// Sets the batch's share of the cells, and the rate that suits it: a smaller batch has a noisier gradient.
    ///
    /// The rate follows the share that batches of whole cells come nearest to.
    pub fn set_batch(&mut self, batch: f64, network: &NetworkConfig) {
        self.rate *=
            (f64::from(n_batches(network, self.batch)) / f64::from(n_batches(network, batch))).sqrt();
        self.batch = batch;
    }

    /// Refuses settings outside their ranges.
    ///
    /// # Errors
    /// [`ConfigError`] names the setting, its value and what is accepted.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let check = |ok: bool, name, value: f64, range| {
            if ok { Ok(()) } else { Err(ConfigError { name, value: value.to_string(), range }) }
        };
        let steps = f64::from(self.steps);
        check((1.0..=1e9).contains(&steps), "steps", steps, "1 to 1000000000")?;
        check(self.rate > 0.0 && self.rate <= 1.0, "the learning rate", self.rate, "above 0 and at most 1")?;
        check((0.0..=1.0).contains(&self.final_rate), "the final rate", self.final_rate, "0 to 1")?;
        check(
            (0.0..=1.0).contains(&self.modulator_rate),
            "the modulators' rate",
            self.modulator_rate,
            "0 to 1",
        )?;
        check((0.0..1.0).contains(&self.beta1), "beta1", self.beta1, "0 to below 1")?;
        check((0.0..1.0).contains(&self.beta2), "beta2", self.beta2, "0 to below 1")?;
        check(
            self.batch > 0.0 && self.batch <= 1.0,
            "the batch",
            self.batch,
            "above 0 and at most 1 (full)",
        )?;
        check(self.clip >= 0.0 && self.clip.is_finite(), "the clip", self.clip, "0 or more")?;
        let scale = self.modulation_scale;
        check((0.0..=10.0).contains(&scale), "the modulation scale", scale, "0 to 10")?;
        Ok(())
    }
}

/// The highest learning rate that trains steadily: weights of a layer are of the order 1/√width, so steps must be
/// too; and each further sine layer multiplies what a step does to the output.
fn stable_rate(n_levels: usize, width: usize) -> f64 {
    let depth = (4.0 / n_levels as f64).min(1.0).powf(1.7);
    (4e-3 * depth * (256.0 / width as f64).sqrt()).min(8e-3)
}

/// Weights per value from which a network starts rough.
const ROUGH_START: f64 = 0.3;

/// Factor on the modulators' initial output. The paper's scale makes neighbouring cells unrelated at the start,
/// which a network with few weights for its signal never recovers from: it starts nearly smooth. One with
/// capacity for the detail is quicker the other way round. Scales between the two are worse than both.
fn initial_modulation(network: &NetworkConfig) -> f64 {
    let values = network.partition.n_samples() as f64 * network.channels as f64;
    let weights_per_value = network.n_params() as f64 / values;
    let scale = if weights_per_value >= ROUGH_START {
        0.1
    } else {
        (0.1 * (weights_per_value / 0.2).powf(1.5)).clamp(0.003, 0.025)
    };
    match network.modulator {
        Modulator::Linear | Modulator::Table => scale,
        // Its output starts about 500 times smaller than the linear one's.
        Modulator::Nonlinear => 100.0 * scale,
    }
}
