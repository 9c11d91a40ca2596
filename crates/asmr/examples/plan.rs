//! Plans of the planner and what they cost: `plan EXTENTS [LEVELS] [WIDTH] [CHANNELS]`, as in `plan 150,270,480 10 512 3`.
use asmr::cost::Cost;
use asmr::planner::{PlanRequest, plan};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let extents: Vec<usize> =
        arguments.first().ok_or("no extents")?.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let number = |i: usize| arguments.get(i).map(|a| a.parse::<usize>()).transpose();
    let mut request = PlanRequest::new(&extents, number(3)?.unwrap_or(1));
    (request.levels, request.width) = (number(1)?, number(2)?);
    let network = plan(&request)?.into_config(&request);
    let cost = Cost::of(&network);
    let padding = network.partition.n_padded_samples() as f64 / network.partition.n_samples() as f64 - 1.0;
    println!(
        "{}  width {}, {} levels, {} weights, {:.1} MAC/sample published, {:.1} executed, SIREN {:.0}: {:.1} times; padding {:.2} %",
        network.partition.bases_text(),
        network.width,
        network.partition.n_levels(),
        network.n_params(),
        cost.mac_paper,
        cost.mac_exec,
        cost.mac_siren,
        cost.ratio_paper(),
        100.0 * padding
    );
    Ok(())
}
