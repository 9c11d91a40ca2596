//! Versions 3 and 4 of the file: quantised weights, entropy-coded, and in progressive order; damage at every byte.

use std::io::Cursor;

use asmr::coding::{QuantisedWeights, Step, TensorSteps};
use asmr::file::{
    AsmrFile, AsmrReader, AsmrWriter, Chunk, Encoding, FileError, FileHeader, FitRecord, Limits,
    MAX_REFINEMENTS, write_progressive,
};
use asmr::network::{Modulator, Network, NetworkConfig};
use asmr::partition::Partition;
use asmr::residual::{self, MaxError};
use asmr::signal::{ColorType, SampleType, SignalInfo};

fn picture() -> AsmrFile {
    let partition = Partition::new(&[12, 10], &[vec![3, 4], vec![2, 5]]).unwrap();
    let config =
        NetworkConfig { partition, channels: 3, width: 7, omega_0: 30.0, modulator: Modulator::Linear };
    let (network, steps) = quantised(&config, 3);
    let mut fit = FitRecord::new();
    fit.insert("steps", 10);
    AsmrFile {
        signal: SignalInfo::plain(vec![12, 10], 3, SampleType::U8, Some(ColorType::Rgb)),
        network,
        steps: Some(steps),
        fit: Some(fit),
    }
}

/// A network whose weights are multiples of steps, some 4 to 100 of them; those of matrices differ by row and column.
fn quantised(config: &NetworkConfig, seed: u64) -> (Network, Vec<TensorSteps>) {
    let network = Network::init(config.clone(), seed, 1.0).unwrap();
    let steps: Vec<TensorSteps> = config
        .tensors()
        .iter()
        .enumerate()
        .map(|(i, tensor)| {
            let finest = Step::at_most(0.002 * (i + 1) as f64);
            let grades = |n: usize| (0..n).map(|k| (k * (i + 1) % 5) as u8).collect();
            match tensor.shape[..] {
                [m, n] => TensorSteps { finest, rows: grades(m), columns: grades(n) },
                _ => TensorSteps::uniform(finest),
            }
        })
        .collect();
    let weights = QuantisedWeights::nearest(config, steps.clone(), network.params());
    (Network::new(config.clone(), weights.weights(config)).unwrap(), steps)
}

fn read(bytes: &[u8]) -> Result<AsmrFile, FileError> {
    AsmrFile::read_from_bytes(bytes, &Limits::default())
}

#[test]
fn a_coded_file_comes_back() {
    let file = picture();
    let bytes = file.to_bytes().unwrap();
    assert_eq!(bytes[8], 3, "its version");
    assert_eq!(file.n_bytes().unwrap(), bytes.len() as u64);
    assert_eq!(read(&bytes).unwrap(), file);
    let mut stream = Vec::new();
    assert_eq!(file.write_to(&mut stream).unwrap(), bytes.len() as u64);
    assert_eq!(stream, bytes);
    let mut reader = AsmrReader::open(Cursor::new(&bytes), &Limits::default()).unwrap();
    assert_eq!((reader.version(), reader.header().encoding), (3, Encoding::Coded));
    let chunk = reader.chunk(0).unwrap();
    assert_eq!((chunk.network, chunk.steps), (file.network.clone(), file.steps.clone()));
    // Prefix, header, one entry of the index, its checksum and padding; the code is all the rest.
    let header_len = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let code = QuantisedWeights::exact(file.network.config(), file.steps.unwrap(), file.network.params());
    assert_eq!(bytes[24 + header_len + 24 + 8..], code.unwrap().encode(file.network.config()));
    assert_eq!(reader.weight_bytes() as usize, bytes.len() - (24 + header_len + 24 + 8));
}

/// Every byte flipped, every length cut: no panic, and never a success.
#[test]
fn damage_at_every_byte_is_refused() {
    let bytes = picture().to_bytes().unwrap();
    let mut n_cases = 0;
    for at in 0..bytes.len() {
        assert!(read(&bytes[..at]).is_err(), "cut at byte {at}");
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            assert!(read(&damaged).is_err(), "bit {bit} of byte {at}");
            n_cases += 1;
        }
    }
    assert_eq!(n_cases, 8 * bytes.len());
    let longer = [&bytes[..], &[0]].concat();
    assert!(matches!(read(&longer), Err(FileError::TrailingBytes { .. })));
}

/// Damage that the checksums do not see, because whoever made it made them fit: refused, or other weights, but no panic.
#[test]
fn code_with_a_fitting_checksum_is_taken_or_refused() {
    let file = picture();
    let bytes = file.to_bytes().unwrap();
    let header_len = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let (index, code) = (24 + header_len, 24 + header_len + 32);
    let (mut n_taken, mut n_refused) = (0, 0);
    for at in code..bytes.len() {
        for change in [0x01, 0x80, 0xFF] {
            let mut forged = bytes.clone();
            forged[at] ^= change;
            let checksum = crc32fast::hash(&forged[code..]);
            forged[index + 16..index + 20].copy_from_slice(&checksum.to_le_bytes());
            let checksum = crc32fast::hash(&forged[index..index + 24]);
            forged[index + 24..index + 28].copy_from_slice(&checksum.to_le_bytes());
            match read(&forged) {
                Ok(other) => {
                    assert!(other.network.params().iter().all(|w| w.is_finite()));
                    assert_eq!(other.to_bytes().unwrap(), forged, "the only code of its weights");
                    n_taken += 1;
                }
                Err(FileError::Inconsistent(_)) => n_refused += 1,
                Err(other) => panic!("byte {at}: {other}"),
            }
        }
    }
    assert_eq!(n_taken + n_refused, 3 * (bytes.len() - code));
    assert!(n_taken > 0);
}

#[test]
fn weights_that_are_no_multiples_are_not_written() {
    let file = picture();
    let mut params = file.network.params().to_vec();
    params[5] += 1e-4;
    let network = Network::new(file.network.config().clone(), params).unwrap();
    assert!(matches!(AsmrFile { network, ..file.clone() }.to_bytes(), Err(FileError::Inconsistent(_))));
    let too_few = file.steps.clone().map(|mut steps| {
        steps.pop();
        steps
    });
    let misfits = file.steps.clone().map(|mut steps| {
        steps[0].rows.pop();
        steps
    });
    for steps in [too_few, misfits] {
        assert!(matches!(AsmrFile { steps, ..file.clone() }.to_bytes(), Err(FileError::Inconsistent(_))));
    }
    // The encoding and the steps must go together.
    for (encoding, steps) in [(Encoding::F32, file.steps.clone()), (Encoding::Coded, None)] {
        let header = FileHeader { encoding, ..file.header() };
        let mut writer = AsmrWriter::new(Cursor::new(Vec::new()), header).unwrap();
        let pushed = writer.push(&file.network, steps.as_deref());
        assert!(matches!(pushed, Err(FileError::Inconsistent(_))), "{encoding:?}");
    }
}

/// The picture in chunks of five rows, the last of two, with a network for each.
fn sequence() -> (FileHeader, Vec<(Network, Vec<TensorSteps>)>) {
    let file = picture();
    let network = NetworkConfig {
        partition: Partition::new(&[5, 10], &[vec![1, 5], vec![2, 5]]).unwrap(),
        ..file.network.config().clone()
    };
    let header = FileHeader { chunk_extent: 5, network, ..file.header() };
    let networks = (0..3).map(|chunk| quantised(&header.chunk_config(chunk), chunk as u64)).collect();
    (header, networks)
}

/// Chunks of different lengths, left and gone on with.
#[test]
fn a_coded_sequence_is_gone_on_with() {
    let (header, networks) = sequence();
    let mut writer = AsmrWriter::new(Cursor::new(Vec::new()), header.clone()).unwrap();
    for (network, steps) in &networks[..2] {
        writer.push(network, Some(steps)).unwrap();
    }
    let chunks = writer.written();
    assert_ne!(chunks[0].n_bytes, chunks[1].n_bytes);
    let second = writer.chunk(1).unwrap();
    assert_eq!((second.network, second.steps), (networks[1].0.clone(), Some(networks[1].1.clone())));
    let mut unfinished = writer.flush().unwrap().get_ref().clone();
    unfinished.extend([1, 2, 3]);
    let mut resumed = AsmrWriter::resume(Cursor::new(unfinished), header.clone(), &chunks).unwrap();
    resumed.push(&networks[2].0, Some(&networks[2].1)).unwrap();
    let (cursor, n_bytes) = resumed.finish().unwrap();
    let bytes = &cursor.get_ref()[..n_bytes as usize];
    let mut reader = AsmrReader::open(Cursor::new(bytes), &Limits::default()).unwrap();
    assert_eq!(reader.header(), &header);
    for (chunk, (network, steps)) in networks.iter().enumerate() {
        let read = reader.chunk(chunk).unwrap();
        assert_eq!((&read.network, read.steps.as_ref()), (network, Some(steps)));
    }
}

/// Whatever byte of a sequence is another one: the beginning is refused, a chunk is lost and the others are not, or its length
/// is wrong.
#[test]
fn damage_of_a_sequence_is_where_it_is() {
    let (header, networks) = sequence();
    let mut writer = AsmrWriter::new(Cursor::new(Vec::new()), header.clone()).unwrap();
    for (network, steps) in &networks {
        writer.push(network, Some(steps)).unwrap();
    }
    let starts: Vec<usize> = writer
        .written()
        .iter()
        .scan(0, |at, chunk| {
            *at += chunk.n_bytes as usize;
            Some(*at)
        })
        .collect();
    let (cursor, n_bytes) = writer.finish().unwrap();
    let bytes = &cursor.get_ref()[..n_bytes as usize];
    let first = bytes.len() - starts[2];
    let open = |bytes: &[u8]| AsmrReader::open_damaged(Cursor::new(bytes.to_vec()), &Limits::default());
    let (mut n_refused, mut n_lost) = (0, 0);
    for at in 0..bytes.len() {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 0x20;
        let Ok(mut reader) = open(&damaged) else {
            assert!(at < first, "byte {at}");
            n_refused += 1;
            continue;
        };
        let chunk = starts.iter().position(|end| at - first < *end).unwrap();
        for (i, expected) in networks.iter().enumerate() {
            match reader.network(i) {
                Ok(network) => assert!(i != chunk && network == expected.0, "byte {at}, chunk {i}"),
                Err(error) => {
                    assert!(i == chunk && matches!(error, FileError::Damaged { .. }), "byte {at}, chunk {i}");
                    n_lost += 1;
                }
            }
        }
        assert!(reader.check_length().is_ok());
    }
    assert_eq!((n_refused, n_lost), (first, bytes.len() - first));
    // Cut: what is there stays.
    for end in first..bytes.len() {
        let mut reader = open(&bytes[..end]).unwrap();
        for (i, expected) in networks.iter().enumerate() {
            match reader.network(i) {
                Ok(network) => assert!(first + starts[i] <= end && network == expected.0),
                Err(error) => {
                    assert!(first + starts[i] > end && matches!(error, FileError::Truncated { .. }));
                }
            }
        }
        assert!(matches!(reader.check_length(), Err(FileError::Truncated { .. })));
    }
    assert!(matches!(
        open(&[bytes, &[0]].concat()).unwrap().check_length(),
        Err(FileError::TrailingBytes { .. })
    ));
}

/// The sequence as a whole file of version 3; with a bound on errors, corrections of made-up residuals.
fn unordered(max_error: Option<MaxError>) -> (Vec<u8>, Vec<Chunk>) {
    let (header, networks) = sequence();
    let header = FileHeader { max_error, ..header };
    let mut writer = AsmrWriter::new(Cursor::new(Vec::new()), header.clone()).unwrap();
    let mut chunks = Vec::new();
    for (chunk, (network, steps)) in networks.into_iter().enumerate() {
        let corrections = max_error.map(|bound| {
            let info = header.chunk_signal(chunk);
            let residuals: Vec<i64> =
                (0..info.n_values().unwrap()).map(|i| (i * 7 % 11) as i64 - 5).collect();
            vec![residual::encode(&info, info.extents[0], &residuals, bound.coded())]
        });
        writer.push_corrected(&network, Some(&steps), corrections.as_deref()).unwrap();
        chunks.push(Chunk { network, steps: Some(steps), corrections });
    }
    (writer.finish().unwrap().0.into_inner(), chunks)
}

fn ordered(file: &[u8], refinements: &[u8]) -> Vec<u8> {
    let mut reader = AsmrReader::open(Cursor::new(file), &Limits::default()).unwrap();
    let mut passes =
        |network: &Network, weights: &QuantisedWeights| weights.nearest_passes(network.config(), refinements);
    write_progressive(&mut reader, refinements, &mut passes, Cursor::new(Vec::new())).unwrap().0.into_inner()
}

fn opened(bytes: &[u8]) -> AsmrReader<Cursor<&[u8]>> {
    AsmrReader::open_damaged(Cursor::new(bytes), &Limits::default()).unwrap()
}

/// Offsets and lengths of the parts, as docs/FORMAT.md has them.
fn parts(bytes: &[u8], n: usize) -> Vec<(usize, usize)> {
    let index = 24 + u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let parts: Vec<_> = (0..n).map(|i| (number(index + 24 * i), number(index + 24 * i + 8))).collect();
    assert_eq!(parts[0].0, index + 24 * n + 8);
    assert!(parts.windows(2).all(|pair| pair[0].0 + pair[0].1 == pair[1].0));
    assert_eq!(parts[n - 1].0 + parts[n - 1].1, bytes.len());
    parts
}

/// Every weight of a part of the passes is the multiple of the larger step that is nearest to the final weight; all passes
/// give the final weights.
#[test]
fn passes_are_the_nearest_of_coarser_steps() {
    let (file, chunks) = unordered(None);
    let mut n_cases = 0;
    for refinements in [&[2, 2][..], &[1], &[3, 1, 2], &[1; MAX_REFINEMENTS]] {
        let bytes = ordered(&file, refinements);
        assert_eq!(bytes[8], 4, "its version");
        let n_passes = 1 + refinements.len();
        parts(&bytes, 3 * n_passes);
        let mut reader = AsmrReader::open(Cursor::new(&bytes), &Limits::default()).unwrap();
        assert_eq!(
            (reader.header().n_passes(), reader.header().refinements.as_slice()),
            (n_passes, refinements)
        );
        assert_eq!(reader.pass_bytes().iter().sum::<u64>(), reader.weight_bytes());
        for (k, expected) in chunks.iter().enumerate() {
            assert_eq!(&reader.chunk(k).unwrap(), expected);
            let config = expected.network.config();
            for n in 1..=n_passes {
                let coarse = reader.first_passes(k, n).unwrap();
                let octaves: u8 = refinements[n - 1..].iter().sum();
                for (t, tensor) in config.tensors().iter().enumerate() {
                    let (fine, steps) =
                        (&expected.steps.as_ref().unwrap()[t], &coarse.steps.as_ref().unwrap()[t]);
                    assert_eq!(steps.finest.code(), fine.finest.code() + 4 * octaves);
                    assert_eq!((&steps.rows, &steps.columns), (&fine.rows, &fine.columns));
                    let columns = tensor.shape[tensor.shape.len() - 1];
                    for (i, at) in tensor.range().enumerate() {
                        let size = f64::from(steps.step(i / columns, i % columns).size());
                        let (w, full) = (
                            f64::from(coarse.network.params()[at]),
                            f64::from(expected.network.params()[at]),
                        );
                        assert_eq!((w / size).fract(), 0.0, "a multiple");
                        // Exact: steps are powers of two times 4 to 7.
                        assert!((w - full).abs() <= size / 2.0, "{w} for {full}, steps of {size}");
                        n_cases += 1;
                    }
                }
            }
        }
    }
    let n_params: usize = chunks.iter().map(|chunk| chunk.network.params().len()).sum();
    assert_eq!(n_cases, n_params * (3 + 2 + 4 + 1 + MAX_REFINEMENTS));
}

/// Cut anywhere behind its index, a file gives the passes that lie before the cut, of every chunk.
#[test]
fn a_cut_progressive_file_gives_its_first_passes() {
    for (max_error, n_passes) in [(None, 3), (Some(MaxError::Whole(1)), 4)] {
        let (file, chunks) = unordered(max_error);
        let bytes = ordered(&file, &[2, 2]);
        let parts = parts(&bytes, 3 * n_passes);
        let mut whole = opened(&bytes);
        let expected: Vec<Vec<Chunk>> =
            (0..3).map(|k| (1..=n_passes).map(|n| whole.first_passes(k, n).unwrap()).collect()).collect();
        for (k, all) in expected.iter().enumerate() {
            assert_eq!(all[n_passes - 1], chunks[k]);
            let n_corrected = all.iter().filter(|chunk| chunk.corrections.is_some()).count();
            assert_eq!(n_corrected, usize::from(max_error.is_some()), "corrections are the last pass");
        }
        for end in parts[0].0..bytes.len() {
            let mut reader = opened(&bytes[..end]);
            assert!(matches!(reader.check_length(), Err(FileError::Truncated { .. })));
            assert!(AsmrReader::open(Cursor::new(&bytes[..end]), &Limits::default()).is_err());
            for k in 0..3 {
                let there = (0..n_passes).filter(|pass| {
                    let (offset, length) = parts[3 * pass + k];
                    offset + length <= end
                });
                let n = there.count();
                assert_eq!(reader.n_passes_there(k), n, "cut at byte {end}");
                match reader.whole_passes(k) {
                    Ok((chunk, whole)) => assert!(whole == n && chunk == expected[k][n - 1]),
                    Err(error) => assert!(n == 0 && matches!(error, FileError::Truncated { .. })),
                }
                assert_eq!(reader.chunk(k).is_ok(), n == n_passes);
            }
        }
    }
}

/// Whatever byte behind the index is another one: its chunk has the passes before it, the other chunks have all of theirs.
#[test]
fn damage_of_a_progressive_file_is_where_it_is() {
    let (file, chunks) = unordered(None);
    let bytes = ordered(&file, &[2, 2]);
    let parts = parts(&bytes, 9);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x20;
        let reader = AsmrReader::open_damaged(Cursor::new(&damaged[..]), &Limits::default());
        assert_eq!(reader.is_ok(), at >= parts[0].0, "byte {at}");
        let Ok(mut reader) = reader else { continue };
        let part = parts.iter().rposition(|(offset, _)| *offset <= at).unwrap();
        for (k, expected) in chunks.iter().enumerate() {
            let n = if k == part % 3 { part / 3 } else { 3 };
            match reader.whole_passes(k) {
                Ok((chunk, whole)) => assert!(whole == n && (n < 3 || chunk == *expected), "byte {at}"),
                Err(error) => {
                    assert!(n == 0 && matches!(error, FileError::Damaged { .. }), "byte {at}: {error}");
                }
            }
        }
    }
}

#[test]
fn wrong_refinements_are_refused() {
    let (file, _) = unordered(None);
    let mut n_cases = 0;
    for refinements in [&[][..], &[0], &[2, 0], &[21], &[11, 10], &[255, 255], &[1; MAX_REFINEMENTS + 1]] {
        let mut reader = opened(&file);
        let mut passes = |_: &Network, _: &QuantisedWeights| panic!("refused before");
        let result = write_progressive(&mut reader, refinements, &mut passes, Cursor::new(Vec::new()));
        assert!(matches!(result, Err(FileError::Inconsistent(_))), "{refinements:?}");
        n_cases += 1;
    }
    assert_eq!(n_cases, 7);
    // Floats have no coarser steps, and chunks of a progressive file are not written one by one.
    let (network, steps) = quantised(picture().network.config(), 1);
    let floats = AsmrFile { network: network.clone(), steps: None, ..picture() };
    let bytes = floats.to_bytes().unwrap();
    let mut passes = |_: &Network, _: &QuantisedWeights| panic!("refused before");
    let result = write_progressive(&mut opened(&bytes), &[2], &mut passes, Cursor::new(Vec::new()));
    assert!(matches!(result, Err(FileError::Inconsistent(_))));
    // Passes have to lead to the weights, by these refinements.
    let mut n_cases = 0;
    for wrong in 0..4 {
        let mut passes = |network: &Network, weights: &QuantisedWeights| {
            let refinements: &[u8] = if wrong == 0 { &[2, 1] } else { &[2, 2] };
            let mut passes = weights.nearest_passes(network.config(), refinements)?;
            match wrong {
                1 => drop(passes.pop()),
                2 => passes[2].values[3] += 1,
                3 => return None,
                _ => {}
            }
            Some(passes)
        };
        let result = write_progressive(&mut opened(&file), &[2, 2], &mut passes, Cursor::new(Vec::new()));
        assert!(matches!(result, Err(FileError::Inconsistent(_))), "{wrong}");
        n_cases += 1;
    }
    assert_eq!(n_cases, 4);
    let header = FileHeader { refinements: vec![2], ..picture().header() };
    let mut writer = AsmrWriter::new(Cursor::new(Vec::new()), header).unwrap();
    assert!(matches!(writer.push(&network, Some(&steps)), Err(FileError::Inconsistent(_))));
}

/// The largest steps have none above them: the same weights are multiples of smaller ones.
#[test]
fn the_largest_steps_have_passes_too() {
    let config = picture().network.config().clone();
    let tensors = config.tensors();
    let steps = vec![TensorSteps::uniform(Step::from_code(255)); tensors.len()];
    let weights =
        QuantisedWeights { steps, values: (0..config.n_params()).map(|i| i as i32 % 7 - 3).collect() };
    let codes = QuantisedWeights::encode_passes(&config, &weights.nearest_passes(&config, &[4, 3]).unwrap());
    let back = QuantisedWeights::decode_passes(&config, &[4, 3], &codes).unwrap();
    assert_eq!(back.weights(&config), weights.weights(&config));
    assert!(back.steps.iter().all(|steps| steps.finest.code() <= 255 - 28));
    // Where the numbers would not fit there are none.
    let values = vec![(1 << 20) + 1; config.n_params()];
    assert_eq!(QuantisedWeights { values, ..weights }.nearest_passes(&config, &[4, 3]), None);
}
