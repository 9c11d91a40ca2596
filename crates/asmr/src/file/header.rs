//! The JSON header: reading it strictly, writing it in one way only.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::fit::{FitRecord, parse_strict};
use super::{Encoding, FileError, FileHeader, MAX_FIT_DEPTH, VERSION, short};
use crate::network::NetworkConfig;
use crate::residual::MaxError;
use crate::signal::SignalInfo;

/// Levels of nesting of a whole header: the fit record is one level down.
const MAX_DEPTH: usize = MAX_FIT_DEPTH + 1;

/// A header's content, and the version that it is of.
pub(super) struct Header {
    pub(super) header: FileHeader,
    pub(super) version: u16,
}

/// How the weights are stored. A later version may add other encodings.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Weights {
    encoding: String,
    n_bytes: u64,
}

impl Weights {
    fn plain(config: &NetworkConfig) -> Self {
        Self { encoding: "f32".to_owned(), n_bytes: weight_bytes(config) }
    }
}

/// Bytes of the weights of a valid configuration.
pub(super) fn weight_bytes(config: &NetworkConfig) -> u64 {
    config.n_params() as u64 * 4
}

/// The header as JSON, fields in a fixed order, the fit record's keys sorted.
pub(super) fn write(
    signal: &SignalInfo,
    network: &NetworkConfig,
    fit: Option<&FitRecord>,
) -> Result<Vec<u8>, FileError> {
    #[derive(Serialize)]
    struct Fields<'a> {
        signal: &'a SignalInfo,
        network: &'a NetworkConfig,
        weights: Weights,
        #[serde(skip_serializing_if = "Option::is_none")]
        fit: Option<&'a FitRecord>,
    }
    serde_json::to_vec(&Fields { signal, network, weights: Weights::plain(network), fit })
        .map_err(|e| FileError::Header(e.to_string()))
}

/// How versions from 2 on store weights.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chunks {
    encoding: Encoding,
    /// Samples of the slowest axis in a chunk.
    extent: usize,
    /// Number of chunks.
    n: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_error: Option<MaxError>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    refinements: Vec<u8>,
}

/// The header of a version from 2 on as JSON.
pub(super) fn write_chunked(header: &FileHeader) -> Result<Vec<u8>, FileError> {
    #[derive(Serialize)]
    struct Fields<'a> {
        signal: &'a SignalInfo,
        network: &'a NetworkConfig,
        chunks: Chunks,
        #[serde(skip_serializing_if = "Option::is_none")]
        fit: Option<&'a FitRecord>,
    }
    let chunks = Chunks {
        encoding: header.encoding,
        extent: header.chunk_extent,
        n: header.n_chunks(),
        max_error: header.max_error,
        refinements: header.refinements.clone(),
    };
    let fields =
        Fields { signal: &header.signal, network: &header.network, chunks, fit: header.fit.as_ref() };
    serde_json::to_vec(&fields).map_err(|e| FileError::Header(e.to_string()))
}

/// Reads a header of a known version. Its parts are well-formed afterwards, not yet validated against each other.
pub(super) fn parse(bytes: &[u8], version: u16) -> Result<FileHeader, FileError> {
    let value = parse_strict(bytes, MAX_DEPTH).map_err(|e| FileError::Header(e.to_string()))?;
    let Value::Object(mut fields) = value else {
        return Err(FileError::Header("it is no JSON object".to_owned()));
    };
    // The validation of a configuration counts weights, and the partition's own validation bounds that.
    let signal: SignalInfo = part(&mut fields, "signal")?;
    signal.validate()?;
    let network: NetworkConfig = part(&mut fields, "network")?;
    network.validate()?;
    let (chunk_extent, encoding, max_error, refinements) = if version == 1 {
        let weights: Weights = part(&mut fields, "weights")?;
        if weights.encoding != "f32" {
            return Err(FileError::Header(format!(
                "the weights are encoded as '{}'; version 1 has only 'f32'",
                short(&weights.encoding)
            )));
        }
        if weights != Weights::plain(&network) {
            return Err(FileError::Inconsistent(format!(
                "it announces {} bytes of weights and its network has {} weights of 4 bytes",
                weights.n_bytes,
                network.n_params()
            )));
        }
        (signal.extents[0], Encoding::F32, None, Vec::new())
    } else {
        let chunks: Chunks = part(&mut fields, "chunks")?;
        let expected = if version == 2 { Encoding::F32 } else { Encoding::Coded };
        if chunks.encoding != expected {
            return Err(FileError::Header(format!(
                "the weights are encoded as '{}'; version {version} has only '{}'",
                chunks.encoding.name(),
                expected.name()
            )));
        }
        if chunks.extent == 0 || chunks.n != signal.extents[0].div_ceil(chunks.extent) {
            return Err(FileError::Inconsistent(format!(
                "it announces {} chunks of {} samples along an axis of {}",
                chunks.n, chunks.extent, signal.extents[0]
            )));
        }
        let max_error = chunks.max_error.map(|max_error| match max_error {
            // A bound of floats may be a whole number.
            MaxError::Whole(bound) if signal.sample_type.is_float() => MaxError::Real(bound.into()),
            other => other,
        });
        let is_real = matches!(max_error, Some(MaxError::Real(_)));
        if (is_real || !chunks.refinements.is_empty()) != (version == VERSION) {
            return Err(FileError::Header(format!(
                "version {VERSION} has refinements or a bound on the error of floating-point numbers, and no other version has"
            )));
        }
        (chunks.extent, chunks.encoding, max_error, chunks.refinements)
    };
    let fit = match fields.remove("fit") {
        None => None,
        Some(Value::Object(entries)) => Some(FitRecord::from_object(entries)),
        Some(_) => return Err(FileError::Header("'fit' is no JSON object".to_owned())),
    };
    if let Some(unknown) = fields.keys().next() {
        return Err(FileError::Header(format!("unknown field '{unknown}'")));
    }
    let header = FileHeader { signal, chunk_extent, network, encoding, max_error, refinements, fit };
    if version == 1 && !header.fits_version_1() {
        return Err(FileError::Header(
            "its signal has a sample type, a value range or metadata that version 1 does not have".to_owned(),
        ));
    }
    Ok(header)
}

/// One field that must be there and have the form that it is written in.
fn part<T: DeserializeOwned + Serialize>(
    fields: &mut Map<String, Value>,
    name: &str,
) -> Result<T, FileError> {
    let value = fields.remove(name).ok_or_else(|| FileError::Header(format!("field '{name}' is missing")))?;
    let invalid = |error: serde_json::Error| FileError::Header(format!("'{name}': {error}"));
    let part = T::deserialize(&value).map_err(invalid)?;
    let written = serde_json::to_value(&part).map_err(invalid)?;
    match misfit(&value, &written, name) {
        None => Ok(part),
        Some(path) => Err(FileError::Header(format!("'{path}' has a form that the format does not have"))),
    }
}

/// Where what was read has another form than what is written of it. The values of numbers are their readers' to judge.
///
/// The derived readers take more than the format has: an array of a struct's fields in order, an object in place of an enum's name,
/// null and empty ones for fields that are to be left out.
fn misfit(read: &Value, written: &Value, path: &str) -> Option<String> {
    match (read, written) {
        (Value::Object(read), Value::Object(written)) => read.iter().find_map(|(name, value)| {
            let path = format!("{path}.{}", short(name));
            match written.get(name) {
                Some(written) => misfit(value, written, &path),
                None => Some(path),
            }
        }),
        (Value::Array(read), Value::Array(written)) if read.len() == written.len() => {
            read.iter().zip(written).find_map(|(read, written)| misfit(read, written, path))
        }
        // One that is not finite in its type is written as null.
        (Value::Number(_), Value::Number(_) | Value::Null) => None,
        (read, written) => (read != written).then(|| path.to_owned()),
    }
}
