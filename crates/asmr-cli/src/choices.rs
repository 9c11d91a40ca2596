//! From options to a network and the settings of its fit: what contradicts itself is refused, what is left open is chosen.

use asmr::cost::Cost;
use asmr::file::Encoding;
use asmr::network::NetworkConfig;
use asmr::partition::{Partition, parse_bases};
use asmr::planner::{DEFAULT_WIDTH, PlanRequest, default_levels, plan};
use asmr::published::published;
use asmr::signal::SignalInfo;
use asmr_train::config::{FitConfig, Preset};

use crate::args::{EncodeArgs, WeightsName};
use crate::error::{Failure, say};
use crate::report::describe;
use crate::values::Bases;

/// Refuses options that contradict each other.
pub(crate) fn check_options(args: &EncodeArgs) -> Result<(), Failure> {
    let is_sized = args.bytes.is_some() || args.bpp.is_some();
    if args.weights == Some(WeightsName::F32) && (args.loss.is_some() || is_sized) {
        let (option, says) = if is_sized {
            ("--bytes and --bpp say", "how small the file is to be")
        } else {
            ("--loss says", "what rounding the weights may cost")
        };
        return Err(Failure::usage(format!(
            "{option} {says}, and --weights f32 rounds none; leave one of them out"
        )));
    }
    if args.weights == Some(WeightsName::F32) && args.progressive {
        return Err(Failure::usage(
            "--progressive writes coarse weights first and then what makes them finer, and --weights f32 has no coarse ones; leave one of \
             them out",
        ));
    }
    if args.lossless || args.max_error.is_some() {
        let other = if is_sized {
            Some("--bytes and --bpp say how small the file is to be")
        } else if args.psnr.is_some() {
            Some("--psnr says how good it is to be on the whole")
        } else if args.weights == Some(WeightsName::F32) {
            Some("--weights f32 keeps weights that no machine-independent code has")
        } else {
            None
        };
        if let Some(other) = other {
            return Err(Failure::usage(format!(
                "--lossless and --max-error say how good each value is to be, and {other}; leave one of them out"
            )));
        }
    }
    if is_sized && (args.loss.is_some() || args.psnr.is_some()) {
        return Err(Failure::usage(
            "--bytes and --bpp leave the quality open, and --psnr and --loss the size; leave one of them out",
        ));
    }
    let Some(Bases(bases)) = &args.bases else { return Ok(()) };
    if args.mac.is_some() {
        return Err(Failure::usage(
            "--mac and --bases contradict each other: --mac chooses bases within a budget; leave one of them out",
        ));
    }
    if let Some(levels) = args.levels
        && bases.iter().any(|list| list.len() != levels)
    {
        let mut counts: Vec<_> = bases.iter().map(|list| list.len().to_string()).collect();
        counts.dedup();
        return Err(Failure::usage(format!(
            "--levels {levels} and --bases contradict each other: the bases have {} levels; leave --levels out",
            counts.join(" and ")
        )));
    }
    Ok(())
}

/// How weights are stored.
pub(crate) fn encoding(args: &EncodeArgs) -> Encoding {
    args.weights.unwrap_or(WeightsName::Coded).into()
}

/// By how many octaves each pass after the first makes steps finer. With three, the first pass is not quite half of the file and
/// loses 3 to 4 dB (results/). Further passes would make the file longer again: errors that make up for each other in one pass have
/// little to do with those of the next.
const REFINEMENTS: [u8; 1] = [3];

/// Passes after the first.
pub(crate) fn refinements(args: &EncodeArgs) -> Vec<u8> {
    if args.progressive { REFINEMENTS.to_vec() } else { Vec::new() }
}

/// Whether nothing says or implies a width.
pub(crate) fn is_width_open(args: &EncodeArgs) -> bool {
    args.width.is_none() && args.mac.is_none() && Preset::from(args.preset) != Preset::Paper
}

/// Whether the width is to follow from the time: nothing else says or implies one, and the time is what ends the fit.
pub(crate) fn leaves_width_open(args: &EncodeArgs) -> bool {
    is_width_open(args) && args.bases.is_none() && args.steps.is_none()
}

/// How wide a network may be where nothing says its width.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Room {
    /// As the planner likes it.
    Default,
    /// So wide.
    Width(usize),
    /// As wide as so many weights allow.
    Weights(u64),
}

/// Bases and width: those given, the planner's for the rest; of so many levels, where options say none.
pub(crate) fn choose_network(
    args: &EncodeArgs,
    info: &SignalInfo,
    room: Room,
    levels: Option<usize>,
) -> Result<NetworkConfig, Failure> {
    // Where a target decides the width it decides the network, and the preset only how it is fitted.
    let is_decided =
        !matches!(room, Room::Default) && args.width.is_none() && args.bases.is_none() && args.mac.is_none();
    let paper = (Preset::from(args.preset) == Preset::Paper && !is_decided).then(|| published(info));
    let mut request = PlanRequest {
        levels: args.levels.or(levels).or(paper.map(|paper| paper.levels)),
        width: args.width.or(paper.filter(|_| args.mac.is_none()).map(|paper| paper.width)).or(match room {
            Room::Width(width) => Some(width),
            Room::Default | Room::Weights(_) => None,
        }),
        mac_budget: args.mac,
        max_params: if let Room::Weights(n) = room { Some(n) } else { None },
        modulator: args.modulator.into(),
        omega_0: args.omega_0,
        ..PlanRequest::new(&info.extents, info.channels)
    };
    let refuse = |error: &dyn std::fmt::Display| {
        Failure::usage(format!("{} ({}): {error}", args.input.display(), describe(info)))
    };
    // The published bases, where nothing else is asked for.
    let of_paper = paper
        .filter(|_| args.mac.is_none() && args.levels.is_none())
        .and_then(|paper| parse_bases(paper.bases?).ok());
    let Some(bases) = args.bases.as_ref().map(|Bases(bases)| bases).or(of_paper.as_ref()) else {
        let chosen = plan(&request).map_err(|error| refuse(&error))?;
        return Ok(chosen.into_config(&request));
    };
    let partition = Partition::new(&info.extents, bases).map_err(|error| refuse(&error))?;
    // The planner's width for that many levels.
    request.levels = Some(partition.n_levels());
    let width = request.width.or_else(|| plan(&request).ok().map(|plan| plan.width)).unwrap_or(DEFAULT_WIDTH);
    let network = NetworkConfig {
        partition,
        channels: info.channels,
        width,
        omega_0: request.omega_0,
        modulator: request.modulator,
    };
    network.validate().map_err(|error| refuse(&error))?;
    Ok(network)
}

/// The network with a picture's other bases, and as wide as the weights of this one allow: the planner has smooth bases for narrow
/// networks and plain ones for wide networks (`asmr::planner`), and where the two meet, the picture decides which are better.
/// With it the levels with which [`choose_network`] chooses those bases. `None` where there is no choice.
pub(crate) fn other_bases(
    args: &EncodeArgs,
    info: &SignalInfo,
    network: &NetworkConfig,
) -> Option<(NetworkConfig, Option<usize>)> {
    if args.bases.is_some() || args.levels.is_some() {
        return None;
    }
    let room = Room::Weights(u64::try_from(Cost::of(network).n_params).ok()?);
    // Asked for levels, the planner has plain bases.
    [None, Some(default_levels(&info.extents))].into_iter().find_map(|levels| {
        let other = choose_network(args, info, room, levels).ok()?;
        (other.partition != network.partition).then_some((other, levels))
    })
}

/// The preset's settings with the options' changes.
pub(crate) fn fit_config(
    args: &EncodeArgs,
    network: &NetworkConfig,
    n_chunks: u32,
) -> Result<FitConfig, Failure> {
    let preset = args.preset.into();
    let mut config = match (args.steps, args.time) {
        (None, Some(_)) => FitConfig::preset_until_time(preset, network, n_chunks),
        _ => FitConfig::preset_of_chunk(preset, network, n_chunks),
    };
    config.seed = args.seed.unwrap_or(config.seed);
    if let Some(batch) = args.batch {
        config.set_batch(batch, network);
    }
    if let Some(steps) = args.steps {
        config.set_steps(steps);
    }
    config.rate = args.lr.unwrap_or(config.rate);
    config.seam_weight = args.seam_weight.unwrap_or(config.seam_weight);
    config.validate().map_err(|error| Failure::usage(error.to_string()))?;
    Ok(config)
}

/// Says that bases reach past the picture.
pub(crate) fn note_padding(network: &NetworkConfig) {
    let partition = &network.partition;
    let padded: Vec<_> = (0..partition.n_axes())
        .filter(|&axis| partition.padded_extent(axis) > partition.extents()[axis] as u64)
        .map(|axis| {
            format!("axis {axis} from {} to {}", partition.extents()[axis], partition.padded_extent(axis))
        })
        .collect();
    if !padded.is_empty() {
        say(&format!(
            "note: the bases reach past the signal and pad {}; the padding has no weight in the fit and is cut off on decode",
            padded.join(" and ")
        ));
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};
    use asmr::planner::SMOOTH_BASES;
    use asmr::signal::{ColorType, SampleType};

    fn args(more: &[&str]) -> Box<EncodeArgs> {
        match Cli::try_parse_from(["asmr", "encode", "a.png", "--psnr", "30"].iter().chain(more))
            .unwrap()
            .command
        {
            Command::Encode(args) => args,
            _ => unreachable!(),
        }
    }

    /// Each of the two kinds of bases has the other one as its other, with at most as many weights and nearly as many; wide networks,
    /// other signals, and bases or levels that are asked for have none.
    #[test]
    fn smooth_and_plain_bases_are_each_others() {
        let picture = SignalInfo::plain(vec![512, 768], 3, SampleType::U8, Some(ColorType::Rgb));
        let is_smooth = |network: &NetworkConfig| network.partition.bases()[0][1..] == SMOOTH_BASES;
        let of_width =
            |args: &EncodeArgs, width| choose_network(args, &picture, Room::Width(width), None).unwrap();
        let none = args(&[]);
        for (width, smooth) in [(40, true), (96, true), (118, false)] {
            let network = of_width(&none, width);
            assert_eq!(is_smooth(&network), smooth, "{width}");
            let (other, levels) = other_bases(&none, &picture, &network).unwrap();
            assert_eq!(is_smooth(&other), !smooth, "{width}");
            let n_params = Cost::of(&network).n_params;
            let wider = NetworkConfig { width: other.width + 1, ..other.clone() };
            assert!(Cost::of(&other).n_params <= n_params && n_params < Cost::of(&wider).n_params, "{width}");
            // The levels lead to the same bases again.
            let again = choose_network(&none, &picture, Room::Width(other.width), levels).unwrap();
            assert_eq!(again, other);
        }
        assert!(other_bases(&none, &picture, &of_width(&none, 300)).is_none());
        let six = args(&["--levels", "6"]);
        assert!(other_bases(&six, &picture, &of_width(&six, 96)).is_none());
        let sound = SignalInfo::plain(vec![1 << 20], 1, SampleType::I16, None);
        let network = choose_network(&none, &sound, Room::Width(96), None).unwrap();
        assert!(other_bases(&none, &sound, &network).is_none());
    }
}
