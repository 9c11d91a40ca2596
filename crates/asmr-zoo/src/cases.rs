//! The networks that are timed.

use asmr::network::{Modulator, Network, NetworkConfig};
use asmr::partition::{Partition, parse_bases};
use asmr::signal::{SampleType, Samples, Signal, SignalInfo};

use crate::Outcome;

/// One network to time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// What the tables call it.
    pub name: String,
    /// Samples along each axis, slowest first.
    pub extents: Vec<usize>,
    /// Bases, written as [`parse_bases`] reads them, one list per axis.
    pub bases: String,
    /// Values per sample.
    pub channels: usize,
    /// Neurons of each sine layer.
    pub width: usize,
}

impl Case {
    /// A case of these figures.
    #[must_use]
    pub fn new(name: &str, extents: &[usize], bases: &str, channels: usize, width: usize) -> Self {
        Self { name: name.to_owned(), extents: extents.to_vec(), bases: bases.to_owned(), channels, width }
    }

    /// Its network's configuration.
    ///
    /// # Errors
    /// When the bases do not fit the extents.
    pub fn config(&self) -> Outcome<NetworkConfig> {
        let bases = parse_bases(&self.bases).map_err(|error| format!("{}: {error}", self.name))?;
        let partition =
            Partition::new(&self.extents, &bases).map_err(|error| format!("{}: {error}", self.name))?;
        Ok(NetworkConfig {
            partition,
            channels: self.channels,
            width: self.width,
            omega_0: 30.0,
            modulator: Modulator::Linear,
        })
    }

    /// A random network with the paper's initialisation.
    ///
    /// # Errors
    /// As [`Self::config`], and for a shape that is refused.
    pub fn network(&self) -> Outcome<Network> {
        Network::init(self.config()?, 1, 1.0).map_err(|error| format!("{}: {error}", self.name))
    }

    /// A signal of its shape. Time does not depend on what is in it.
    ///
    /// # Errors
    /// For a shape that is no signal.
    pub fn signal(&self) -> Outcome<Signal> {
        let info = SignalInfo::plain(self.extents.clone(), self.channels, SampleType::U8, None);
        let values = (0..self.n_samples() * self.channels).map(|i| (i * 7919 % 251) as u8).collect();
        Signal::new(info, Samples::U8(values)).map_err(|error| format!("{}: {error}", self.name))
    }

    /// Samples of the whole signal.
    #[must_use]
    pub fn n_samples(&self) -> usize {
        self.extents.iter().product()
    }

    /// The extents in words, as 512×768×3.
    #[must_use]
    pub fn shown(&self) -> String {
        let mut parts: Vec<String> = self.extents.iter().map(usize::to_string).collect();
        if self.channels > 1 {
            parts.push(self.channels.to_string());
        }
        parts.join("×")
    }
}

/// Square pictures of `2^bits` samples a side in `levels` levels, one channel: the last base is 8, or less where there
/// are not enough bits for the levels above; those share the rest evenly, the finer ones taking what is left over.
///
/// # Panics
/// When there are more levels than bits.
#[must_use]
pub fn square(bits: usize, levels: usize, width: usize) -> Case {
    assert!(levels >= 2 && levels <= bits, "{levels} levels for {bits} bits");
    let last = 3.min(bits + 1 - levels);
    let (above, rest) = (levels - 1, bits - last);
    let mut bases: Vec<String> = (0..above)
        .map(|level| rest / above + usize::from(level >= above - rest % above))
        .map(|power| (1usize << power).to_string())
        .collect();
    bases.push((1usize << last).to_string());
    let side = bases.join(",");
    Case::new(&format!("{levels} levels"), &[1 << bits, 1 << bits], &format!("{side};{side}"), 1, width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares() {
        assert_eq!(square(9, 4, 256).bases, "4,4,4,8;4,4,4,8");
        assert_eq!(square(10, 4, 256).bases, "4,4,8,8;4,4,8,8");
        assert_eq!(square(12, 10, 256).bases, "2,2,2,2,2,2,2,2,2,8;2,2,2,2,2,2,2,2,2,8");
        let mut n_cases = 0;
        for bits in 6..=13 {
            for levels in 2..=bits.min(10) {
                assert!(square(bits, levels, 16).config().is_ok(), "{bits} bits, {levels} levels");
                n_cases += 1;
            }
        }
        assert_eq!(n_cases, 5 + 6 + 7 + 8 + 9 + 9 + 9 + 9);
    }
}
