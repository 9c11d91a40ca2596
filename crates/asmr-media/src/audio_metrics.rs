//! How close a recording is to its original.

use std::sync::Arc;

use asmr::metadata::Media;
use asmr::signal::{Samples, SignalInfo};
use asmr::with_samples;
use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use crate::metrics::{largest_difference, psnr_db_of_mse};

/// Samples of a frame of the log-spectral distance.
const WINDOW: usize = 2048;
/// Samples from one frame to the next.
const HOP: usize = 512;
/// Power below which spectra count as silent: the noise of rounding to 20 or 21 bits (rounding to steps of Δ gives a bin
/// Δ² / 12 · Σ w², and the window's squares sum up to 768).
const POWER_FLOOR: f64 = 1e-10;

/// How close a decoded recording is to its original.
///
/// x and y are the samples of the original and of the decoded signal with full scale ±1: floats as they are, whole
/// numbers of b bits over 2^(b−1) (unsigned ones of 8 bits after taking 128 away). Sums run over time and channels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AudioScores {
    /// Signal-to-noise ratio, 10 log10(Σ x² / Σ (x − y)²); `None` when all samples are equal, −∞ for a silent original
    /// that is decoded as anything else.
    pub snr_db: Option<f64>,
    /// Peak signal-to-noise ratio, 10 log10(2² / mean (x − y)²), the peak being the whole range from −1 to 1
    /// ([`SignalInfo::peak`]); `None` when all samples are equal.
    pub psnr_db: Option<f64>,
    /// Log-spectral distance in dB, 0 when spectra are equal (Gray and Markel, "Distance measures for speech
    /// processing", IEEE Trans. ASSP 24(5), 1976, the root mean square over frequency; here of short-time spectra):
    ///
    /// the mean over channels of the mean over frames m of √( mean over k of (L(X(m, k)) − L(Y(m, k)))² ),
    /// L(X) = 10 log10(|X|² + 10⁻¹⁰), X(m, k) = Σₙ w(n) x(512 m + n) e^(−2πi kn / 2048), k = 0 … 1024,
    /// w(n) = ½ − ½ cos(2πn / 2048), n = 0 … 2047.
    ///
    /// Frames are those that it takes to cover every sample: one for up to 2048 samples, else ⌈(N − 2048) / 512⌉ + 1;
    /// the last is filled up with zeros.
    pub lsd_db: f64,
    /// The largest difference, in stored values.
    pub max_abs_error: f64,
}

/// Compares a recording with its original as both go by; memory for one frame per channel.
pub struct AudioComparison {
    channels: usize,
    /// What is taken away from a stored value, and what the rest is multiplied by.
    offset: f64,
    gain: f64,
    signal: f64,
    noise: f64,
    n_values: u64,
    max_abs_error: f64,
    spectra: Spectra,
}

impl AudioComparison {
    /// For recordings of this kind.
    #[must_use]
    pub fn new(info: &SignalInfo) -> Self {
        let half_scale = match &info.media {
            Media::Audio(audio) if !info.sample_type.is_float() => {
                (f64::from(audio.bits_per_sample) - 1.0).exp2()
            }
            _ => 1.0,
        };
        let is_unsigned = matches!(info.sample_type, asmr::signal::SampleType::U8);
        Self {
            channels: info.channels,
            offset: if is_unsigned { half_scale } else { 0.0 },
            gain: 1.0 / half_scale,
            signal: 0.0,
            noise: 0.0,
            n_values: 0,
            max_abs_error: 0.0,
            spectra: Spectra::new(info.channels),
        }
    }

    /// Takes the next slices of both, in the order of time.
    ///
    /// # Panics
    /// When types or lengths differ, or a slice is not whole.
    pub fn push(&mut self, original: &Samples, decoded: &Samples) {
        assert_eq!(original.sample_type(), decoded.sample_type(), "the same type of sample");
        assert_eq!(original.len(), decoded.len(), "the same slices of both");
        assert_eq!(original.len() % self.channels, 0, "whole slices");
        self.max_abs_error = self.max_abs_error.max(largest_difference(original, decoded));
        self.n_values += original.len() as u64;
        let (x, y) = (self.full_scale(original), self.full_scale(decoded));
        // In parts, so that the rounding of a long sum stays that of a short one.
        for (x, y) in x.chunks(1 << 12).zip(y.chunks(1 << 12)) {
            self.signal += x.iter().map(|x| x * x).sum::<f64>();
            self.noise += x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum::<f64>();
        }
        self.spectra.push(&x, &y);
    }

    #[allow(clippy::useless_conversion, reason = "one of the types is f64 already")]
    fn full_scale(&self, samples: &Samples) -> Vec<f64> {
        with_samples!(samples, values => values.iter().map(|&v| (f64::from(v) - self.offset) * self.gain).collect())
    }

    /// The scores of all that was pushed.
    #[must_use]
    pub fn finish(self) -> AudioScores {
        let mean_noise = self.noise / (self.n_values.max(1)) as f64;
        AudioScores {
            snr_db: (self.noise != 0.0).then(|| 10.0 * (self.signal / self.noise).log10()),
            psnr_db: psnr_db_of_mse(mean_noise / 4.0),
            lsd_db: self.spectra.finish(),
            max_abs_error: self.max_abs_error,
        }
    }
}

/// Sums the distances of short-time spectra.
struct Spectra {
    channels: usize,
    transform: Arc<dyn RealToComplex<f64>>,
    window: Vec<f64>,
    /// The samples of the current frame, of each channel of the original and then of the decoded signal.
    frames: Vec<f64>,
    /// Samples of the frame that are there.
    filled: usize,
    /// Of these, what no frame has covered yet.
    n_new: usize,
    windowed: Vec<f64>,
    spectrum: Vec<Complex<f64>>,
    scratch: Vec<Complex<f64>>,
    /// L(X) of the frame.
    levels: Vec<f64>,
    sum: f64,
    n_frames: u64,
}

impl Spectra {
    fn new(channels: usize) -> Self {
        let transform = RealFftPlanner::new().plan_fft_forward(WINDOW);
        let step = std::f64::consts::TAU / WINDOW as f64;
        Self {
            channels,
            window: (0..WINDOW).map(|n| 0.5 - 0.5 * (step * n as f64).cos()).collect(),
            frames: vec![0.0; 2 * channels * WINDOW],
            filled: 0,
            n_new: 0,
            windowed: transform.make_input_vec(),
            spectrum: transform.make_output_vec(),
            scratch: transform.make_scratch_vec(),
            levels: vec![0.0; WINDOW / 2 + 1],
            transform,
            sum: 0.0,
            n_frames: 0,
        }
    }

    /// Takes whole slices, channel last.
    fn push(&mut self, x: &[f64], y: &[f64]) {
        let mut at = 0;
        let n = x.len() / self.channels;
        while at < n {
            let part = (n - at).min(WINDOW - self.filled);
            for (signal, values) in [x, y].into_iter().enumerate() {
                for channel in 0..self.channels {
                    let frame = &mut self.frames[(signal * self.channels + channel) * WINDOW..][..WINDOW];
                    let from = values[at * self.channels + channel..].iter().step_by(self.channels);
                    for (to, from) in frame[self.filled..self.filled + part].iter_mut().zip(from) {
                        *to = *from;
                    }
                }
            }
            self.filled += part;
            self.n_new += part;
            at += part;
            if self.filled == WINDOW {
                self.compare();
                for frame in self.frames.chunks_mut(WINDOW) {
                    frame.copy_within(HOP.., 0);
                }
                self.filled = WINDOW - HOP;
            }
        }
    }

    /// Adds the distance of the frame.
    fn compare(&mut self) {
        self.n_new = 0;
        self.n_frames += 1;
        for channel in 0..self.channels {
            self.transform(channel);
            for (level, bin) in self.levels.iter_mut().zip(&self.spectrum) {
                *level = decibel(*bin);
            }
            self.transform(self.channels + channel);
            let squares: f64 = self
                .levels
                .iter()
                .zip(&self.spectrum)
                .map(|(level, bin)| (level - decibel(*bin)).powi(2))
                .sum();
            self.sum += (squares / self.levels.len() as f64).sqrt();
        }
    }

    fn transform(&mut self, frame: usize) {
        let frame = &self.frames[frame * WINDOW..][..WINDOW];
        for ((to, x), w) in self.windowed.iter_mut().zip(frame).zip(&self.window) {
            *to = x * w;
        }
        self.transform
            .process_with_scratch(&mut self.windowed, &mut self.spectrum, &mut self.scratch)
            .expect("buffers of the transform's own making");
    }

    fn finish(mut self) -> f64 {
        if self.n_new > 0 {
            for frame in self.frames.chunks_mut(WINDOW) {
                frame[self.filled..].fill(0.0);
            }
            self.compare();
        }
        self.sum / (self.n_frames.max(1) * self.channels as u64) as f64
    }
}

/// L(X).
fn decibel(bin: Complex<f64>) -> f64 {
    10.0 * (bin.norm_sqr() + POWER_FLOOR).log10()
}
