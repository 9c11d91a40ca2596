//! Any kind of signal by one call: recognised from its content, read and written as slices.

use std::io;
use std::path::Path;

use asmr::metadata::{Media, Shape, ShapeField, VolumeContainer};
use asmr::signal::{SampleType, SignalInfo};

use crate::error::MediaError;
use crate::picture_rows::left_out;
use crate::stream::{SliceReader, SliceWriter};
use crate::volume::is_npy;
use crate::{
    AudioPart, FrameRange, Limits, ShapeOptions, ShapeReader, VolumeOptions, create_audio, create_picture,
    create_video, create_volume, is_audio, is_mesh, is_video, open_audio, open_audio_frames, open_picture,
    open_video, open_volume, value_scaling, volume_kind,
};

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A picture.
    Picture,
    /// Sound.
    Audio,
    /// A film.
    Video,
    /// A volume or another array.
    Volume,
    /// A triangle mesh.
    Shape,
}

impl Kind {
    /// As in a sentence.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Picture => "picture",
            Self::Audio => "recording",
            Self::Video => "film",
            Self::Volume => "volume",
            Self::Shape => "mesh",
        }
    }
}

/// What is cut from a file, or how it is sampled. What does not concern a file's kind is refused.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadOptions {
    /// Seconds of a recording that are skipped.
    pub start_s: Option<f64>,
    /// Seconds of a recording that are read.
    pub duration_s: Option<f64>,
    /// Frames of a film.
    pub frames: Option<FrameRange>,
    /// Extents of plain values without a header, slowest axis first.
    pub shape: Option<Vec<usize>>,
    /// Their type.
    pub dtype: Option<SampleType>,
    /// Whether they have the high byte first.
    pub big_endian: bool,
    /// Distance of neighbouring samples along each axis.
    pub spacing: Option<Vec<f64>>,
    /// The name of an array in a file with several.
    pub array: Option<String>,
    /// Samples along each side of a mesh's grid.
    pub resolution: Option<usize>,
    /// What a mesh's grid tells.
    pub field: Option<ShapeField>,
    /// Limits of what is held in memory.
    pub limits: Limits,
}

/// What a file holds, by its content. A file of plain values is a volume if `options` has a shape.
///
/// # Errors
/// [`MediaError::Read`].
pub fn recognise(path: &Path, options: &ReadOptions) -> Result<Kind, MediaError> {
    let unreadable = |error| MediaError::Read { path: path.to_path_buf(), error };
    if options.shape.is_some() {
        return Ok(Kind::Volume);
    }
    if volume_kind(path).map_err(unreadable)?.is_some() {
        return Ok(Kind::Volume);
    }
    if is_video(path).map_err(unreadable)? {
        return Ok(Kind::Video);
    }
    if std::fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Err(unreadable(io::Error::new(
            io::ErrorKind::IsADirectory,
            "it is a folder; give the name of a file in it, or a folder of .png frames or a .zarr array",
        )));
    }
    if is_audio(path).map_err(unreadable)? {
        return Ok(Kind::Audio);
    }
    if is_mesh(path) {
        return Ok(Kind::Shape);
    }
    // Anything else is tried as a picture, whose reader says best what it is not.
    Ok(Kind::Picture)
}

/// Opens a signal of any kind.
///
/// # Errors
/// [`MediaError`] when the file cannot be read, or an option does not concern its kind.
pub fn open_signal(path: &Path, options: &ReadOptions) -> Result<Opened, MediaError> {
    let kind = recognise(path, options)?;
    check_options(path, kind, options)?;
    let mut notes = Vec::new();
    let reader: Box<dyn SliceReader> = match kind {
        Kind::Picture => {
            let reader = open_picture(path, &options.limits)?;
            notes.extend(left_out(path));
            reader
        }
        Kind::Audio => {
            let part = AudioPart { start_s: options.start_s.unwrap_or(0.0), duration_s: options.duration_s };
            Box::new(open_audio(path, &part)?)
        }
        Kind::Video => open_video(path, &options.frames.clone().unwrap_or_default(), &options.limits)?,
        Kind::Volume => {
            let volume = VolumeOptions {
                shape: options.shape.clone(),
                dtype: options.dtype,
                big_endian: options.big_endian,
                spacing: options.spacing.clone(),
                array: options.array.clone(),
                ..VolumeOptions::default()
            };
            let reader = open_volume(path, &volume, &options.limits)?;
            if let Media::Volume(volume) = &reader.info().media
                && let Some([slope, intercept]) = value_scaling(volume)
            {
                notes.push(format!(
                    "its values mean {slope} times what is stored, plus {intercept}; that is kept and not applied, so errors and bounds on \
                     them are in stored units"
                ));
            }
            reader
        }
        Kind::Shape => {
            let mut shape = ShapeOptions::default();
            shape.resolution = options.resolution.unwrap_or(shape.resolution);
            shape.field = options.field.unwrap_or(shape.field);
            let reader = ShapeReader::open(path, &shape, &options.limits)?;
            notes.extend(reader.notes().remarks());
            Box::new(reader)
        }
    };
    Ok(Opened { kind, reader, notes })
}

/// An opened signal.
pub struct Opened {
    /// What it is.
    pub kind: Kind,
    /// Its values.
    pub reader: Box<dyn SliceReader>,
    /// What should be said about it: guesses that were made, and what is left out.
    pub notes: Vec<String>,
}

/// Opens an original again, cut and sampled as it was when `info` was made of it.
///
/// # Errors
/// As [`open_signal`].
pub fn reopen_signal(path: &Path, info: &SignalInfo, limits: &Limits) -> Result<Opened, MediaError> {
    let mut options = ReadOptions { limits: *limits, ..ReadOptions::default() };
    match &info.media {
        Media::Plain => {}
        Media::Audio(audio) => {
            let is_sound = recognise(path, &options)? == Kind::Audio;
            if is_sound {
                let reader = open_audio_frames(path, audio.start, info.extents[0] as u64)?;
                return Ok(Opened { kind: Kind::Audio, reader: Box::new(reader), notes: Vec::new() });
            }
        }
        Media::Video(video) => {
            let end = video.first_frame + info.extents[0] as u64;
            options.frames =
                Some(FrameRange { start: video.first_frame, end: Some(end), rate: Some(video.rate) });
        }
        Media::Volume(volume) => {
            // Another file with the same values may tell more or less about itself.
            let unreadable = |error| MediaError::Read { path: path.to_path_buf(), error };
            let kind = volume_kind(path).map_err(unreadable)?;
            let has_arrays = match kind {
                Some(VolumeContainer::Npy) => !is_npy(path).map_err(unreadable)?,
                kind => kind == Some(VolumeContainer::Zarr),
            };
            if has_arrays && !volume.array.is_empty() {
                options.array = Some(volume.array.clone());
            }
            if kind.is_none() && volume.container == VolumeContainer::Raw {
                options.shape = Some(info.extents.clone());
                options.dtype = Some(info.sample_type);
                options.big_endian = volume.big_endian;
                options.spacing = (!volume.spacing.is_empty()).then(|| volume.spacing.clone());
            }
        }
        Media::Shape(Shape { field, .. }) => {
            options.resolution = info.extents.iter().copied().max();
            options.field = Some(*field);
        }
    }
    open_signal(path, &options)
}

/// Refuses options that mean nothing for a kind.
fn check_options(path: &Path, kind: Kind, options: &ReadOptions) -> Result<(), MediaError> {
    let given = [
        (options.start_s.is_some(), Kind::Audio, "--start"),
        (options.duration_s.is_some(), Kind::Audio, "--duration"),
        (options.frames.is_some(), Kind::Video, "--frames"),
        (options.shape.is_some(), Kind::Volume, "--shape"),
        (options.dtype.is_some(), Kind::Volume, "--dtype"),
        (options.big_endian, Kind::Volume, "--big-endian"),
        (options.spacing.is_some(), Kind::Volume, "--spacing"),
        (options.array.is_some(), Kind::Volume, "--array"),
        (options.resolution.is_some(), Kind::Shape, "--resolution"),
        (options.field.is_some(), Kind::Shape, "--field"),
    ];
    for (is_given, concerns, option) in given {
        if is_given && kind != concerns {
            return Err(MediaError::Unusable {
                path: path.to_path_buf(),
                problem: format!(
                    "{option} is for a {}, and this is a {}; leave it out",
                    concerns.name(),
                    kind.name()
                ),
            });
        }
    }
    if options.shape.is_some() != options.dtype.is_some() {
        return Err(MediaError::Unusable {
            path: path.to_path_buf(),
            problem: "plain values need both --shape and --dtype, as in --shape 108,256,256 --dtype i16"
                .to_owned(),
        });
    }
    Ok(())
}

/// Begins a file for a signal, in the format that the path's extension names.
///
/// # Errors
/// [`MediaError`] for an extension that names no format for this kind of signal, a format that cannot hold it, and
/// a place that cannot be written.
pub fn create_signal(path: &Path, info: &SignalInfo) -> Result<Box<dyn SliceWriter>, MediaError> {
    match &info.media {
        Media::Audio(_) => create_audio(path, info),
        Media::Video(_) => create_video(path, info),
        Media::Shape(_) => Err(MediaError::Unusable {
            path: path.to_path_buf(),
            problem: "a shape is written as a whole".to_owned(),
        }),
        // Arrays of one to four channels on two axes are pictures too.
        Media::Plain if info.extents.len() == 2 && info.channels <= 4 && info.value_range.is_none() => {
            create_picture(path, info)
        }
        Media::Volume(_) | Media::Plain => create_volume(path, info),
    }
}
