//! Damage of small files of all versions and kinds, at every byte and every length.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use asmr::file::{AsmrFile, AsmrReader, Chunk, FileError, FileHeader, Limits, MAX_HEADER_BYTES};

/// Longer files are left to others' tests, for the time that they take.
const MAX_BYTES: usize = 6 << 10;
/// One of them has a large grid.
const LIMITS: Limits = Limits {
    max_header_bytes: MAX_HEADER_BYTES,
    max_params: 1 << 20,
    max_values: 1 << 40,
    max_table_values: 1 << 20,
};

/// Files that other tests and the fuzzers have: names and bytes.
fn files() -> Vec<(PathBuf, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [root.join("../../fuzz/seeds/reader"), root.join("tests/data/coded")];
    let mut paths: Vec<PathBuf> = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()))
        .filter(|path| path.extension().is_none_or(|extension| extension == "asmr"))
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .filter(|(_, bytes)| bytes.len() <= MAX_BYTES)
        .collect()
}

/// What a file holds of each chunk: by the number of its first passes, of a file without passes all under 1.
type Passes = Vec<Vec<Chunk>>;

fn all_passes(bytes: &[u8]) -> Result<(FileHeader, Passes), FileError> {
    let mut reader = AsmrReader::open(Cursor::new(bytes), &LIMITS)?;
    let header = reader.header().clone();
    let passes = (0..header.n_chunks())
        .map(|chunk| (1..=header.n_passes()).map(|n| reader.first_passes(chunk, n)).collect())
        .collect::<Result<_, _>>()?;
    Ok((header, passes))
}

/// Reads what is left of a damaged file in every way: never the whole of it, and no chunk but as it was.
fn is_noticed(damaged: &[u8], header: &FileHeader, expected: &Passes) {
    assert!(AsmrFile::read_from_bytes(damaged, &LIMITS).is_err(), "read as a whole");
    let Ok(mut reader) = AsmrReader::open_damaged(Cursor::new(damaged), &LIMITS) else { return };
    assert_eq!(reader.header(), header, "another header");
    let mut is_whole = reader.check_length().is_ok();
    for (chunk, expected) in expected.iter().enumerate() {
        match reader.whole_passes(chunk) {
            Ok((read, n)) => {
                assert!(read == expected[n - 1], "chunk {chunk} is another");
                is_whole &= n == header.n_passes();
            }
            Err(_) => is_whole = false,
        }
    }
    assert!(!is_whole, "read as a whole");
}

/// No byte of a file is free: a checksum or a rule has each.
#[test]
fn every_changed_byte_and_every_cut_is_noticed() {
    let (mut n_cases, mut n_bytes, mut of_version) = (0, 0, [0; 4]);
    for (path, bytes) in files() {
        println!("{}", path.display());
        let (header, expected) = all_passes(&bytes).unwrap();
        of_version[usize::from(bytes[8]) - 1] += 1;
        n_bytes += bytes.len();
        for at in 0..bytes.len() {
            for change in [1 << (at % 8), 0xFF] {
                let mut damaged = bytes.clone();
                damaged[at] ^= change;
                is_noticed(&damaged, &header, &expected);
                n_cases += 1;
            }
            is_noticed(&bytes[..at], &header, &expected);
            n_cases += 1;
        }
        is_noticed(&[&bytes[..], &[0]].concat(), &header, &expected);
    }
    assert_eq!(n_cases, 3 * n_bytes);
    // Pictures of three modulators; five kinds of signals; these coded, and with corrections; in progressive order, and floats with
    // corrections.
    let are_there = of_version.iter().zip([3, 5, 11, 4]).all(|(n, least)| *n >= least);
    assert!(are_there, "{of_version:?} files of each version");
}
