//! How close one film is to another, frame by frame.

use asmr::signal::{Samples, Signal, SignalInfo};

use crate::metrics::{max_abs_error, mse, psnr_db_of_mse, ssim};

/// The scores of a film. Ratios are in dB, of values scaled to \[0, 1\]; `None` stands for infinite, where nothing
/// differs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct VideoScores {
    /// Peak signal-to-noise ratio over all values of all frames together.
    pub psnr_db: Option<f64>,
    /// The mean of the frames' ratios. Exact frames, whose ratio is infinite, are left out; `None` if all are exact.
    pub psnr_db_mean: Option<f64>,
    /// The worst frame's ratio; `None` if all are exact.
    pub psnr_db_worst: Option<f64>,
    /// The frame with the worst ratio, counted from 0 at the first that was compared (of equal ones the first); `None` if
    /// all are exact.
    pub worst_frame: Option<u64>,
    /// The mean of the frames' structural similarities ([`ssim`]), over all frames; `None` for frames with a side below 7.
    pub ssim_mean: Option<f64>,
    /// The worst frame's structural similarity.
    pub ssim_worst: Option<f64>,
    /// The largest difference of two values, in stored values.
    pub max_abs_error: f64,
    /// Frames that were compared.
    pub n_frames: u64,
    /// Frames without any difference.
    pub n_exact_frames: u64,
}

/// Takes an original and a decoded film, frames in order, and scores. It holds two frames.
#[derive(Clone, Debug)]
pub struct VideoComparison {
    /// One frame.
    frame: SignalInfo,
    mse_sum: f64,
    psnr_sum: f64,
    ssim_sum: Option<f64>,
    scores: VideoScores,
}

impl VideoComparison {
    /// For films of this kind; the number of frames does not matter.
    #[must_use]
    pub fn new(info: &SignalInfo) -> Self {
        let frame =
            SignalInfo::plain(info.extents[1..].to_vec(), info.channels, info.sample_type, info.color);
        Self { frame, mse_sum: 0.0, psnr_sum: 0.0, ssim_sum: Some(0.0), scores: VideoScores::default() }
    }

    /// Takes the next frames of both.
    ///
    /// # Panics
    /// When types or lengths differ, or frames are not whole.
    pub fn push(&mut self, original: &Samples, decoded: &Samples) {
        let n_values = self.frame.n_values().map_or(usize::MAX, |n| n as usize);
        assert_eq!(original.len(), decoded.len(), "the same frames");
        assert_eq!(original.len() % n_values, 0, "whole frames");
        let frame = |samples: &Samples, start: usize| {
            Signal::new(self.frame.clone(), samples.slice(start..start + n_values))
                .expect("a frame is a picture")
        };
        for start in (0..original.len()).step_by(n_values) {
            let (a, b) = (frame(original, start), frame(decoded, start));
            let error = mse(&a, &b).expect("frames are alike");
            self.mse_sum += error;
            let scores = &mut self.scores;
            match psnr_db_of_mse(error) {
                None => scores.n_exact_frames += 1,
                Some(psnr) => {
                    self.psnr_sum += psnr;
                    if scores.psnr_db_worst.is_none_or(|worst| psnr < worst) {
                        scores.psnr_db_worst = Some(psnr);
                        scores.worst_frame = Some(scores.n_frames);
                    }
                }
            }
            let similarity = ssim(&a, &b).expect("frames are alike");
            self.ssim_sum = self.ssim_sum.zip(similarity).map(|(sum, similarity)| sum + similarity);
            if let Some(similarity) = similarity {
                scores.ssim_worst = Some(scores.ssim_worst.map_or(similarity, |worst| worst.min(similarity)));
            }
            scores.max_abs_error = scores.max_abs_error.max(max_abs_error(&a, &b).expect("frames are alike"));
            scores.n_frames += 1;
        }
    }

    /// The scores of all that was pushed.
    #[must_use]
    pub fn finish(self) -> VideoScores {
        let n = self.scores.n_frames;
        if n == 0 {
            return self.scores;
        }
        let n_inexact = n - self.scores.n_exact_frames;
        VideoScores {
            psnr_db: psnr_db_of_mse(self.mse_sum / n as f64),
            psnr_db_mean: (n_inexact > 0).then(|| self.psnr_sum / n_inexact as f64),
            ssim_mean: self.ssim_sum.map(|sum| sum / n as f64),
            ..self.scores
        }
    }
}
