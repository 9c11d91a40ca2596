//! The record of a fit, and the strict JSON reader of headers.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::FileError;

/// The deepest nesting of a fit record: the record itself is level 1.
pub const MAX_FIT_DEPTH: usize = 16;

/// The effective configuration of a fit: names and JSON values, sorted by name.
///
/// It says what one would have to ask for to fit the same network again: preset, seed, steps, learning rate, batch
/// and so on. It never holds what has no influence on the weights or says something about the place they were
/// fitted at: number of threads, paths, dates and durations, the ISA level. A decoder ignores it.
///
/// Numbers that are not finite cannot be stored in JSON; they become `null`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FitRecord {
    entries: BTreeMap<String, Value>,
}

impl FitRecord {
    /// A record without entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The fields of a struct, or the entries of a map with text keys.
    ///
    /// # Errors
    /// [`FileError::Fit`] when `config` is nothing of the kind or nests deeper than [`MAX_FIT_DEPTH`].
    pub fn from_serialize(config: &impl Serialize) -> Result<Self, FileError> {
        // By way of the text: a value then is what a reader of the file will see (an f32 of 0.1 is 0.1).
        let text = serde_json::to_vec(config).map_err(|e| FileError::Fit(e.to_string()))?;
        match parse_strict(&text, MAX_FIT_DEPTH).map_err(|e| FileError::Fit(e.to_string()))? {
            Value::Object(entries) => Ok(Self::from_object(entries)),
            _ => Err(FileError::Fit("it must be a struct or a map with text keys".to_owned())),
        }
    }

    /// The record as a struct with the fields it was made of.
    ///
    /// # Errors
    /// [`FileError::Fit`] when a field is missing or has another type.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, FileError> {
        let entries: Map<String, Value> = self.entries.clone().into_iter().collect();
        serde_json::from_value(Value::Object(entries)).map_err(|e| FileError::Fit(e.to_string()))
    }

    pub(super) fn from_object(entries: Map<String, Value>) -> Self {
        Self { entries: entries.into_iter().collect() }
    }

    /// Sets one entry and returns the value it had before.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        self.entries.insert(key.into(), value.into())
    }

    /// The value of one entry.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.get(key)
    }

    /// All entries, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn validate(&self) -> Result<(), FileError> {
        if self.entries.values().all(|value| fits_depth(value, MAX_FIT_DEPTH - 1)) {
            return Ok(());
        }
        Err(FileError::Fit(format!("it nests deeper than {MAX_FIT_DEPTH} levels")))
    }
}

fn fits_depth(value: &Value, left: usize) -> bool {
    match value {
        Value::Array(items) => left > 0 && items.iter().all(|v| fits_depth(v, left - 1)),
        Value::Object(entries) => left > 0 && entries.values().all(|v| fits_depth(v, left - 1)),
        _ => true,
    }
}

impl Serialize for FitRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.entries.len()))?;
        for (key, value) in &self.entries {
            map.serialize_entry(key, &Sorted(value))?;
        }
        map.end()
    }
}

/// Writes objects with sorted keys, however `serde_json` keeps them.
struct Sorted<'a>(&'a Value);

impl Serialize for Sorted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(items) => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    seq.serialize_element(&Sorted(item))?;
                }
                seq.end()
            }
            Value::Object(entries) => {
                let sorted: BTreeMap<_, _> = entries.iter().collect();
                let mut map = serializer.serialize_map(Some(sorted.len()))?;
                for (key, value) in sorted {
                    map.serialize_entry(key, &Sorted(value))?;
                }
                map.end()
            }
            plain => plain.serialize(serializer),
        }
    }
}

/// Reads exactly one JSON value, refusing a key that occurs twice and nesting deeper than `max_depth` arrays and
/// objects.
pub(super) fn parse_strict(bytes: &[u8], max_depth: usize) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth_left: max_depth, max_depth }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

#[derive(Clone, Copy)]
struct Strict {
    depth_left: usize,
    max_depth: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left, ..self }),
            None => Err(E::custom(format!("it nests deeper than {} levels", self.max_depth))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format!("field '{key}' occurs twice")));
            }
            let value = entries.next_value_seed(inner)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}
