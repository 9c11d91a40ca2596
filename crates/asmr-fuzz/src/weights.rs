//! Weights from `PyTorch`: `.safetensors` files as `asmr import` reads them.

use asmr::file::{AsmrFile, FileError, Limits};
use asmr::interchange::{ImportError, export, import, imported_signal};
use asmr::network::Network;

/// The most bytes of weights that are made of those in an input.
const MAX_WEIGHTS: usize = 1 << 16;

/// What is read is the same network when written and read again, with its own bases given or not, and can be kept as an `.asmr` file. A
/// file without bases is read with some.
pub(crate) fn weights(bytes: &[u8]) -> bool {
    let file = assembled(bytes);
    match import(&file, None) {
        Ok(network) => {
            let bases = network.config().partition.bases();
            let same = import(&file, Some(bases)).expect("its own bases");
            assert!(are_same(&same, &network), "its own bases give another network");
            check(&network);
            true
        }
        Err(ImportError::NoBases) => {
            let bases = (1..=4).flat_map(|axes| (2..=4).map(move |levels| vec![vec![2; levels]; axes]));
            bases.fold(false, |is_taken, bases| match import(&file, Some(&bases)) {
                Ok(network) => {
                    check(&network);
                    true
                }
                Err(error) => {
                    told(&error);
                    is_taken
                }
            })
        }
        Err(error) => {
            told(&error);
            false
        }
    }
}

/// The command makes one line of what is quoted from a file.
fn told(error: &ImportError) {
    let message = error.to_string();
    assert!(!message.is_empty() && message.len() <= 1500, "{} bytes: {message}", message.len());
}

fn are_same(a: &Network, b: &Network) -> bool {
    let bits = |network: &Network| network.params().iter().map(|w| w.to_bits()).collect::<Vec<_>>();
    a.config() == b.config() && bits(a) == bits(b)
}

fn check(network: &Network) {
    network.config().validate().expect("a network that was read is valid");
    let again = import(&export(network).expect("memory"), None).expect("our own file");
    assert!(are_same(&again, network), "it is another network when written and read again");
    let signal = imported_signal(network.config());
    signal.validate().expect("its signal is valid");
    let file = AsmrFile { signal, network: network.clone(), steps: None, fit: None };
    // Otherwise it is told that it is too large for a file.
    let Ok(bytes) = file.to_bytes() else { return };
    match AsmrFile::read_from_bytes(&bytes, &Limits::default()) {
        Ok(back) => {
            assert!(are_same(&back.network, network) && back.signal == file.signal, "it is another as .asmr");
        }
        // A few weights may be of a grid of any extents.
        Err(error) => assert!(matches!(error, FileError::Limit { .. }), "as .asmr it is refused: {error}"),
    }
}

/// A file of the JSON of its header up to a byte of 0, and weights: its length is added, and weights are repeated or cut to what the
/// header says, if that is not much. What does not begin like JSON is a file as it is.
fn assembled(bytes: &[u8]) -> Vec<u8> {
    if !bytes.starts_with(b"{") {
        return bytes.to_vec();
    }
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let (json, weights) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
    let mut file = (json.len() as u64).to_le_bytes().to_vec();
    file.extend(json);
    let header: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
    let ends = header.as_object().into_iter().flatten().filter_map(|(_, t)| t["data_offsets"][1].as_u64());
    let needed = ends.max().map_or(0, |end| usize::try_from(end).unwrap_or(usize::MAX));
    let needed = if needed <= MAX_WEIGHTS { needed } else { weights.len() };
    file.extend(weights.iter().chain(&[0; 4]).cycle().take(needed));
    file
}
