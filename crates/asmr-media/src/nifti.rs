//! NIfTI-1: its 348-byte header, kept whole, and where its values are.
//!
//! The format has x as its fastest axis, so the signal's axes are `[z, y, x]`, with time before them where there are
//! four. Values stay as stored: `scl_slope` and `scl_inter` are in the header, and apply to what is written as well.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use asmr::metadata::{Media, Volume, VolumeContainer};
use asmr::signal::{SampleType, SignalInfo};
use flate2::read::MultiGzDecoder;

use crate::error::MediaError;
use crate::image_read::Limits;
use crate::linear::{Layout, Packing, Stored, open_linear};
use crate::stream::SliceReader;
use crate::volume::VolumeOptions;

/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 348;
/// What a gzip file starts with.
pub(crate) const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
/// Where values start in what is written: after the header and four bytes that say "no extension".
pub(crate) const VALUES_AT: usize = 352;
/// The greatest extent its 16-bit fields hold.
pub(crate) const MAX_EXTENT: usize = i16::MAX as usize;
/// Extensions may lie before the values, but not without end.
const MAX_VALUES_AT: f32 = 1_073_741_824.0;

// Where the fields lie.
const DIM: usize = 40;
const DATATYPE: usize = 70;
const BITPIX: usize = 72;
const SLICE_START: usize = 74;
const PIXDIM: usize = 76;
const VOX_OFFSET: usize = 108;
const SCL_SLOPE: usize = 112;
const SLICE_END: usize = 120;
const SLICE_CODE: usize = 122;
const XYZT_UNITS: usize = 123;
const TOFFSET: usize = 136;
const QFORM_CODE: usize = 252;
const SFORM_CODE: usize = 254;
const QUATERN: usize = 256;
const QOFFSET: usize = 268;
const SROW: usize = 280;
const MAGIC: usize = 344;

/// The first bytes of a file, unpacked: enough to recognise it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recognised {
    /// Version 1.
    One,
    /// Version 2, which is not read.
    Two,
}

/// Whether bytes (at least a header's) start such a file.
pub(crate) fn recognise(start: &[u8]) -> Option<Recognised> {
    let magic = start.get(MAGIC..MAGIC + 4);
    if magic.is_some_and(|magic| magic == b"n+1\0" || magic == b"ni1\0") {
        return Some(Recognised::One);
    }
    start.get(4..7).is_some_and(|magic| magic == b"n+2" || magic == b"ni2").then_some(Recognised::Two)
}

/// The header, read and changed field by field, in its own byte order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    bytes: Vec<u8>,
    is_big_endian: bool,
}

impl Header {
    /// Recognises the byte order; `None` if it is no header.
    pub(crate) fn new(bytes: Vec<u8>) -> Option<Self> {
        if bytes.len() != HEADER_BYTES {
            return None;
        }
        let size = [bytes[0], bytes[1], bytes[2], bytes[3]];
        let is_big_endian = match (i32::from_le_bytes(size), i32::from_be_bytes(size)) {
            (348, _) => false,
            (_, 348) => true,
            _ => return None,
        };
        Some(Self { bytes, is_big_endian })
    }

    /// A header for an array of which no more is known than the distance of its samples: no orientation.
    pub(crate) fn fresh(spacing: &[f64], unit: &str, is_big_endian: bool) -> Self {
        let mut header = Self { bytes: vec![0; HEADER_BYTES], is_big_endian };
        header.set(0, if is_big_endian { 348i32.to_be_bytes() } else { 348i32.to_le_bytes() });
        header.bytes[38] = b'r';
        for i in 0..8 {
            header.set_f32(PIXDIM + 4 * i, 1.0);
        }
        for (i, &spacing) in spacing.iter().rev().enumerate() {
            header.set_f32(PIXDIM + 4 * (i + 1), spacing as f32);
        }
        header.set_f32(SCL_SLOPE, 1.0);
        header.bytes[XYZT_UNITS] = match unit {
            "m" => 1,
            "mm" => 2,
            "um" => 3,
            _ => 0,
        };
        header
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn is_big_endian(&self) -> bool {
        self.is_big_endian
    }

    fn set<const N: usize>(&mut self, at: usize, value: [u8; N]) {
        self.bytes[at..at + N].copy_from_slice(&value);
    }

    fn i16(&self, at: usize) -> i16 {
        let bytes = [self.bytes[at], self.bytes[at + 1]];
        if self.is_big_endian { i16::from_be_bytes(bytes) } else { i16::from_le_bytes(bytes) }
    }

    fn set_i16(&mut self, at: usize, value: i16) {
        self.set(at, if self.is_big_endian { value.to_be_bytes() } else { value.to_le_bytes() });
    }

    fn f32(&self, at: usize) -> f32 {
        let bytes = [self.bytes[at], self.bytes[at + 1], self.bytes[at + 2], self.bytes[at + 3]];
        if self.is_big_endian { f32::from_be_bytes(bytes) } else { f32::from_le_bytes(bytes) }
    }

    fn set_f32(&mut self, at: usize, value: f32) {
        self.set(at, if self.is_big_endian { value.to_be_bytes() } else { value.to_le_bytes() });
    }

    /// Extents as stored, fastest axis first.
    fn dims(&self) -> Result<Vec<usize>, String> {
        let n = self.i16(DIM);
        if !(1..=7).contains(&n) {
            return Err(format!("its header tells {n} axes; it has 1 to 7"));
        }
        (1..=n as usize)
            .map(|i| {
                let extent = self.i16(DIM + 2 * i);
                usize::try_from(extent).ok().filter(|&extent| extent > 0).ok_or_else(|| {
                    format!("its axis {i} has extent {extent}; an extent is 1 to {MAX_EXTENT}")
                })
            })
            .collect()
    }

    /// The type and the channels of a sample.
    fn sample_type(&self) -> Result<(SampleType, usize), String> {
        let name = match self.i16(DATATYPE) {
            2 => return Ok((SampleType::U8, 1)),
            4 => return Ok((SampleType::I16, 1)),
            8 => return Ok((SampleType::I32, 1)),
            16 => return Ok((SampleType::F32, 1)),
            64 => return Ok((SampleType::F64, 1)),
            128 => return Ok((SampleType::U8, 3)),
            256 => return Ok((SampleType::I8, 1)),
            512 => return Ok((SampleType::U16, 1)),
            768 => return Ok((SampleType::U32, 1)),
            2304 => return Ok((SampleType::U8, 4)),
            1 => "single bits",
            32 | 1792 | 2048 => "complex numbers",
            1024 => "64-bit signed integers",
            1280 => "64-bit unsigned integers",
            1536 => "128-bit floats",
            _ => "an unknown type",
        };
        Err(format!(
            "its values are {name} (datatype {}); accepted are integers of 8, 16 and 32 bits, floats of 32 and 64 bits, and RGB; convert it first",
            self.i16(DATATYPE)
        ))
    }

    /// Slope and intercept of values, unless they are 1 and 0. A slope of 0 says that there are none, and colours have none.
    pub(crate) fn scaling(&self) -> Option<[f32; 2]> {
        let (slope, intercept) = (self.f32(SCL_SLOPE), self.f32(SCL_SLOPE + 4));
        let is_color = self.sample_type().is_ok_and(|(_, channels)| channels > 1);
        let is_told = slope.is_finite() && intercept.is_finite() && slope != 0.0 && !is_color;
        (is_told && (slope, intercept) != (1.0, 0.0)).then_some([slope, intercept])
    }

    /// Distance of samples along the first `n` axes, slowest first; empty if one is no number.
    fn spacing(&self, n: usize) -> Vec<f64> {
        let spacing: Vec<f64> = (1..=n)
            .rev()
            // The shortest decimal that gives this float: 0.957, not 0.9570000171661377.
            .map(|i| self.f32(PIXDIM + 4 * i).abs().to_string().parse().unwrap_or(f64::NAN))
            .collect();
        if spacing.iter().all(|s| s.is_finite()) { spacing } else { Vec::new() }
    }

    fn unit(&self) -> &'static str {
        match self.bytes[XYZT_UNITS] & 7 {
            1 => "m",
            2 => "mm",
            3 => "um",
            _ => "",
        }
    }

    /// Makes the header fit a signal: its extents and type, and values right behind it.
    pub(crate) fn describe(&mut self, info: &SignalInfo) {
        let axes = info.extents.len();
        let before = self.dims().unwrap_or_default();
        // Axes of 1 at the slow end are dropped when reading, and come back.
        let n = if before.len() > axes && before[axes..].iter().all(|&extent| extent == 1) {
            before.len()
        } else {
            axes
        };
        self.set_i16(DIM, n as i16);
        for i in 1..=7 {
            let extent = if i <= axes { info.extents[axes - i] } else { 1 };
            self.set_i16(DIM + 2 * i, extent as i16);
        }
        let is_cut =
            before.len() < axes.min(3) || (1..=axes.min(3)).any(|i| before[i - 1] != info.extents[axes - i]);
        if is_cut {
            // The order in which slices were taken; it tells nothing about a part of them.
            self.set_i16(SLICE_START, 0);
            self.set_i16(SLICE_END, 0);
            self.bytes[SLICE_CODE] = 0;
        }
        let datatype = match (info.sample_type, info.channels) {
            (SampleType::U8, 3) => 128,
            (SampleType::U8, 4) => 2304,
            (SampleType::U8, _) => 2,
            (SampleType::I8, _) => 256,
            (SampleType::U16, _) => 512,
            (SampleType::I16, _) => 4,
            (SampleType::U32, _) => 768,
            (SampleType::I32, _) => 8,
            (SampleType::F32, _) => 16,
            (SampleType::F64, _) => 64,
        };
        self.set_i16(DATATYPE, datatype);
        self.set_i16(BITPIX, (info.sample_type.n_bytes() * info.channels * 8) as i16);
        self.set_f32(VOX_OFFSET, VALUES_AT as f32);
        self.set(MAGIC, *b"n+1\0");
    }

    /// Moves and stretches the grid so that sample `i` is where sample `first + i · step` was, along each axis, slowest
    /// first: both affine transforms, the distances and the start in time.
    pub(crate) fn resample(&mut self, first: &[f64], step: &[f64]) {
        let n = first.len().min(step.len());
        let at = |values: &[f64], axis: usize, otherwise: f64| {
            if axis < n { values[n - 1 - axis] } else { otherwise }
        };
        if self.i16(SFORM_CODE) > 0 {
            for row in 0..3 {
                let field = |column: usize| SROW + 16 * row + 4 * column;
                let columns: [f64; 3] = std::array::from_fn(|column| f64::from(self.f32(field(column))));
                let moved: f64 = (0..3).map(|axis| columns[axis] * at(first, axis, 0.0)).sum();
                self.set_f32(field(3), (f64::from(self.f32(field(3))) + moved) as f32);
                for (axis, column) in columns.iter().enumerate() {
                    self.set_f32(field(axis), (column * at(step, axis, 1.0)) as f32);
                }
            }
        }
        if self.i16(QFORM_CODE) > 0 {
            let rotation = self.rotation();
            let handedness = if self.f32(PIXDIM) < 0.0 { -1.0 } else { 1.0 };
            let shift: [f64; 3] = std::array::from_fn(|axis| {
                let sign = if axis == 2 { handedness } else { 1.0 };
                at(first, axis, 0.0) * sign * f64::from(self.f32(PIXDIM + 4 * (axis + 1)))
            });
            for (row, rotation) in rotation.iter().enumerate() {
                let moved: f64 = rotation.iter().zip(shift).map(|(r, s)| r * s).sum();
                let field = QOFFSET + 4 * row;
                self.set_f32(field, (f64::from(self.f32(field)) + moved) as f32);
            }
        }
        let time = f64::from(self.f32(PIXDIM + 16)) * at(first, 3, 0.0);
        self.set_f32(TOFFSET, (f64::from(self.f32(TOFFSET)) + time) as f32);
        for axis in 0..n {
            let field = PIXDIM + 4 * (axis + 1);
            self.set_f32(field, (f64::from(self.f32(field)) * at(step, axis, 1.0)) as f32);
        }
    }

    /// The rotation of the quaternion, row by row.
    fn rotation(&self) -> [[f64; 3]; 3] {
        let [b, c, d]: [f64; 3] = std::array::from_fn(|i| f64::from(self.f32(QUATERN + 4 * i)));
        let a = (1.0 - (b * b + c * c + d * d)).max(0.0).sqrt();
        [
            [a * a + b * b - c * c - d * d, 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
            [2.0 * (b * c + a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d - a * b)],
            [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    }
}

/// Opens a `.nii`, a `.nii.gz` or the header of a pair `.hdr` and `.img`.
pub(crate) fn open_nifti(
    path: &Path,
    options: &VolumeOptions,
    limits: &Limits,
) -> Result<Box<dyn SliceReader>, MediaError> {
    let mut stored = Stored {
        path: path.to_path_buf(),
        file: path.to_path_buf(),
        format: "NIfTI-1",
        packing: packing(path).map_err(|error| MediaError::Read { path: path.to_path_buf(), error })?,
        offset: 0,
    };
    if options.spacing.is_some() {
        return Err(stored.unusable("it tells its spacing itself; leave the spacing out".to_owned()));
    }
    let mut start = Vec::new();
    let mut bytes = stored.open().map_err(|error| stored.explain(error))?;
    bytes
        .by_ref()
        .take(HEADER_BYTES as u64)
        .read_to_end(&mut start)
        .map_err(|error| stored.explain(error))?;
    match recognise(&start) {
        Some(Recognised::One) => {}
        Some(Recognised::Two) => {
            return Err(stored.unusable(
                "it is NIfTI-2, which is not read; convert it to NIfTI-1 (nifti_convert, or nibabel) first"
                    .to_owned(),
            ));
        }
        None if start.len() < HEADER_BYTES => {
            return Err(
                stored.damaged(format!("it has {} of the header's {HEADER_BYTES} bytes", start.len()))
            );
        }
        None => return Err(stored.damaged("the magic n+1 or ni1 is missing from its header".to_owned())),
    }
    let Some(header) = Header::new(start) else {
        return Err(stored.damaged("its header does not start with its own length, 348".to_owned()));
    };
    let mut dims = header.dims().map_err(|problem| stored.damaged(problem))?;
    while dims.len() > 1 && dims.last() == Some(&1) {
        dims.pop();
    }
    dims.reverse();
    let (sample_type, channels) = header.sample_type().map_err(|problem| stored.unusable(problem))?;
    let is_pair = header.bytes()[MAGIC + 1] == b'i';
    let offset = header.f32(VOX_OFFSET);
    let least = if is_pair { 0.0 } else { VALUES_AT as f32 };
    if !(0.0..=MAX_VALUES_AT).contains(&offset) {
        return Err(stored.damaged(format!("its values start at byte {offset}")));
    }
    // Some writers leave 0 where the values can start no earlier than behind the header.
    stored.offset = offset.max(least) as u64;
    if is_pair {
        stored.file = image_file(path);
        stored.packing =
            packing(&stored.file).map_err(|error| MediaError::Read { path: stored.file.clone(), error })?;
    }
    let volume = Volume {
        container: VolumeContainer::Nifti,
        spacing: header.spacing(dims.len()),
        unit: header.unit().to_owned(),
        header: to_hex(header.bytes()),
        array: String::new(),
        big_endian: header.is_big_endian(),
    };
    let info =
        SignalInfo { media: Media::Volume(volume), ..SignalInfo::plain(dims, channels, sample_type, None) };
    open_linear(info, stored, Layout { is_big_endian: header.is_big_endian(), is_fortran: false }, limits)
}

/// Whether a file is packed by gzip.
fn packing(path: &Path) -> std::io::Result<Packing> {
    let mut magic = Vec::new();
    File::open(path)?.take(2).read_to_end(&mut magic)?;
    Ok(if magic == GZIP_MAGIC { Packing::Gzip } else { Packing::None })
}

/// The first bytes of what a gzip file holds; fewer if it is damaged.
pub(crate) fn unpacked_start(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut start = Vec::new();
    let file = BufReader::new(File::open(path)?);
    // What is damaged is read up to the damage.
    drop(MultiGzDecoder::new(file).take(HEADER_BYTES as u64).read_to_end(&mut start));
    Ok(start)
}

/// The file with the values of a header of its own: `a.img` or `a.img.gz` beside `a.hdr` or `a.hdr.gz`.
fn image_file(path: &Path) -> PathBuf {
    let plain = if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz")) {
        path.with_extension("")
    } else {
        path.to_path_buf()
    };
    let image = plain.with_extension("img");
    let packed = plain.with_extension("img.gz");
    if packed.exists() && !image.exists() { packed } else { image }
}

fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|&b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]])
        .map(char::from)
        .collect()
}

/// The header that a volume keeps; `None` if it keeps none of that format.
pub(crate) fn kept_header(volume: &Volume) -> Option<Header> {
    let digits = volume.header.as_bytes().chunks_exact(2);
    let bytes = digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    Header::new(bytes.collect::<Option<Vec<u8>>>()?)
}

/// [`Header::resample`] of what a volume keeps.
pub(crate) fn resampled_header(volume: &Volume, first: &[f64], step: &[f64]) -> Option<String> {
    let mut header = kept_header(volume)?;
    header.resample(first, step);
    Some(to_hex(header.bytes()))
}
