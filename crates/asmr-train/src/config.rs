//! What a fit does: one struct, one place for defaults, named presets.

use asmr::network::{Modulator, NetworkConfig};
use asmr::planner::is_narrow;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::sampler::n_batches;
use crate::work::{gradient_mac, optimiser_mac, step_mac};

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
    /// Weight in the loss of samples at a seam ([`asmr::partition::is_block_edge`]) relative to the others, 0.01 to 100;
    /// 1: all count the same.
    #[serde(default = "unweighted")]
    pub seam_weight: f64,
}

fn unweighted() -> f64 {
    1.0
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

/// Samples of the paper's batches of large pictures, ...
const PAPER_BATCH_SAMPLES: f64 = 262_144.0;
/// ... which are those from this many samples on, ...
const PAPER_LARGE: f64 = 16_777_216.0;
/// ... and for how many epochs.
const PAPER_EPOCHS: u32 = 500;

impl FitConfig {
    /// A preset's settings for a network. The rate and the initial modulation follow the shape, as measured in the
    /// optimiser study (results/): see `stable_rate` and `initial_modulation` below. Signals of more than
    /// [`MEDIUM_SAMPLES`] are fitted in batches, in as many steps as a planned number of multiply-adds allows, and so are those
    /// of more than [`FULL_BATCH_SAMPLES`] by `fast`, or where they are volumes or shapes (sound and `paper` excepted).
    #[must_use]
    pub fn preset(preset: Preset, network: &NetworkConfig) -> Self {
        Self::preset_of_chunk(preset, network, 1)
    }

    /// A preset's settings for one of the networks of a signal in chunks, which share the multiply-adds of a large signal's
    /// fit.
    #[must_use]
    pub fn preset_of_chunk(preset: Preset, network: &NetworkConfig, n_chunks: u32) -> Self {
        let base = Self {
            preset,
            seed: 0,
            algorithm: Algorithm::Soap,
            steps: 0,
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
            seam_weight: if is_long_sound(network) { LONG_SOUND_SEAM_WEIGHT } else { 1.0 },
        };
        let share = 1.0 / f64::from(n_chunks);
        let is_narrow = is_narrow_picture(network);
        let is_medium = is_medium(network);
        let is_solid = is_medium && network.partition.n_axes() > 2 && network.channels == 1;
        let is_large = network.partition.n_samples() > MEDIUM_SAMPLES;
        match preset {
            Preset::Fast if is_narrow => base.of_narrow_picture(network, 0.2),
            Preset::Default if is_narrow => base.of_narrow_picture(network, 1.0),
            Preset::Best if is_narrow => base.of_narrow_picture(network, 7.0),
            Preset::Fast if is_medium => base.in_batches(network, 1.0 / 3.0, 1.0),
            Preset::Default if is_solid => base.in_batches(network, 1.0, 1.0),
            Preset::Best if is_solid => base.in_batches(network, 20.0 / 3.0, 1.0),
            Preset::Fast if is_large => base.in_batches(network, 0.25, share),
            Preset::Default if is_large => base.in_batches(network, 1.0, share),
            Preset::Best if is_large => base.in_batches(network, 4.0, share),
            Preset::Fast => Self { steps: steps(network, 100, 700), warmup_steps: 20, ..base },
            Preset::Default => Self { steps: steps(network, 300, 2000), ..base },
            Preset::Best => Self { steps: steps(network, 2000, 6000), ..base },
            Preset::Paper => base.published(network),
        }
    }

    /// A preset's settings for a fit that goes on [until its time is up](UNTIL_TIME_IS_UP), of one of the networks of a signal.
    ///
    /// In batches, the rate is that of a short fit: it falls with the steps that the time turns out to allow
    /// ([`Self::length_factor`]). Of a medium signal that may be few full batches, and batches of part of it get further.
    #[must_use]
    pub fn preset_until_time(preset: Preset, network: &NetworkConfig, n_chunks: u32) -> Self {
        let from = if preset != Preset::Paper && is_medium(network) { Preset::Fast } else { preset };
        let mut config = Self { preset, ..Self::preset_of_chunk(from, network, n_chunks) };
        if config.rate_follows_length(network) {
            config.rate /= long_fit_rate(f64::from(config.steps));
        }
        config.steps = UNTIL_TIME_IS_UP;
        config
    }

    /// Whether the rate is one of the steps. (Narrow networks stand as high a rate in long fits.)
    fn rate_follows_length(&self, network: &NetworkConfig) -> bool {
        self.batch < 1.0 && self.preset != Preset::Paper && !is_narrow_picture(network)
    }

    /// Factor on the rate of a fit that goes on until its time is up and will have made so many steps by then; 1 for other fits, whose
    /// rate has it already, and where the length does not matter.
    #[must_use]
    pub fn length_factor(&self, network: &NetworkConfig, steps: f64) -> f64 {
        let is_open = self.steps == UNTIL_TIME_IS_UP && self.rate_follows_length(network);
        if is_open { long_fit_rate(steps) } else { 1.0 }
    }

    /// Puts the steps that a fit made until its time was up in place of what was not known before, and the rate that it ended with: a fit
    /// of as many steps with these settings is much the same.
    pub fn set_length(&mut self, network: &NetworkConfig, steps: u32) {
        self.rate *= self.length_factor(network, f64::from(steps));
        self.steps = steps.max(1);
    }

    /// The paper's protocol.
    fn published(self, network: &NetworkConfig) -> Self {
        let n_samples = network.partition.n_samples() as f64;
        let is_large_picture = network.partition.n_axes() == 2 && n_samples >= PAPER_LARGE;
        let batch = if is_large_picture { PAPER_BATCH_SAMPLES / n_samples } else { 1.0 };
        let steps = if is_large_picture { PAPER_EPOCHS * n_batches(network, batch) } else { 10_000 };
        Self {
            algorithm: Algorithm::Adam,
            steps,
            rate: 1e-4,
            warmup_steps: 0,
            modulator_rate: 1.0,
            batch,
            modulation_scale: 1.0,
            mean_start: false,
            // Films: the only signals of three axes in the paper.
            clip: if network.partition.n_axes() == 3 { 0.1 } else { 0.0 },
            seam_weight: 1.0,
            ..self
        }
    }

    /// Batches, rate and steps of a signal too large for full batches; `length` is the fit's as a multiple of the
    /// default's, `share` its part of the signal's multiply-adds.
    fn in_batches(self, network: &NetworkConfig, length: f64, share: f64) -> Self {
        let n_samples = network.partition.n_samples() as f64;
        let optimiser = optimiser_mac(network, self.algorithm);
        let (epochs, most_optimiser) = if is_medium(network) { MEDIUM } else { LARGE };
        let mut batch = BATCH_SAMPLES;
        while optimiser > most_optimiser * gradient_mac(network, batch) && 4.0 * batch <= n_samples {
            batch *= 2.0;
        }
        let fraction = (batch / n_samples).min(1.0);
        let n_batches = f64::from(n_batches(network, fraction));
        let affordable = share * LARGE_FIT_MAC / step_mac(network, self.algorithm, fraction);
        let steps = (length * affordable.min(epochs * n_batches)).clamp(MIN_STEPS, 1e9) as u32;
        Self {
            batch: fraction,
            rate: self.rate * batch_rate(network, n_batches) * long_fit_rate(f64::from(steps)),
            steps,
            warmup_steps: (steps / 10).clamp(20, 500),
            ..self
        }
    }

    /// Batches, rate and steps of a picture with far fewer weights than values; `length` is the fit's as a multiple of the
    /// default's.
    fn of_narrow_picture(mut self, network: &NetworkConfig, length: f64) -> Self {
        let n_samples = network.partition.n_samples() as f64;
        self.set_batch(NARROW_BATCH_SAMPLES / n_samples, network);
        let affordable = NARROW_FIT_MAC / step_mac(network, self.algorithm, self.batch);
        let steps = (length * affordable.min(NARROW_FIT_STEPS)).clamp(MIN_STEPS, NARROW_MOST_STEPS) as u32;
        Self { steps, warmup_steps: (steps / 10).clamp(20, 500), ..self }
    }

    /// Sets the number of steps, and the rate that suits it: a longer fit in batches wants a lower one.
    pub fn set_steps(&mut self, steps: u32) {
        if self.batch < 1.0 && self.preset != Preset::Paper {
            self.rate *= long_fit_rate(f64::from(steps)) / long_fit_rate(f64::from(self.steps));
        }
        self.steps = steps;
    }

    /// Sets the batch's share of the cells, and the rate that suits it: a smaller batch has a noisier gradient.
    ///
    /// The rate follows the share that batches of whole cells come nearest to; that of the published protocol stays as it is.
    pub fn set_batch(&mut self, batch: f64, network: &NetworkConfig) {
        if self.preset != Preset::Paper {
            self.rate *=
                (f64::from(n_batches(network, self.batch)) / f64::from(n_batches(network, batch))).sqrt();
        }
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
        let seam_weight = self.seam_weight;
        check((0.01..=100.0).contains(&seam_weight), "the seams' weight", seam_weight, "0.01 to 100")?;
        let scale = self.modulation_scale;
        check((0.0..=10.0).contains(&scale), "the modulation scale", scale, "0 to 10")?;
        Ok(())
    }
}

/// The steps of a fit that a time limit ends: more than there is time for.
pub const UNTIL_TIME_IS_UP: u32 = 1_000_000_000;

/// Samples up to which presets fit with the full batch. In equal time, batches lose a little on smaller signals. On medium ones they
/// gain some decibels where the fit is short, and on shapes always; in a default fit pictures and films lose up to half a decibel by
/// them (results/, `batch-study.tsv`).
pub const FULL_BATCH_SAMPLES: u128 = 1 << 19;
/// Samples up to which a signal is a medium one; larger ones are always fitted in batches.
pub const MEDIUM_SAMPLES: u128 = 1 << 21;
/// Samples in a batch of a larger signal, doubled until the optimiser's own multiply-adds are at most a part of the gradient's or
/// more would be over half of the signal.
const BATCH_SAMPLES: f64 = 262_144.0;
/// The most epochs of a medium signal's default fit, which take as long as 300 full batches, and that part; ...
const MEDIUM: (f64, f64) = (225.0, 0.35);
/// ... and those of a large one.
const LARGE: (f64, f64) = (150.0, 1.0);
/// Samples in a batch from which the full batch's rate is steady; it falls with the root of fewer.
const STEADY_SAMPLES: f64 = 3e6;
/// Steps up to which a fit in batches takes the highest rate; it falls with the root of more.
const LONG_FIT_STEPS: f64 = 200.0;
/// The most multiply-adds of a large signal's default fit: six minutes on two cores that execute 50e9 a second.
pub const LARGE_FIT_MAC: f64 = 18e12;
/// The fewest steps of a fit in batches.
const MIN_STEPS: f64 = 50.0;

/// Samples in the batches of a narrow picture: with few weights all samples say much the same, and many cheap steps are worth more
/// than few exact ones (results/).
const NARROW_BATCH_SAMPLES: f64 = 98_304.0;
/// The most multiply-adds of its default fit: a quarter of a minute on two cores.
const NARROW_FIT_MAC: f64 = 0.35e12;
/// The most steps of its default fit.
const NARROW_FIT_STEPS: f64 = 3000.0;
/// The most steps of any preset: twice as many gain next to nothing.
const NARROW_MOST_STEPS: f64 = 10_000.0;

/// Whether batches may gain; sound of that size loses half a decibel by them.
fn is_medium(network: &NetworkConfig) -> bool {
    let n_samples = network.partition.n_samples();
    network.partition.n_axes() > 1 && n_samples > FULL_BATCH_SAMPLES && n_samples <= MEDIUM_SAMPLES
}

fn is_narrow_picture(network: &NetworkConfig) -> bool {
    let n_samples = network.partition.n_samples();
    n_samples as f64 >= 1.5 * NARROW_BATCH_SAMPLES && n_samples <= MEDIUM_SAMPLES && is_narrow(network)
}

/// The rate of a fit in so many batches, as a part of the full batch's. A batch of much of a picture says nearly what all of it does,
/// however few its samples; those of volumes, shapes and films stand no higher rates for that (results/, `batch-study.tsv`).
fn batch_rate(network: &NetworkConfig, n_batches: f64) -> f64 {
    let steady = network.partition.n_samples() as f64 / STEADY_SAMPLES;
    let share = if network.partition.n_axes() > 2 { steady } else { steady.max(1.0) };
    (share / n_batches).sqrt().min(1.0)
}

/// The rate of a fit in batches of so many steps, as a part of a short one's. At a rate that is too high a long fit falls back
/// below what a lower one reaches (results/).
fn long_fit_rate(steps: f64) -> f64 {
    (LONG_FIT_STEPS / steps).sqrt().min(1.0)
}

/// Samples of one axis from which seams are the worst of a fit: 3 seconds of sound.
const LONG_SOUND_SAMPLES: u128 = 1 << 17;
/// The weight of its seams then, which mends them and the whole (results/, `seams.tsv`); other signals lose by it.
const LONG_SOUND_SEAM_WEIGHT: f64 = 2.0;

fn is_long_sound(network: &NetworkConfig) -> bool {
    network.partition.n_axes() == 1 && network.partition.n_samples() > LONG_SOUND_SAMPLES
}

/// Multiply-adds of the default's 300 steps on a picture of 512 x 512: signals whose steps are cheaper get more of them, ...
const SMALL_FIT_MAC: f64 = 0.35e12;
const SMALL_FIT_STEPS: f64 = 300.0;

/// Full-batch steps of a preset: `least`, or up to `most` where they cost no more than `least` on a picture of
/// 512 x 512.
fn steps(network: &NetworkConfig, least: u32, most: u32) -> u32 {
    let affordable = SMALL_FIT_MAC / step_mac(network, Algorithm::Soap, 1.0);
    (affordable * f64::from(least) / SMALL_FIT_STEPS).clamp(f64::from(least), f64::from(most)) as u32
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
