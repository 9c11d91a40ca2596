//! How close a file's signal is to its original.

use std::fmt::Write as _;
use std::io::{Read, Seek};
use std::path::Path;

use asmr::file::AsmrReader;
use asmr::inference::{Precision, Request};
use asmr::signal::{Media, SignalInfo};
use asmr::walk::Region;
use asmr_media::{
    Comparison, Limits, SURFACE_LEVEL, Scores, SliceReader, compare_meshes, read_mesh, surface,
};
use serde::Serialize;

use crate::error::Failure;
use crate::pieces::{self, Tolerated, Wanted};
use crate::report::{decibels, similarity};

/// Points by which meshes are compared.
const MESH_POINTS: usize = 100_000;

/// [`Scores`], as they are told. What a kind of signal does not have is left out, but for PSNR and SSIM.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct QualityReport {
    pub(crate) psnr_db: Option<f64>,
    pub(crate) ssim: Option<f64>,
    /// In the signal's own units.
    pub(crate) max_abs_error: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    snr_db: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lsd_db: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psnr_db_mean: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psnr_db_worst: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ssim_worst: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iou: Option<f64>,
    /// In the mesh's units.
    #[serde(skip_serializing_if = "Option::is_none")]
    chamfer: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    normal_consistency: Option<f64>,
    /// How much worse the edges of blocks are than their inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    seam_db: Option<f64>,
}

impl QualityReport {
    fn new(scores: &Scores) -> Self {
        Self {
            psnr_db: scores.psnr_db,
            ssim: scores.ssim,
            max_abs_error: scores.max_abs_error,
            snr_db: scores.snr_db,
            lsd_db: scores.lsd_db,
            psnr_db_mean: scores.psnr_db_mean,
            psnr_db_worst: scores.psnr_db_worst,
            ssim_worst: scores.ssim_worst,
            iou: scores.iou,
            chamfer: None,
            normal_consistency: None,
            seam_db: scores.seam_db,
        }
    }
}

/// Decodes everything and compares it with the original, slices at a time. Of shapes the meshes are compared too, if the
/// mesh's file is given, with what it may ask for.
pub(crate) fn measure<R: Read + Seek>(
    reader: &mut AsmrReader<R>,
    path: &Path,
    original: &mut dyn SliceReader,
    mesh: Option<(&Path, Limits)>,
    precision: Precision,
) -> Result<QualityReport, Failure> {
    let header = reader.header().clone();
    let info = &header.signal;
    let partition = &header.network.partition;
    let last = partition.n_levels() - 1;
    let block: Vec<usize> = (0..partition.n_axes()).map(|axis| partition.base(axis, last)).collect();
    let mut comparison = Comparison::new(info, Some(&block));
    let request = Request { region: Region::whole(&info.extents), thumbnail: 1 };
    let wanted = Wanted { request, raw: false, precision, tolerated: Tolerated::Nothing };
    let slice = info.slice_values();
    pieces::decode(reader, path, &wanted, |piece| {
        let expected = original.read(piece.values.len() / slice)?;
        comparison.push(&expected, &piece.values, piece.first);
        Ok(())
    })?;
    let mut report = QualityReport::new(&comparison.finish());
    if let (Media::Shape(_), Some((mesh, limits))) = (&info.media, mesh) {
        let (values, _) = pieces::shape_values(reader, path, &wanted)?;
        let decoded = surface(info, &values, SURFACE_LEVEL)?;
        // Nothing decoded is no surface to compare: the IoU has said so.
        if !decoded.triangles.is_empty() {
            let scores = compare_meshes(&read_mesh(mesh, &limits)?, &decoded, MESH_POINTS, 0)?;
            report.chamfer = Some(scores.chamfer);
            report.normal_consistency = Some(scores.normal_consistency);
        }
    }
    Ok(report)
}

/// The lines on quality for people.
pub(crate) fn quality_lines(report: &QualityReport, info: &SignalInfo) -> String {
    let mut text = format!("  quality   {}{}", decibels(report.psnr_db), similarity(report.ssim));
    if let Some(snr_db) = report.snr_db {
        let _ = write!(text, ", {snr_db:.2} dB SNR");
    }
    if let Some(lsd_db) = report.lsd_db {
        let _ = write!(text, ", log-spectral distance {lsd_db:.2} dB");
    }
    if let Some(worst) = report.psnr_db_worst {
        let _ = write!(text, ", worst frame {worst:.2} dB");
    }
    if let Some(iou) = report.iou {
        let _ = write!(text, ", IoU {iou:.5}");
    }
    if let Some(chamfer) = report.chamfer {
        let _ = write!(text, ", Chamfer distance {chamfer:.6}");
    }
    if let Some(normals) = report.normal_consistency {
        let _ = write!(text, ", normal consistency {normals:.4}");
    }
    if let Some(seam_db) = report.seam_db {
        let _ = write!(text, ", seams {seam_db:+.1} dB");
    }
    let unit = if info.media.is_plain() { format!(" of {}", info.peak()) } else { String::new() };
    let _ = writeln!(text, ", largest error {}{unit}", report.max_abs_error);
    text
}
