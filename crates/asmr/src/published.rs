//! The networks of the published experiments (Li, Luo, Xu and Wong, ICLR 2024), for repeating them.

use crate::signal::{Media, SignalInfo};

/// Width, levels and, where the paper has a signal of these extents, its bases as [`crate::partition::parse_bases`] reads
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Neurons of each sine layer.
    pub width: usize,
    /// Levels.
    pub levels: usize,
    /// Bases.
    pub bases: Option<&'static str>,
}

/// Samples from which a picture has the width and levels of the paper's 8192 × 8192.
const MEGAPIXEL: u64 = 1 << 24;

/// Extents and bases of the paper's tables.
const BASES: [(&[usize], &str); 6] = [
    (&[512, 512], "4,4,4,8;4,4,4,8"),
    (&[512, 768], "4,4,4,8;4,4,6,8"),
    (&[768, 512], "4,4,6,8;4,4,4,8"),
    (&[8192, 8192], "4,4,4,4,4,8;4,4,4,4,4,8"),
    (&[32_000], "10,10,16,20"),
    (&[150, 270, 480], "5,1,1,5,1,1,3,1,1,2;5,1,3,1,3,1,3,1,2,1;5,3,2,2,1,2,1,2,1,2"),
];

/// The published network for a signal of this kind and size: sound d = 128 with 4 levels, films d = 512 with 10, pictures
/// d = 256 with 4, from 2^24 samples on d = 512 with 6; other signals as pictures.
#[must_use]
pub fn published(signal: &SignalInfo) -> Published {
    let (width, levels) = match signal.media {
        Media::Audio(_) => (128, 4),
        Media::Video(_) => (512, 10),
        _ if signal.extents.len() == 2 && signal.n_samples().is_some_and(|n| n >= MEGAPIXEL) => (512, 6),
        _ => (256, 4),
    };
    let bases = BASES.iter().find(|(extents, _)| *extents == signal.extents).map(|&(_, bases)| bases);
    Published { width, levels, bases }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::{Partition, parse_bases};

    #[test]
    fn published_bases_are_partitions_without_padding() {
        for (extents, bases) in BASES {
            let partition = Partition::new(extents, &parse_bases(bases).unwrap()).unwrap();
            assert_eq!(partition.n_padded_samples(), partition.n_samples(), "{bases}");
        }
        assert_eq!(BASES.len(), 6);
    }
}
