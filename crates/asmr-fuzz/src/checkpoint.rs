//! The state of a fit in the middle, which is kept beside its output.

use asmr::network::{Modulator, NetworkConfig};
use asmr::partition::{Partition, parse_bases};
use asmr::signal::{ColorType, SampleType, Samples, Signal, SignalInfo};
use asmr_train::checkpoint::{Header, MAGIC};
use asmr_train::config::{Algorithm, FitConfig, Preset};
use asmr_train::fit::{Control, Fit, FitError};

use crate::check_message;

/// Updates of a fit.
const STEPS: u32 = 6;
/// Bytes of a section before its content: a tag and a length.
const SECTION: usize = 12;
/// Where the section of counters has the seconds that the fit took.
const SECONDS: usize = SECTION + 48;

/// Inputs with this bit in their first byte have no header, but get that of their fit.
const HEADLESS: u8 = 128;

/// A fit that a checkpoint may be of.
struct Job {
    signal: Signal,
    network: NetworkConfig,
    config: FitConfig,
}

impl Job {
    /// By SOAP, by Adam, and by SOAP in batches.
    fn new(kind: u8) -> Self {
        let (algorithm, batch) = [(Algorithm::Soap, 1.0), (Algorithm::Adam, 1.0), (Algorithm::Soap, 0.25)]
            [usize::from(kind % HEADLESS % 3)];
        let info = SignalInfo::plain(vec![4, 4], 1, SampleType::U8, Some(ColorType::Gray));
        let signal = Signal::new(info, Samples::U8((0..16).map(|i| i * i).collect())).expect("a picture");
        let bases = parse_bases("2,1,2;2,1,2").expect("bases");
        let network = NetworkConfig {
            partition: Partition::new(&[4, 4], &bases).expect("a partition"),
            channels: 1,
            width: 3,
            omega_0: 30.0,
            modulator: Modulator::Linear,
        };
        let preset = FitConfig::preset(Preset::Fast, &network);
        Self { signal, config: FitConfig { algorithm, batch, steps: STEPS, ..preset }, network }
    }

    /// What is before the state in a checkpoint.
    fn header(&self) -> Vec<u8> {
        let mut fit = Fit::new(&self.signal, &self.network, &self.config).expect("a fit");
        let mut bytes = Vec::new();
        fit.write_checkpoint(&mut bytes).expect("memory");
        bytes.truncate(header_bytes(&bytes));
        bytes
    }

    fn resumed(&self, mut checkpoint: &[u8]) -> Result<Fit<'_>, FitError> {
        Fit::resume(&self.signal, &self.network, &self.config, &mut checkpoint)
    }
}

/// A byte that says which fit, then its checkpoint, whose checksums are made right; or only the state in it, of which any byte may change
/// without its being another fit's. One that is taken is the same when written and read again, and the fit goes on from both alike.
pub(crate) fn checkpoint(bytes: &[u8]) -> bool {
    let Some((&kind, rest)) = bytes.split_first() else { return false };
    let job = Job::new(kind);
    let header = if kind & HEADLESS == 0 { Vec::new() } else { job.header() };
    let file = summed(&[&header, rest].concat());
    if let Err(error) = Header::read(&mut &file[..]) {
        check_message(&error.to_string());
    }
    let mut fit = match job.resumed(&file) {
        Ok(fit) => fit,
        Err(error) => {
            check_message(&error.to_string());
            return false;
        }
    };
    let mut written = Vec::new();
    fit.write_checkpoint(&mut written).expect("memory");
    let again = job.resumed(&written).expect("our own checkpoint");
    assert_eq!(end(again), end(fit), "it goes on otherwise when written and read again");
    true
}

/// The weights that a fit ends with as bits, or why it does not end: a state may be one that no fit comes to.
fn end(mut fit: Fit<'_>) -> Result<Vec<u32>, String> {
    let ending = fit.run(&Control::default(), &mut |_| {});
    let fitted = ending.and_then(|ending| fit.finish(ending)).map_err(|error| error.to_string())?;
    Ok(fitted.network.params().iter().map(|w| w.to_bits()).collect())
}

/// Bytes before the sections of a fit's state.
fn header_bytes(checkpoint: &[u8]) -> usize {
    let at = MAGIC.len() + 4;
    let length = checkpoint[at + 4..].first_chunk().expect("a length");
    at + SECTION + u64::from_le_bytes(*length) as usize + 4
}

/// Gives the sections of a checkpoint the checksums of what they hold.
fn summed(bytes: &[u8]) -> Vec<u8> {
    let mut file = bytes.to_vec();
    // After the version.
    let mut at = MAGIC.len() + 4;
    while let Some(length) = file.get(at + 4..).and_then(<[u8]>::first_chunk) {
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let end = (at + SECTION).saturating_add(length);
        if end.saturating_add(4) > file.len() {
            break;
        }
        let sum = crc32fast::hash(&file[at..end]);
        file[end..end + 4].copy_from_slice(&sum.to_le_bytes());
        at = end + 4;
    }
    file
}

/// An input of a fit after so many steps: 0 to 2, whole, and with 128 more without its header.
///
/// # Panics
/// When it cannot be fitted.
#[must_use]
pub fn kept_fit(kind: u8, steps: u32) -> Vec<u8> {
    let job = Job::new(kind);
    let mut fit = Fit::new(&job.signal, &job.network, &job.config).expect("a fit");
    for _ in 0..steps {
        // One update at least.
        fit.run_for(std::time::Duration::ZERO, &Control::default(), &mut |_| {}).expect("it goes on");
    }
    let mut bytes = Vec::new();
    fit.write_checkpoint(&mut bytes).expect("memory");
    // The same bytes however long it took.
    let counters = bytes.windows(4).position(|tag| tag == b"PROG").expect("its counters");
    bytes[counters + SECONDS..counters + SECONDS + 8].fill(0);
    let file = summed(&bytes);
    let start = if kind & HEADLESS == 0 { 0 } else { header_bytes(&file) };
    [&[kind], &file[start..]].concat()
}
