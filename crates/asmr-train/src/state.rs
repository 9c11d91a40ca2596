//! The state of a fit: all that decides how it goes on.

use std::io;
use std::time::Duration;

use asmr::network::NetworkConfig;
use asmr_kernels::IsaLevel;

use crate::checkpoint::Archive;
use crate::config::FitConfig;
use crate::fit::{BATCHES_DIVERGED, DIVERGED_STEPS, Ending, FitError};
use crate::optimiser::Optimiser;
use crate::sampler::Sampler;

/// Set-backs after which a fit gives up.
const MAX_RECOVERIES: u32 = 8;
/// Factor on all rates at a set-back.
const RECOVERY_FACTOR: f64 = 0.5;

/// State to go back to.
#[derive(Clone)]
pub(crate) struct Good {
    pub(crate) params: Vec<f32>,
    pub(crate) optimiser: Optimiser,
    pub(crate) psnr_db: f64,
}

/// Everything that decides how a fit goes on.
pub(crate) struct State {
    pub(crate) params: Vec<f32>,
    pub(crate) optimiser: Optimiser,
    pub(crate) sampler: Sampler,
    pub(crate) average: Vec<f32>,
    pub(crate) best: Vec<f32>,
    pub(crate) best_db: f64,
    pub(crate) good: Good,
    pub(crate) smooth_mse: Option<f64>,
    /// Of squares, likewise: by how much batches differ.
    pub(crate) smooth_square: f64,
    /// Factor on all rates, from set-backs.
    pub(crate) rate_factor: f64,
    /// Factor on all rates, from losses that rise.
    pub(crate) steadiness: f64,
    /// The best since the last set-back: the state gone back to may be well under the best of all.
    pub(crate) reference_db: f64,
    /// Steps on end that were well under that; while it is not known, batches that were seen.
    pub(crate) bad_steps: u32,
    pub(crate) recoveries: u32,
    pub(crate) step: u32,
    /// Its end came otherwise than by the number of steps, from outside or by the clock.
    pub(crate) ended: Option<Ending>,
    /// Seconds of all runs, as of the last checkpoint.
    pub(crate) elapsed_s: f64,
}

/// Sections of a checkpoint that hold a [`State`], in their order.
pub(crate) const SECTIONS: [[u8; 4]; 7] =
    [*b"PROG", *b"WGHT", *b"AVRG", *b"BEST", *b"OPTM", *b"GOOD", *b"SMPL"];

impl State {
    /// The beginning of a fit; all weights are zero.
    pub(crate) fn new(network: &NetworkConfig, config: &FitConfig, isa: IsaLevel) -> Self {
        let params = vec![0.0; network.n_params()];
        let optimiser = Optimiser::new(network, config, isa);
        Self {
            optimiser: optimiser.clone(),
            sampler: Sampler::new(network, config.batch, config.seed),
            average: params.clone(),
            best: params.clone(),
            best_db: f64::MIN,
            good: Good { params: params.clone(), optimiser, psnr_db: f64::MIN },
            smooth_mse: None,
            smooth_square: 0.0,
            rate_factor: 1.0,
            steadiness: 1.0,
            reference_db: f64::MIN,
            bad_steps: 0,
            recoveries: 0,
            step: 0,
            ended: None,
            elapsed_s: 0.0,
            params,
        }
    }

    /// Passes one section's content to an archive.
    pub(crate) fn archive(
        &mut self,
        section: [u8; 4],
        config: &FitConfig,
        archive: &mut Archive<'_>,
    ) -> io::Result<()> {
        match &section {
            b"PROG" => self.archive_progress(config, archive),
            b"WGHT" => archive.f32s(&mut self.params),
            b"AVRG" => archive.f32s(&mut self.average),
            b"BEST" => {
                archive.f64(&mut self.best_db)?;
                archive.f32s(&mut self.best)
            }
            b"OPTM" => self.optimiser.archive(archive),
            b"GOOD" => {
                archive.f64(&mut self.good.psnr_db)?;
                archive.f32s(&mut self.good.params)?;
                self.good.optimiser.archive(archive)
            }
            _ => self.sampler.archive(archive),
        }
    }

    fn archive_progress(&mut self, config: &FitConfig, archive: &mut Archive<'_>) -> io::Result<()> {
        archive.u32(&mut self.step)?;
        archive.u32(&mut self.bad_steps)?;
        archive.u32(&mut self.recoveries)?;
        archive.optional_f64(&mut self.smooth_mse)?;
        archive.f64(&mut self.smooth_square)?;
        archive.f64(&mut self.rate_factor)?;
        archive.f64(&mut self.steadiness)?;
        archive.f64(&mut self.reference_db)?;
        archive.f64(&mut self.elapsed_s)?;
        let mut ended = match self.ended {
            Some(Ending::Finished) => 1,
            Some(Ending::TargetReached) => 2,
            Some(Ending::Diverged) => 3,
            _ => 0,
        };
        archive.u32(&mut ended)?;
        self.ended = [None, Some(Ending::Finished), Some(Ending::TargetReached), Some(Ending::Diverged)]
            .get(ended as usize)
            .copied()
            .ok_or(io::ErrorKind::InvalidData)?;
        archive.check(
            self.step <= config.steps
                && self.bad_steps < DIVERGED_STEPS.max(BATCHES_DIVERGED.1)
                && self.recoveries <= MAX_RECOVERIES
                && (0.0..=1.0).contains(&self.rate_factor)
                && (0.0..=1.0).contains(&self.steadiness)
                && !self.reference_db.is_nan()
                && Duration::try_from_secs_f64(self.elapsed_s).is_ok(),
        )
    }

    /// Goes back to the last good state, at a lower rate, or to end with it after too many times.
    pub(crate) fn set_back(&mut self) -> Result<Option<Ending>, FitError> {
        let gives_up = self.recoveries == MAX_RECOVERIES;
        if gives_up && self.good.psnr_db == f64::MIN {
            return Err(FitError::Diverged(self.recoveries + 1));
        }
        self.params.copy_from_slice(&self.good.params);
        self.average.copy_from_slice(&self.good.params);
        if gives_up {
            self.ended = Some(Ending::Diverged);
            return Ok(self.ended);
        }
        self.recoveries += 1;
        self.rate_factor *= RECOVERY_FACTOR;
        self.optimiser.clone_from(&self.good.optimiser);
        (self.smooth_mse, self.smooth_square, self.bad_steps, self.reference_db) = (None, 0.0, 0, f64::MIN);
        self.step += 1;
        Ok(None)
    }
}
