//! A decoded signal against its original, slices at a time.

use asmr::metadata::Media;
use asmr::partition::is_block_edge;
use asmr::signal::{Samples, Signal, SignalInfo};
use asmr::with_samples;

use crate::metrics::{largest_difference, psnr_db_of_mse, squared_error_in, ssim, unit_near};
use crate::{AudioComparison, Overlap, VideoComparison};

/// Rows that two neighbouring places of the SSIM's window share.
const SHARED_ROWS: usize = 6;

/// How close a decoded signal is to its original. What does not exist for a kind of signal is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// Peak signal-to-noise ratio in dB over all values, the peak being [`SignalInfo::peak`]; `None` when exact.
    pub psnr_db: Option<f64>,
    /// Structural similarity ([`ssim`]): of a picture, or the mean over a film's frames.
    pub ssim: Option<f64>,
    /// The largest absolute difference, in stored values.
    pub max_abs_error: f64,
    /// Of sound: signal-to-noise ratio in dB; `None` when exact too.
    pub snr_db: Option<f64>,
    /// Of sound: log-spectral distance in dB.
    pub lsd_db: Option<f64>,
    /// Of a film: the mean over frames that are not exact.
    pub psnr_db_mean: Option<f64>,
    /// Of a film: the worst frame's.
    pub psnr_db_worst: Option<f64>,
    /// Of a film: the worst frame's.
    pub ssim_worst: Option<f64>,
    /// Of a shape: samples inside both over samples inside either.
    pub iou: Option<f64>,
    /// Mean squared error of samples at the edge of their block over that of the samples inside, in dB: above 0,
    /// seams are worse than the rest. `None` where blocks have no inside, or nothing differs.
    pub seam_db: Option<f64>,
}

/// Takes an original and a decoded signal, slices in order, and scores.
pub struct Comparison {
    info: SignalInfo,
    audio: Option<AudioComparison>,
    video: Option<VideoComparison>,
    rows: Option<RowSimilarity>,
    /// Of differences multiplied by `unit`.
    squares: f64,
    unit: f64,
    n_values: f64,
    max_abs_error: f64,
    overlap: Option<Overlap>,
    seams: Option<Seams>,
}

impl Comparison {
    /// For a signal; `block` has the extents of the network's last blocks, one per axis, for [`Scores::seam_db`].
    #[must_use]
    pub fn new(info: &SignalInfo, block: Option<&[usize]>) -> Self {
        let is_picture = info.media.is_plain() && info.extents.len() == 2;
        Self {
            audio: matches!(info.media, Media::Audio(_)).then(|| AudioComparison::new(info)),
            video: matches!(info.media, Media::Video(_)).then(|| VideoComparison::new(info)),
            rows: is_picture.then(|| RowSimilarity::new(info)),
            squares: 0.0,
            unit: unit_near(info.peak()),
            n_values: 0.0,
            max_abs_error: 0.0,
            overlap: matches!(info.media, Media::Shape(_)).then(Overlap::default),
            seams: block.map(|block| Seams::new(info, block)),
            info: info.clone(),
        }
    }

    /// Takes the next slices of both. `first` is their place in the chunk that they belong to (blocks begin anew in each).
    ///
    /// # Panics
    /// When types, lengths or whole slices do not match.
    pub fn push(&mut self, original: &Samples, decoded: &Samples, first: u64) {
        assert_eq!(original.sample_type(), decoded.sample_type(), "the same type");
        assert_eq!(original.len(), decoded.len(), "the same slices");
        if let Some(audio) = &mut self.audio {
            audio.push(original, decoded);
        }
        if let Some(video) = &mut self.video {
            video.push(original, decoded);
        }
        if let Some(rows) = &mut self.rows {
            rows.push(original, decoded);
        }
        self.squares += squared_error_in(self.unit, original, decoded);
        self.n_values += original.len() as f64;
        self.max_abs_error = self.max_abs_error.max(largest_difference(original, decoded));
        if let Some(overlap) = &mut self.overlap {
            *overlap += crate::overlap(&self.info, original, decoded);
        }
        if let Some(seams) = &mut self.seams {
            seams.push(original, decoded, first);
        }
    }

    /// The scores of all that was pushed.
    #[must_use]
    pub fn finish(self) -> Scores {
        let mse = self.squares / self.n_values.max(1.0) / (self.info.peak() * self.unit).powi(2);
        let mut scores = Scores {
            psnr_db: psnr_db_of_mse(mse),
            max_abs_error: self.max_abs_error,
            ssim: self.rows.and_then(RowSimilarity::finish),
            // Two empty shapes are the same.
            iou: self.overlap.map(|overlap| overlap.iou().unwrap_or(1.0)),
            seam_db: self.seams.and_then(|seams| seams.finish()),
            ..Scores::default()
        };
        if let Some(audio) = self.audio {
            let audio = audio.finish();
            scores.snr_db = audio.snr_db;
            scores.lsd_db = Some(audio.lsd_db);
        }
        if let Some(video) = self.video {
            let video = video.finish();
            scores.psnr_db_mean = video.psnr_db_mean;
            scores.psnr_db_worst = video.psnr_db_worst;
            scores.ssim = video.ssim_mean;
            scores.ssim_worst = video.ssim_worst;
        }
        scores
    }
}

/// The SSIM of a picture of which only some rows are held.
struct RowSimilarity {
    info: SignalInfo,
    /// The last rows of what came before.
    kept: Option<(Samples, Samples)>,
    sum: f64,
    n_rows: f64,
}

impl RowSimilarity {
    fn new(info: &SignalInfo) -> Self {
        Self { info: info.clone(), kept: None, sum: 0.0, n_rows: 0.0 }
    }

    fn push(&mut self, original: &Samples, decoded: &Samples) {
        let (original, decoded) = match self.kept.take() {
            Some((a, b)) => (joined(a, original), joined(b, decoded)),
            None => (original.clone(), decoded.clone()),
        };
        let row = self.info.slice_values();
        let n = original.len() / row;
        let kept = n.min(SHARED_ROWS);
        let tail = |samples: &Samples| samples.slice((n - kept) * row..n * row);
        self.kept = Some((tail(&original), tail(&decoded)));
        let part = self.info.slices(n);
        let signals = Signal::new(part.clone(), original).and_then(|a| Ok((a, Signal::new(part, decoded)?)));
        if n > SHARED_ROWS
            && let Ok((a, b)) = signals
            && let Ok(Some(mean)) = ssim(&a, &b)
        {
            // As many places of the window as rows beyond the shared ones.
            let places = (n - SHARED_ROWS) as f64;
            self.sum += mean * places;
            self.n_rows += places;
        }
    }

    fn finish(self) -> Option<f64> {
        (self.n_rows > 0.0).then(|| self.sum / self.n_rows)
    }
}

/// Two arrays of one type, one after the other.
fn joined(mut a: Samples, b: &Samples) -> Samples {
    match (&mut a, b) {
        (Samples::U8(a), Samples::U8(b)) => a.extend(b),
        (Samples::I8(a), Samples::I8(b)) => a.extend(b),
        (Samples::U16(a), Samples::U16(b)) => a.extend(b),
        (Samples::I16(a), Samples::I16(b)) => a.extend(b),
        (Samples::U32(a), Samples::U32(b)) => a.extend(b),
        (Samples::I32(a), Samples::I32(b)) => a.extend(b),
        (Samples::F32(a), Samples::F32(b)) => a.extend(b),
        (Samples::F64(a), Samples::F64(b)) => a.extend(b),
        _ => unreachable!("slices of one signal have one type"),
    }
    a
}

/// Squared errors of samples at the edge of a block, and of those inside.
struct Seams {
    extents: Vec<usize>,
    block: Vec<usize>,
    channels: usize,
    unit: f64,
    edge: (f64, u64),
    inside: (f64, u64),
}

impl Seams {
    fn new(info: &SignalInfo, block: &[usize]) -> Self {
        Self {
            extents: info.extents.clone(),
            block: block.to_vec(),
            channels: info.channels,
            unit: unit_near(info.peak()),
            edge: (0.0, 0),
            inside: (0.0, 0),
        }
    }

    fn push(&mut self, original: &Samples, decoded: &Samples, first: u64) {
        let n_axes = self.extents.len();
        let at_edge = |axis: usize, position: u64| is_block_edge(self.block[axis] as u64, position);
        let last = n_axes - 1;
        let along_last: Vec<bool> = (0..self.extents[last] as u64).map(|x| at_edge(last, x)).collect();
        let row = if n_axes == 1 { self.channels } else { self.extents[last] * self.channels };
        let errors: Vec<f64> = with_samples!(original, a => {
            a.iter().map(|&x| f64::from(x)).collect()
        });
        with_samples!(decoded, b => {
            for (i, (a, b)) in errors.chunks(row).zip(b.chunks(row)).enumerate() {
                let row_at_edge = if n_axes == 1 {
                    at_edge(0, first + i as u64)
                } else {
                    // The row's place along all axes but the last.
                    let mut rest = i as u64;
                    (0..last).rev().any(|axis| {
                        let extent = self.extents[axis] as u64;
                        let position = if axis == 0 { first + rest } else { rest % extent };
                        rest /= extent;
                        at_edge(axis, position)
                    })
                };
                for (x, (a, b)) in a.chunks(self.channels).zip(b.chunks(self.channels)).enumerate() {
                    let square: f64 = a.iter().zip(b).map(|(&a, &b)| ((a - f64::from(b)) * self.unit).powi(2)).sum();
                    let is_edge = row_at_edge || (n_axes > 1 && along_last[x]);
                    let sums = if is_edge { &mut self.edge } else { &mut self.inside };
                    sums.0 += square;
                    sums.1 += 1;
                }
            }
        });
    }

    fn finish(&self) -> Option<f64> {
        let mean = |(sum, n): (f64, u64)| (n > 0 && sum > 0.0).then(|| sum / n as f64);
        Some(10.0 * (mean(self.edge)? / mean(self.inside)?).log10())
    }
}
