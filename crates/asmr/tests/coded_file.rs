//! Version 3 of the file: quantised weights, entropy-coded; damage at every byte.

use std::io::Cursor;

use asmr::coding::{QuantisedWeights, Step, TensorSteps};
use asmr::file::{AsmrFile, AsmrReader, AsmrWriter, Encoding, FileError, FileHeader, FitRecord, Limits};
use asmr::network::{Modulator, Network, NetworkConfig};
use asmr::partition::Partition;
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
