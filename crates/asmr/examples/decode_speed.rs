//! Times in-process decodes of random networks, with and without preparing the decoder: `decode_speed [CASE] [REPS]`.
use asmr::inference::{Decoder, Request};
use asmr::network::{Modulator, Network, NetworkConfig};
use asmr::partition::{Partition, parse_bases};
use std::time::Instant;

fn main() {
    let arguments: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let reps = arguments.get(1).copied().unwrap_or(15);
    for (case, (extents, bases, channels, width)) in [
        (vec![512, 512], "4,4,4,8;4,4,4,8", 1, 256),
        (vec![512, 512], "4,2,2,2,2,8;4,2,2,2,2,8", 1, 256),
        (vec![512, 768], "4,4,4,8;4,4,6,8", 3, 256),
        (vec![32000], "10,10,16,20", 1, 128),
        (vec![2048, 2048], "4,4,4,4,8;4,4,4,4,8", 3, 512),
    ]
    .into_iter()
    .enumerate()
    {
        if arguments.first().is_some_and(|&only| only != case) {
            continue;
        }
        let partition = Partition::new(&extents, &parse_bases(bases).unwrap()).unwrap();
        let config =
            NetworkConfig { partition, channels, width, omega_0: 30.0, modulator: Modulator::Linear };
        let network = Network::init(config, 1, 1.0).unwrap();
        let n: usize = extents.iter().product();
        let mut out = vec![0u8; n * channels];
        let (mut times, mut prepared): (Vec<f64>, Vec<f64>) = (0..reps)
            .map(|_| {
                let start = Instant::now();
                let decoder = Decoder::new(&network);
                let ready = start.elapsed().as_secs_f64();
                let request = Request::whole(&network.config().partition);
                decoder.decode(&request, &mut out).unwrap();
                (start.elapsed().as_secs_f64(), ready)
            })
            .unzip();
        times.sort_by(f64::total_cmp);
        prepared.sort_by(f64::total_cmp);
        let (median, prepare) = (times[reps / 2], prepared[reps / 2]);
        println!(
            "{extents:?} {bases} d={width}: {:.2} ms median, {:.2} of it preparing, {:.1} Msamples/s",
            median * 1e3,
            prepare * 1e3,
            n as f64 / median / 1e6
        );
    }
}
