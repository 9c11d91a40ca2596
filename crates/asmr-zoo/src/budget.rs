//! What methods are given equally much of, and the settings that use most of it.

use std::ops::RangeInclusive;
use std::time::Duration;

use asmr::cost::Cost;
use asmr::network::NetworkConfig;
use asmr::planner::{MAX_BUDGET_WIDTH, PlanRequest, plan};
use asmr_train::budget::width_for_time;
use serde::Serialize;

use crate::baseline::{Config, Method};
use crate::contestant::{ContestantError, asmr_error};
use crate::field::{FieldCost, Shape};
use crate::ngp::NgpSettings;

/// Widths that a budget leads to.
const WIDTHS: RangeInclusive<usize> = 1..=1 << 12;
/// The widest network over hash tables when it is weights that are short: published ones have 16 to 128.
const MAX_NGP_WIDTH: usize = 128;

/// What all methods have equally much of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// At most so many stored numbers, and as near to it as the method can.
    Params(u64),
    /// At most so many MAC/sample as executed, and as near to it as the method can.
    Mac(f64),
    /// So long a fit, with the settings each method usually has (ASMR: in so long a fit).
    Time(Duration),
}

impl Budget {
    /// Whether a method is within it.
    #[must_use]
    pub fn holds(self, cost: &FieldCost) -> bool {
        match self {
            Self::Params(most) => cost.n_params as u64 <= most,
            Self::Mac(most) => cost.mac_exec <= most,
            Self::Time(_) => true,
        }
    }
}

impl std::fmt::Display for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Params(n) => write!(f, "params={n}"),
            Self::Mac(mac) => write!(f, "mac={mac}"),
            Self::Time(time) => write!(f, "time={}s", time.as_secs_f64()),
        }
    }
}

impl Serialize for Budget {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The largest of a range that fits, where all below it fit too.
fn largest(range: RangeInclusive<usize>, fits: impl Fn(usize) -> bool) -> Option<usize> {
    let (mut low, mut high) = (*range.start(), *range.end());
    if !fits(low) {
        return None;
    }
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    Some(low)
}

/// A network's cost in the words of baselines.
pub(crate) fn asmr_cost(config: &NetworkConfig) -> FieldCost {
    let cost = Cost::of(config);
    FieldCost {
        n_params: config.n_params(),
        mac_paper: cost.mac_paper,
        mac_exec: cost.mac_exec,
        sin_exec: cost.sin_exec,
        exp_exec: 0.0,
        table_reads: 0.0,
    }
}

/// The planner's bases within a budget, and the widest network of them that is.
pub(crate) fn asmr_within(shape: &Shape, budget: Budget) -> Result<NetworkConfig, ContestantError> {
    let mut request = PlanRequest::new(&shape.extents, shape.channels);
    match budget {
        Budget::Params(most) => request.max_params = Some(most),
        Budget::Mac(most) => request.mac_budget = Some(most),
        Budget::Time(_) => {}
    }
    let planned = plan(&request).map_err(|error| ContestantError::Budget(error.to_string()))?;
    let config = planned.into_config(&request);
    if let Budget::Time(time) = budget {
        // As a fit with a time limit has it: a hundred full-batch steps at least.
        let width = width_for_time(&config, time).map_err(|e| asmr_error(&e))?;
        return Ok(NetworkConfig { width, ..config });
    }
    let with = |width| NetworkConfig { width, ..config.clone() };
    let fits = |width| with(width).validate().is_ok() && budget.holds(&asmr_cost(&with(width)));
    // The planner likes round widths, and none with more weights than the signal has values.
    match largest(1..=MAX_BUDGET_WIDTH, fits) {
        Some(width) => Ok(with(width)),
        None => Err(too_small("asmr", budget, &asmr_cost(&with(1)))),
    }
}

fn too_small(name: &str, budget: Budget, least: &FieldCost) -> ContestantError {
    let needs = match budget {
        Budget::Params(_) => format!("has {} weights", least.n_params),
        _ => format!("executes {:.1} MAC/sample", least.mac_exec),
    };
    ContestantError::Budget(format!("the smallest {name} on this grid {needs}; the budget is {budget}"))
}

/// A method's usual settings on a grid.
pub(crate) fn usual(name: &str, shape: &Shape) -> Result<Config, ContestantError> {
    let mut method = Method::usual(name, shape)
        .ok_or_else(|| ContestantError::Budget(format!("there is no method {name}")))?;
    if let Method::KiloNerf(settings) = &mut method {
        // A cell holds a sample at least.
        settings.cells = shape.extents.iter().map(|&extent| extent.min(16)).collect();
    }
    Ok(Config { shape: shape.clone(), method })
}

/// As usual, but for what makes it larger or smaller: the width, or the vertices of the longest axis.
fn scaled(config: &Config, size: usize) -> Config {
    let mut config = config.clone();
    match &mut config.method {
        Method::Siren(settings) => settings.width = size,
        Method::Ffn(settings) => {
            settings.width = size;
            // As many features as neurons, as usual.
            settings.n_frequencies = (size / 2).max(1);
        }
        Method::KiloNerf(settings) => settings.width = size,
        Method::Loe(settings) => settings.width = size,
        Method::Ngp(settings) => settings.width = size,
        Method::Wire(settings) => settings.width = size,
        Method::Unshared(settings) => settings.width = size,
        Method::Plenoxels(settings) => {
            let longest = config.shape.extents.iter().copied().max().unwrap_or(1);
            settings.vertices =
                config.shape.extents.iter().map(|extent| (extent * size / longest).max(2)).collect();
        }
    }
    config
}

pub(crate) fn baseline_within(name: &str, shape: &Shape, budget: Budget) -> Result<Config, ContestantError> {
    let mut config = usual(name, shape)?;
    let mut sizes = WIDTHS;
    match (&mut config.method, budget) {
        (_, Budget::Time(_)) => return Ok(config),
        (Method::Wire(_), _) => sizes = 2..=*WIDTHS.end(),
        (Method::Plenoxels(_), Budget::Params(_)) => {
            // More vertices than samples have nothing to hold.
            sizes = 2..=shape.extents.iter().copied().max().unwrap_or(2).max(2);
        }
        (Method::Plenoxels(_), _) => {
            // Its cost does not depend on how many there are.
            let cost = config.build()?.cost();
            return if budget.holds(&cost) { Ok(config) } else { Err(too_small(name, budget, &cost)) };
        }
        (Method::Ngp(settings), Budget::Params(_)) => {
            let usual = *settings;
            let log2_entries = largest(4..=24, |log2_entries| {
                let log2_entries = log2_entries as u32;
                let method = Method::Ngp(NgpSettings { log2_entries, ..usual });
                let config = Config { shape: shape.clone(), method };
                config.build().is_ok_and(|field| budget.holds(&field.cost()))
            });
            settings.log2_entries = log2_entries.unwrap_or(4) as u32;
            sizes = 1..=MAX_NGP_WIDTH;
        }
        _ => {}
    }
    let least = *sizes.start();
    let fits = |size| scaled(&config, size).build().is_ok_and(|field| budget.holds(&field.cost()));
    match largest(sizes, fits) {
        Some(size) => Ok(scaled(&config, size)),
        None => Err(too_small(name, budget, &scaled(&config, least).build()?.cost())),
    }
}
