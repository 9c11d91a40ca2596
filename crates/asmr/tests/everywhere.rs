//! Coded files decode to the same weights, and corrected ones to the same samples, to the bit, wherever this test runs (`cargo xtask cross` runs it on other architectures),
//! and to values within the bound of docs/NUMERICS.md. What is expected was computed by the reader in plain Python.

use std::io::Cursor;

use asmr::exact::ExactDecoder;
use asmr::file::{AsmrReader, Chunk, Limits};
use asmr::inference::{Decoder, Request};
use asmr::residual;
use asmr::signal::SampleType;
use asmr::walk::Region;

const EXPECTED: &str = include_str!("data/coded/expected.tsv");

/// Name, bytes, and the values that the definition gives.
const FILES: [(&str, &[u8], &[u8]); 5] = [
    ("floats.asmr", include_bytes!("data/coded/floats.asmr"), include_bytes!("data/coded/floats.f32")),
    ("grey.asmr", include_bytes!("data/coded/grey.asmr"), include_bytes!("data/coded/grey.f32")),
    ("lossless.asmr", include_bytes!("data/coded/lossless.asmr"), include_bytes!("data/coded/lossless.f32")),
    ("rgb.asmr", include_bytes!("data/coded/rgb.asmr"), include_bytes!("data/coded/rgb.f32")),
    ("volume.asmr", include_bytes!("data/coded/volume.asmr"), include_bytes!("data/coded/volume.f32")),
];

/// NUMERICS.md's tolerance for outputs of order 1.
const TOLERANCE: f32 = 2e-5;

#[test]
fn files_are_the_same_everywhere() {
    let mut rows = EXPECTED.lines().skip(1);
    let mut n_values = 0;
    for (name, bytes, values) in FILES {
        let row: Vec<&str> = rows.next().unwrap().split('\t').collect();
        let &[file, n_chunks, n_weights, crc, crc_of_samples] = &row[..] else { panic!("{row:?}") };
        assert_eq!(file, name);
        let mut reader = AsmrReader::open(Cursor::new(bytes), &Limits::default()).unwrap();
        let header = reader.header().clone();
        assert_eq!(header.n_chunks().to_string(), n_chunks, "{name}");
        let mut weights = Vec::new();
        let (mut decoded, mut corrected) = (Vec::new(), Vec::new());
        for chunk in 0..header.n_chunks() {
            let Chunk { network, corrections, .. } = reader.chunk(chunk).unwrap();
            let info = header.chunk_signal(chunk);
            if let Some(slabs) = corrections {
                assert_eq!(slabs.len(), 1, "{name}: small");
                let bound = header.max_error.unwrap();
                let extent = info.extents[0];
                let corrections = residual::decode(&info, extent, &slabs[0], bound.coded()).unwrap();
                let decoder = ExactDecoder::new(&network);
                if info.sample_type == SampleType::F32 {
                    let exact = decoder.values(&info, 0..extent);
                    let values =
                        exact.iter().zip(&corrections).map(|(&x, &c)| bound.corrected(x, c, &info) as f32);
                    corrected.extend(values.flat_map(f32::to_le_bytes));
                } else {
                    let exact = decoder.whole_numbers(&info, 0..extent);
                    // 8-bit samples.
                    corrected
                        .extend(exact.iter().zip(&corrections).map(|(x, c)| (x + c).clamp(0, 255) as u8));
                }
            }
            weights.extend(network.params().iter().flat_map(|w| w.to_le_bytes()));
            let partition = &network.config().partition;
            let region = Region::whole(partition.extents());
            let n = partition.n_samples() as usize * header.signal.channels;
            let mut part = vec![0.0f32; n];
            Decoder::new(&network).decode(&Request { region, thumbnail: 1 }, &mut part).unwrap();
            decoded.extend(part);
        }
        assert_eq!((weights.len() / 4).to_string(), n_weights, "{name}");
        assert_eq!(format!("{:08x}", crc32fast::hash(&weights)), crc, "{name}");
        let actual =
            header.max_error.map_or("-".to_owned(), |_| format!("{:08x}", crc32fast::hash(&corrected)));
        assert_eq!(actual, crc_of_samples, "{name}");
        let (values, rest) = values.as_chunks::<4>();
        assert!(rest.is_empty() && values.len() == decoded.len(), "{name}");
        for (i, (&ours, &theirs)) in decoded.iter().zip(values).enumerate() {
            let theirs = f32::from_le_bytes(theirs);
            assert!((ours - theirs).abs() <= TOLERANCE, "{name}, value {i}: {ours} and {theirs}");
            n_values += 1;
        }
    }
    assert_eq!((rows.next(), n_values), (None, 2 * 30 * 40 * 3 + 33 * 35 + 2 * 9 * 10 * 12));
}
