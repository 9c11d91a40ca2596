//! Baselines of any kind: what a comparison lists, and how they are stored.

use std::ops::{ControlFlow, Range};

use asmr::signal::Source;
use asmr_kernels::IsaLevel;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ffn::{Ffn, FfnSettings};
use crate::field::{self, Field, FieldCost, FieldError, Shape};
use crate::fit::{self, FitOptions, Fitted, Recipe, StepEvent};
use crate::kilonerf::{KiloNerf, KiloNerfSettings};
use crate::loe::{Loe, LoeSettings, usual_tiles};
use crate::ngp::{Ngp, NgpSettings};
use crate::plenoxels::{Plenoxels, PlenoxelsSettings};
use crate::siren::{Siren, SirenSettings};
use crate::unshared::{Unshared, UnsharedSettings};
use crate::wire::{Wire, WireSettings};

/// A [`Field`] without its types. See there for what the methods mean.
pub trait Baseline: Send + Sync {
    /// The method's name, in lower case.
    fn name(&self) -> &'static str;
    /// The grid.
    fn shape(&self) -> &Shape;
    /// Stored numbers.
    fn n_params(&self) -> usize;
    /// Initial weights.
    fn init(&self, seed: u64) -> Vec<f32>;
    /// What evaluation costs.
    fn cost(&self) -> FieldCost;
    /// How the method's authors fit it.
    fn recipe(&self) -> Recipe;
    /// Fits to a signal; see [`fit::fit`].
    ///
    /// # Errors
    /// As there.
    fn fit(
        &self,
        source: &dyn Source,
        options: &FitOptions,
        on_step: &mut dyn FnMut(&StepEvent) -> ControlFlow<()>,
    ) -> Result<Fitted, FieldError>;
    /// Values of consecutive samples; see [`field::decode`].
    ///
    /// # Errors
    /// As there.
    fn decode(&self, params: &[f32], samples: Range<usize>, isa: IsaLevel) -> Result<Vec<f32>, FieldError>;
    /// Makes weights ready, once, for any number of decodes of the whole grid.
    ///
    /// # Errors
    /// [`FieldError::Params`].
    fn decoder<'a>(&'a self, params: &'a [f32], isa: IsaLevel) -> Result<WholeDecoder<'a>, FieldError>;
    /// Likewise for some samples, which rise.
    ///
    /// # Errors
    /// As there.
    fn decoder_at<'a>(
        &'a self,
        params: &'a [f32],
        samples: Vec<u32>,
        isa: IsaLevel,
    ) -> Result<WholeDecoder<'a>, FieldError>;
}

/// Writes the values of all samples, or of those it was made for, rows × channels, on the threads of the current pool. It
/// panics when given room for more samples than there are, or for a part of one.
pub type WholeDecoder<'a> = Box<dyn Fn(&mut [f32]) + Send + Sync + 'a>;

impl<F: Field> Baseline for F {
    fn name(&self) -> &'static str {
        Field::name(self)
    }

    fn shape(&self) -> &Shape {
        Field::shape(self)
    }

    fn n_params(&self) -> usize {
        Field::n_params(self)
    }

    fn init(&self, seed: u64) -> Vec<f32> {
        Field::init(self, seed)
    }

    fn cost(&self) -> FieldCost {
        Field::cost(self)
    }

    fn recipe(&self) -> Recipe {
        Field::recipe(self)
    }

    fn fit(
        &self,
        source: &dyn Source,
        options: &FitOptions,
        on_step: &mut dyn FnMut(&StepEvent) -> ControlFlow<()>,
    ) -> Result<Fitted, FieldError> {
        fit::fit(self, source, options, on_step)
    }

    fn decode(&self, params: &[f32], samples: Range<usize>, isa: IsaLevel) -> Result<Vec<f32>, FieldError> {
        field::decode(self, params, samples, isa)
    }

    fn decoder<'a>(&'a self, params: &'a [f32], isa: IsaLevel) -> Result<WholeDecoder<'a>, FieldError> {
        field::check_params(self, params.len())?;
        let mut model = self.model(isa);
        self.load(&mut model, params);
        Ok(Box::new(move |out| field::evaluate(self, &model, params, 0, out)))
    }

    fn decoder_at<'a>(
        &'a self,
        params: &'a [f32],
        samples: Vec<u32>,
        isa: IsaLevel,
    ) -> Result<WholeDecoder<'a>, FieldError> {
        field::check_params(self, params.len())?;
        let mut model = self.model(isa);
        self.load(&mut model, params);
        Ok(Box::new(move |out| field::evaluate_at(self, &model, params, &samples, out)))
    }
}

/// A method and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Method {
    /// A SIREN.
    Siren(SirenSettings),
    /// Fourier features.
    Ffn(FfnSettings),
    /// A grid of tiny networks.
    KiloNerf(KiloNerfSettings),
    /// Layers that choose their matrix by position.
    Loe(LoeSettings),
    /// A multiresolution hash grid.
    Ngp(NgpSettings),
    /// Complex Gabor wavelets.
    Wire(WireSettings),
    /// An explicit grid.
    Plenoxels(PlenoxelsSettings),
    /// ASMR without sharing, to see what sharing does; no rival.
    Unshared(UnsharedSettings),
}

impl Method {
    /// Names that [`Method::usual`] knows.
    pub const NAMES: [&str; 7] = ["siren", "ffn", "kilonerf", "loe", "ngp", "wire", "plenoxels"];

    /// A method by its name, with the settings it is usually compared with on pictures: each module's default, `LoE` with
    /// tiles that reach the extents, and Plenoxels with a vertex for every third sample of an axis. None for other names.
    #[must_use]
    pub fn usual(name: &str, shape: &Shape) -> Option<Self> {
        Some(match name {
            "siren" => Self::Siren(SirenSettings::default()),
            "ffn" => Self::Ffn(FfnSettings::default()),
            "kilonerf" => Self::KiloNerf(KiloNerfSettings::default()),
            "loe" => Self::Loe(LoeSettings { tiles: usual_tiles(&shape.extents), ..LoeSettings::default() }),
            "ngp" => Self::Ngp(NgpSettings::default()),
            "wire" => Self::Wire(WireSettings::default()),
            "plenoxels" => {
                let vertices: Vec<usize> = shape.extents.iter().map(|n| n.div_ceil(3).max(2)).collect();
                Self::Plenoxels(PlenoxelsSettings::dense(&vertices))
            }
            _ => return None,
        })
    }

    /// Linear layers, the output layer included; 0 for a grid.
    #[must_use]
    pub fn n_layers(&self) -> usize {
        match self {
            Self::Siren(settings) => settings.layers,
            Self::Ffn(settings) => settings.layers,
            Self::KiloNerf(settings) => settings.layers,
            Self::Loe(settings) => settings.tiles.len() + 1,
            Self::Ngp(settings) => settings.hidden_layers + 1,
            Self::Wire(settings) => settings.layers,
            Self::Plenoxels(_) => 0,
            Self::Unshared(settings) => {
                settings.bases.split(';').next().map_or(0, |axis| axis.split(',').count())
            }
        }
    }
}

/// All that a field is made of, but its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The grid.
    pub shape: Shape,
    /// The method.
    pub method: Method,
}

impl Config {
    /// The field.
    ///
    /// # Errors
    /// [`FieldError::Setting`] names the one out of range.
    pub fn build(&self) -> Result<Box<dyn Baseline>, FieldError> {
        let shape = self.shape.clone();
        Ok(match self.method.clone() {
            Method::Siren(settings) => Box::new(Siren::new(shape, settings)?),
            Method::Ffn(settings) => Box::new(Ffn::new(shape, settings)?),
            Method::KiloNerf(settings) => Box::new(KiloNerf::new(shape, settings)?),
            Method::Loe(settings) => Box::new(Loe::new(shape, settings)?),
            Method::Ngp(settings) => Box::new(Ngp::new(shape, settings)?),
            Method::Wire(settings) => Box::new(Wire::new(shape, settings)?),
            Method::Plenoxels(settings) => Box::new(Plenoxels::new(shape, settings)?),
            Method::Unshared(settings) => Box::new(Unshared::new(shape, &settings)?),
        })
    }
}

/// The first bytes of a stored field; the last of them is the version.
const MAGIC: [u8; 8] = *b"ASMRZOO\x01";
/// Bytes before the settings.
const HEAD: usize = MAGIC.len() + 4;
/// The most bytes of settings.
const MAX_SETTINGS_BYTES: usize = 1 << 26;

/// Why bytes are no stored field.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum StoreError {
    /// They begin differently.
    #[error("this is no stored baseline: it does not begin with ASMRZOO and version 1")]
    Magic,
    /// They end too early, or go on too long.
    #[error("the file has {actual} bytes; by its own account it should have {expected}")]
    Length {
        /// Bytes there are.
        actual: usize,
        /// Bytes there should be.
        expected: usize,
    },
    /// They are damaged.
    #[error("the checksum is {actual:08x} and should be {expected:08x}: the file is damaged")]
    Checksum {
        /// Of the bytes.
        actual: u32,
        /// As stored.
        expected: u32,
    },
    /// The settings cannot be read.
    #[error("the settings cannot be read: {0}")]
    Settings(String),
    /// The settings make no field.
    #[error("the settings make no field: {0}")]
    Field(#[from] FieldError),
}

/// Stores a field: magic, length of the settings in 4 bytes, settings as JSON, weights as little-endian `f32`, CRC-32
/// of all before it. The same field gives the same bytes.
///
/// # Errors
/// [`FieldError::Params`] for a wrong number of weights, [`FieldError::Setting`] for settings that make no field.
pub fn store(config: &Config, params: &[f32]) -> Result<Vec<u8>, FieldError> {
    let expected = config.build()?.n_params();
    if params.len() != expected {
        return Err(FieldError::Params { actual: params.len(), expected });
    }
    let settings = serde_json::to_vec(config)
        .map_err(|error| field::refuse("the settings", error.to_string(), "what JSON can hold"))?;
    field::within("the length of the settings", settings.len(), 0..=MAX_SETTINGS_BYTES, "at most 67108864")?;
    let mut bytes = Vec::with_capacity(HEAD + settings.len() + 4 * params.len() + 4);
    bytes.extend(MAGIC);
    bytes.extend((settings.len() as u32).to_le_bytes());
    bytes.extend(settings);
    bytes.extend(params.iter().flat_map(|weight| weight.to_le_bytes()));
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    Ok(bytes)
}

/// Reads what [`store`] wrote. No more memory than the bytes ask for is taken before they are known to be sound.
///
/// # Errors
/// [`StoreError`] says what is wrong with the bytes.
pub fn restore(bytes: &[u8]) -> Result<(Config, Vec<f32>), StoreError> {
    let short = |expected| StoreError::Length { actual: bytes.len(), expected };
    if !bytes.starts_with(&MAGIC) {
        return Err(StoreError::Magic);
    }
    let length = bytes.get(MAGIC.len()..).and_then(|rest| rest.first_chunk());
    let length = u32::from_le_bytes(*length.ok_or_else(|| short(HEAD + 4))?) as usize;
    let (body, checksum) = bytes.split_last_chunk().ok_or_else(|| short(HEAD + 4))?;
    let settings = body.get(HEAD..).and_then(|rest| rest.get(..length));
    let settings = settings.ok_or_else(|| short(HEAD + length + 4))?;
    let (actual, expected) = (crc32fast::hash(body), u32::from_le_bytes(*checksum));
    if actual != expected {
        return Err(StoreError::Checksum { actual, expected });
    }
    let config: Config =
        serde_json::from_slice(settings).map_err(|error| StoreError::Settings(error.to_string()))?;
    let n_params = config.build()?.n_params();
    let weights = &body[HEAD + length..];
    if weights.len() != 4 * n_params {
        return Err(short(HEAD + length + 4 * n_params + 4));
    }
    let params = weights.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
    Ok((config, params))
}
