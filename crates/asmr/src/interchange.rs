//! Exchange with `PyTorch`: the paper authors' weights as `.safetensors`.
//!
//! Tensor names and shapes are those of [`NetworkConfig::tensors`]. Width, levels, channels, axes and the kind of
//! modulator follow from the tensors; the bases do not, so they come as an argument or as metadata:
//!
//! | metadata key | text | when it is missing |
//! |---|---|---|
//! | `bases` | JSON `[axis][level]`, as `[[4,3,5],[2,6,4]]` | the argument must give them |
//! | `extents` | JSON `[axis]`, as `[59,48]` | the product of each axis' bases |
//! | `omega_0` | a decimal number | 30 |
//! | `axes`, `levels`, `width`, `channels` | whole numbers | not checked against the tensors |
//! | `modulator` | `linear`, `nonlinear` or `table` | not checked against the tensors |
//!
//! Other keys are ignored, and so are the tensors `target` and `expected.*`, which test files carry.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use thiserror::Error;

use crate::file::short;
use crate::network::{MODULATOR_WIDTH, Modulator, Network, NetworkConfig, NetworkError};
use crate::partition::{MAX_LEVELS, Partition, PartitionError};
use crate::signal::{ColorType, SampleType, SignalInfo};

/// The longest `.safetensors` header that is read, in bytes.
pub const MAX_IMPORT_HEADER_BYTES: u64 = 1 << 22;
/// `omega_0` of a file that does not say: the paper's.
pub const DEFAULT_OMEGA_0: f32 = 30.0;

/// Why a `.safetensors` file is not a network.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ImportError {
    /// The bytes are no `.safetensors` file, or a damaged one.
    #[error("this is not a valid .safetensors file: {}", short(.0))]
    Format(String),
    /// A header past the limit.
    #[error("the .safetensors header has {0} bytes; at most {MAX_IMPORT_HEADER_BYTES} are accepted")]
    HeaderTooLong(u64),
    /// No bases, neither in the file nor given.
    #[error(
        "the file has no metadata key 'bases'; give the bases the network was trained with (they cannot be told from the weights)"
    )]
    NoBases,
    /// Two different partitions.
    #[error(
        "the bases given are {} and the file's own are {}; leave yours out to use the file's",
        brief(given),
        brief(stored)
    )]
    BasesDiffer {
        /// The argument.
        given: Vec<Vec<usize>>,
        /// The metadata.
        stored: Vec<Vec<usize>>,
    },
    /// Bases of a network with other axes or levels.
    #[error("the bases {} are for {} axes and {} levels, and the tensors for {axes} axes and {levels} levels", brief(bases), bases.len(), bases.first().map_or(0, Vec::len))]
    BasesShape {
        /// The bases, `[axis][level]`.
        bases: Vec<Vec<usize>>,
        /// Axes of the tensors.
        axes: usize,
        /// Levels of the tensors: sine layers plus one.
        levels: usize,
    },
    /// Metadata that cannot be read.
    #[error("metadata '{key}' is '{}'; it must be {expected}", short(value))]
    Metadata {
        /// The key.
        key: &'static str,
        /// Its text.
        value: String,
        /// What is accepted.
        expected: &'static str,
    },
    /// Metadata that the tensors contradict.
    #[error("metadata '{key}' is {}, and the tensors say {tensors}", short(metadata))]
    Contradiction {
        /// The key.
        key: &'static str,
        /// Its value.
        metadata: String,
        /// What follows from the tensors.
        tensors: String,
    },
    /// A tensor the network needs.
    #[error("tensor '{0}' is missing")]
    MissingTensor(String),
    /// A tensor the network has no place for.
    #[error("tensor '{}' has no place in this network", short(.0))]
    UnexpectedTensor(String),
    /// A tensor of another shape.
    #[error("tensor '{tensor}' has shape {}; {expected:?} is needed", brief(actual))]
    Shape {
        /// The tensor's name.
        tensor: String,
        /// Its shape.
        actual: Vec<usize>,
        /// What the network needs.
        expected: Vec<usize>,
    },
    /// A tensor that must have two axes.
    #[error("tensor '{tensor}' has shape {}; a matrix, [out, in], is needed", brief(actual))]
    NotAMatrix {
        /// The tensor's name.
        tensor: String,
        /// Its shape.
        actual: Vec<usize>,
    },
    /// A nonlinear modulator of another width.
    #[error(
        "tensor '{tensor}' is of a nonlinear modulator {actual} neurons wide; only {MODULATOR_WIDTH} is supported"
    )]
    ModulatorWidth {
        /// The tensor that shows it.
        tensor: String,
        /// Its hidden width.
        actual: usize,
    },
    /// A type of number that is not read.
    #[error("tensor '{tensor}' is of type {dtype}; F32, F64, F16 and BF16 are read")]
    Dtype {
        /// The tensor's name.
        tensor: String,
        /// Its type.
        dtype: String,
    },
    /// The bases and extents make no partition.
    #[error("the partition is invalid: {0}")]
    Partition(#[from] PartitionError),
    /// The configuration or the weights make no network.
    #[error("the network is invalid: {0}")]
    Network(#[from] NetworkError),
}

/// Why a network could not be exported.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ExportError {
    /// Memory could not be had.
    #[error("not enough memory for {n_bytes} bytes of weights")]
    Memory {
        /// Bytes asked for.
        n_bytes: u64,
    },
}

/// Reads the authors' weights. `bytes` is a whole `.safetensors` file; `bases` is `[axis][level]` and is needed
/// only where the file's metadata lacks them (both may be there if they agree).
///
/// F32 weights are taken bit for bit; F16 and BF16 are widened exactly, F64 is rounded. Memory: at most the weights
/// once more, and only after all shapes have been checked.
///
/// # Errors
/// [`ImportError`] names the tensor or metadata key, its actual value and what is needed.
pub fn import(bytes: &[u8], bases: Option<&[Vec<usize>]>) -> Result<Network, ImportError> {
    if let Some(len) = bytes.first_chunk().map(|&b| u64::from_le_bytes(b))
        && len > MAX_IMPORT_HEADER_BYTES
    {
        return Err(ImportError::HeaderTooLong(len));
    }
    let format = |e: safetensors::SafeTensorError| ImportError::Format(e.to_string());
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(format)?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let file = SafeTensors::deserialize(bytes).map_err(format)?;
    let tensors: BTreeMap<&str, TensorView<'_>> =
        file.iter().filter(|(name, _)| *name != "target" && !name.starts_with("expected.")).collect();

    let config = configuration(&tensors, &metadata, bases)?;
    let needed = config.tensors();
    // First all names and shapes, then memory: the weights are then known to be in the file.
    for tensor in &needed {
        let view = get(&tensors, &tensor.name)?;
        if view.shape() != tensor.shape {
            return Err(shape_error(&tensor.name, view.shape(), &tensor.shape));
        }
    }
    if tensors.len() != needed.len()
        && let Some(name) = tensors.keys().find(|name| needed.iter().all(|t| t.name != **name))
    {
        return Err(ImportError::UnexpectedTensor((*name).to_owned()));
    }
    let mut params = Vec::with_capacity(config.n_params());
    for tensor in &needed {
        append(&mut params, &tensor.name, get(&tensors, &tensor.name)?)?;
    }
    Ok(Network::new(config, params)?)
}

/// The signal of an imported network, which itself does not say what its samples mean: with 2 axes and 1 to 4
/// channels a picture of 8-bit samples, otherwise a plain array of floats.
#[must_use]
pub fn imported_signal(config: &NetworkConfig) -> SignalInfo {
    let color = match (config.partition.n_axes(), config.channels) {
        (2, 1) => Some(ColorType::Gray),
        (2, 2) => Some(ColorType::GrayAlpha),
        (2, 3) => Some(ColorType::Rgb),
        (2, 4) => Some(ColorType::Rgba),
        _ => None,
    };
    SignalInfo {
        extents: config.partition.extents().to_vec(),
        channels: config.channels,
        sample_type: if color.is_some() { SampleType::U8 } else { SampleType::F32 },
        color,
        value_range: None,
        media: crate::signal::Media::Plain,
    }
}

/// Writes a network as `.safetensors`: all tensors as F32 in the order of [`NetworkConfig::tensors`], and as
/// metadata everything [`import`] needs to give the same network again, bit for bit. The same network gives the
/// same bytes.
///
/// # Errors
/// [`ExportError::Memory`] when the file does not fit in memory.
pub fn export(network: &Network) -> Result<Vec<u8>, ExportError> {
    let config = network.config();
    let partition = &config.partition;
    let metadata = BTreeMap::from([
        ("axes", partition.n_axes().to_string()),
        ("bases", json_lists(partition.bases())),
        ("channels", config.channels.to_string()),
        ("extents", json_list(partition.extents())),
        ("levels", partition.n_levels().to_string()),
        ("modulator", modulator_name(config.modulator).to_owned()),
        ("omega_0", config.omega_0.to_string()),
        ("width", config.width.to_string()),
    ]);
    // Written here because the safetensors crate keeps metadata in a map of random order. No key or value below
    // holds a character that JSON would have to escape.
    let pairs: Vec<String> = metadata.iter().map(|(key, value)| format!("\"{key}\":\"{value}\"")).collect();
    let mut fields = vec![format!("\"__metadata__\":{{{}}}", pairs.join(","))];
    fields.extend(config.tensors().iter().map(|tensor| {
        let (start, end) = (tensor.offset as u64 * 4, (tensor.offset + tensor.len()) as u64 * 4);
        let shape = json_list(&tensor.shape);
        format!(
            "\"{}\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[{start},{end}]}}",
            tensor.name
        )
    }));
    let mut header = format!("{{{}}}", fields.join(","));
    while header.len() % 8 != 0 {
        header.push(' ');
    }
    let n_bytes = 8 + header.len() as u64 + network.params().len() as u64 * 4;
    let mut bytes = Vec::new();
    let capacity = usize::try_from(n_bytes).map_err(|_| ExportError::Memory { n_bytes })?;
    bytes.try_reserve_exact(capacity).map_err(|_| ExportError::Memory { n_bytes })?;
    bytes.extend_from_slice(&(header.len() as u64).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    for weight in network.params() {
        bytes.extend_from_slice(&weight.to_le_bytes());
    }
    Ok(bytes)
}

/// A list as text, shortened: it may come from a stranger.
fn brief(list: &impl fmt::Debug) -> String {
    short(&format!("{list:?}"))
}

fn json_list(values: &[usize]) -> String {
    format!("[{}]", values.iter().map(usize::to_string).collect::<Vec<_>>().join(","))
}

fn json_lists(values: &[Vec<usize>]) -> String {
    format!("[{}]", values.iter().map(|list| json_list(list)).collect::<Vec<_>>().join(","))
}

fn modulator_name(modulator: Modulator) -> &'static str {
    match modulator {
        Modulator::Linear => "linear",
        Modulator::Nonlinear => "nonlinear",
        Modulator::Table => "table",
    }
}

type Tensors<'a, 'data> = BTreeMap<&'a str, TensorView<'data>>;

fn get<'t, 'data>(tensors: &'t Tensors<'_, 'data>, name: &str) -> Result<&'t TensorView<'data>, ImportError> {
    tensors.get(name).ok_or_else(|| ImportError::MissingTensor(name.to_owned()))
}

fn shape_error(tensor: &str, actual: &[usize], expected: &[usize]) -> ImportError {
    ImportError::Shape { tensor: tensor.to_owned(), actual: actual.to_vec(), expected: expected.to_vec() }
}

/// Rows and columns of a tensor that must be a matrix.
fn matrix(tensors: &Tensors<'_, '_>, name: &str) -> Result<[usize; 2], ImportError> {
    let shape = get(tensors, name)?.shape();
    <[usize; 2]>::try_from(shape)
        .map_err(|_| ImportError::NotAMatrix { tensor: name.to_owned(), actual: shape.to_vec() })
}

/// The configuration that the tensors, the metadata and the bases given agree on.
fn configuration(
    tensors: &Tensors<'_, '_>,
    metadata: &HashMap<String, String>,
    bases: Option<&[Vec<usize>]>,
) -> Result<NetworkConfig, ImportError> {
    let [width, axes] = matrix(tensors, "net.0.linear.weight")?;
    let [channels, _] = matrix(tensors, "last_layer.linear.weight")?;
    let levels = 1 + n_sine_layers(tensors)?;
    let modulator = modulator_kind(tensors)?;

    agree(metadata, "axes", axes)?;
    agree(metadata, "levels", levels)?;
    agree(metadata, "width", width)?;
    agree(metadata, "channels", channels)?;
    if let Some(text) = metadata.get("modulator")
        && text != modulator_name(modulator)
    {
        let (metadata, tensors) = (text.clone(), modulator_name(modulator).to_owned());
        return Err(ImportError::Contradiction { key: "modulator", metadata, tensors });
    }

    let stored: Option<Vec<Vec<usize>>> = metadata
        .get("bases")
        .map(|text| json(text, "bases", "one JSON list of whole numbers per axis, as [[4,3,5],[2,6,4]]"))
        .transpose()?;
    let bases = match (bases, stored) {
        (None, None) => return Err(ImportError::NoBases),
        (Some(given), Some(stored)) if given != stored => {
            return Err(ImportError::BasesDiffer { given: given.to_vec(), stored });
        }
        (_, Some(stored)) => stored,
        (Some(given), None) => given.to_vec(),
    };
    if bases.len() != axes || bases.iter().any(|list| list.len() != levels) {
        return Err(ImportError::BasesShape { bases, axes, levels });
    }
    let extents: Vec<usize> = match metadata.get("extents") {
        Some(text) => json(text, "extents", "a JSON list of whole numbers, one per axis, as [60,48]")?,
        // Where the product overflows, the partition refuses the bases.
        None => bases
            .iter()
            .map(|list| list.iter().fold(1usize, |product, &base| product.saturating_mul(base)))
            .collect(),
    };
    let config = NetworkConfig {
        partition: Partition::new(&extents, &bases)?,
        channels,
        width,
        omega_0: parse(metadata, "omega_0", "a decimal number")?.unwrap_or(DEFAULT_OMEGA_0),
        modulator,
    };
    config.validate()?;
    Ok(config)
}

/// One more than the largest i of a tensor `net.{i}.linear.weight`.
fn n_sine_layers(tensors: &Tensors<'_, '_>) -> Result<usize, ImportError> {
    let mut n = 0;
    for name in tensors.keys() {
        if let Some(index) = name.strip_prefix("net.").and_then(|rest| rest.strip_suffix(".linear.weight")) {
            match index.parse::<usize>() {
                Ok(i) if i < MAX_LEVELS => n = n.max(i + 1),
                _ => return Err(ImportError::UnexpectedTensor((*name).to_owned())),
            }
        }
    }
    Ok(n)
}

fn modulator_kind(tensors: &Tensors<'_, '_>) -> Result<Modulator, ImportError> {
    if tensors.contains_key("modulators.0.table.0") {
        return Ok(Modulator::Table);
    }
    let nonlinear = "modulators.0.model.net.0.linear.weight";
    if tensors.contains_key(nonlinear) {
        let [actual, _] = matrix(tensors, nonlinear)?;
        if actual != MODULATOR_WIDTH {
            return Err(ImportError::ModulatorWidth { tensor: nonlinear.to_owned(), actual });
        }
        return Ok(Modulator::Nonlinear);
    }
    Ok(Modulator::Linear)
}

fn json<T: serde::de::DeserializeOwned>(
    text: &str,
    key: &'static str,
    expected: &'static str,
) -> Result<T, ImportError> {
    serde_json::from_str(text).map_err(|_| ImportError::Metadata { key, value: text.to_owned(), expected })
}

fn parse<T: FromStr>(
    metadata: &HashMap<String, String>,
    key: &'static str,
    expected: &'static str,
) -> Result<Option<T>, ImportError> {
    let Some(text) = metadata.get(key) else { return Ok(None) };
    match text.parse() {
        Ok(value) => Ok(Some(value)),
        Err(_) => Err(ImportError::Metadata { key, value: text.clone(), expected }),
    }
}

fn agree(metadata: &HashMap<String, String>, key: &'static str, tensors: usize) -> Result<(), ImportError> {
    match parse::<usize>(metadata, key, "a whole number")? {
        Some(stored) if stored != tensors => Err(ImportError::Contradiction {
            key,
            metadata: stored.to_string(),
            tensors: tensors.to_string(),
        }),
        _ => Ok(()),
    }
}

fn append(params: &mut Vec<f32>, name: &str, view: &TensorView<'_>) -> Result<(), ImportError> {
    let data = view.data();
    match view.dtype() {
        Dtype::F32 => params.extend(data.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b))),
        Dtype::F64 => params.extend(data.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b) as f32)),
        Dtype::F16 => params.extend(data.as_chunks().0.iter().map(|&b| from_half(u16::from_le_bytes(b)))),
        Dtype::BF16 => {
            params.extend(
                data.as_chunks().0.iter().map(|&b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)),
            );
        }
        dtype => return Err(ImportError::Dtype { tensor: name.to_owned(), dtype: dtype.to_string() }),
    }
    Ok(())
}

/// IEEE 754 binary16 to binary32, exactly.
fn from_half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from(bits >> 10 & 0x1F);
    let fraction = f32::from(bits & 0x3FF);
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1024.0 + fraction) * 2f32.powi(exponent - 25),
    }
}
