//! Costs against the published table and against counts made independently of the code's sums.

use asmr::cost::{Cost, Part};
use asmr::network::{Modulator, NetworkConfig};
use asmr::partition::{Partition, parse_bases};

fn config(
    extents: &[usize],
    bases: &str,
    channels: usize,
    width: usize,
    modulator: Modulator,
) -> NetworkConfig {
    let partition = Partition::new(extents, &parse_bases(bases).unwrap()).unwrap();
    NetworkConfig { partition, channels, width, omega_0: 30.0, modulator }
}

/// Extents, bases, channels, width; published MAC/sample, SIREN's MAC/sample, ratio.
type Row = (&'static [usize], &'static str, usize, usize, f64, f64, f64);

/// Section 2 of the method's page.
const PUBLISHED: [Row; 10] = [
    (&[512, 512], "8,8,8;8,8,8", 1, 256, 1289.500, 66_817.0, 51.82),
    (&[512, 512], "4,4,4,8;4,4,4,8", 1, 256, 1353.750, 132_609.0, 97.96),
    (&[512, 512], "8,2,2,2,8;8,2,2,2,8", 1, 256, 1611.898, 198_401.0, 123.09),
    (&[512, 512], "4,2,2,2,2,8;4,2,2,2,2,8", 1, 256, 1627.844, 264_193.0, 162.30),
    (&[512, 512], "2,2,2,2,2,2,8;2,2,2,2,2,2,8", 1, 256, 1631.836, 329_985.0, 202.22),
    (&[512, 768], "4,4,4,8;4,4,6,8", 3, 256, 1846.177, 133_123.0, 72.11),
    (&[8192, 8192], "4,4,4,4,4,8;4,4,4,4,4,8", 3, 512, 5925.069, 1_053_699.0, 177.84),
    (&[8192, 8192], "4,4,4,4,2,16;4,4,4,4,2,16", 3, 1024, 8273.143, 4_204_547.0, 508.2),
    (&[32_000], "10,10,16,20", 1, 128, 1013.304, 33_409.0, 32.97),
    (
        &[150, 270, 480],
        "5,1,1,5,1,1,3,1,1,2;5,1,3,1,3,1,3,1,2,1;5,3,2,2,1,2,1,2,1,2",
        3,
        512,
        119_756.481,
        2_104_835.0,
        17.58,
    ),
];

#[test]
fn published_costs() {
    let mut n_checked = 0;
    for (extents, bases, channels, width, mac, siren, ratio) in PUBLISHED {
        let cost = Cost::of(&config(extents, bases, channels, width, Modulator::Linear));
        assert!((cost.mac_paper - mac).abs() <= 5.000_1e-4, "{bases}: {} is not {mac}", cost.mac_paper);
        assert_eq!(cost.mac_siren, siren, "{bases}");
        // The 508.2 of the paper's headline is printed to one decimal, the others to two.
        let tolerance = if ratio == 508.2 { 0.050_1 } else { 0.005_01 };
        assert!((cost.ratio_paper() - ratio).abs() <= tolerance, "{bases}: {}", cost.ratio_paper());
        n_checked += 1;
    }
    assert_eq!(n_checked, 10);
}

#[test]
fn executed_costs_of_known_settings() {
    // An unfolded block costs 2dC multiply-adds a sample: known to the digits given here. Folded about its middle, dC.
    let cases = [
        (&[512usize, 512] as &[usize], "4,4,4,8;4,4,4,8", 1, 256, 1608.0, 8.7),
        (&[512, 768], "4,4,4,8;4,4,6,8", 3, 256, 2611.0, 8.5),
        (&[8192, 8192], "4,4,4,4,4,8;4,4,4,4,4,8", 3, 512, 7458.0, 17.0),
    ];
    for (extents, bases, channels, width, mac, sines) in cases {
        let cost = Cost::of(&config(extents, bases, channels, width, Modulator::Table));
        assert!((cost.mac_exec - mac).abs() <= 1.0, "{bases}: {} is not about {mac}", cost.mac_exec);
        let cost = Cost::of(&config(extents, bases, channels, width, Modulator::Linear));
        let mac = mac - (width * channels) as f64;
        assert!((cost.mac_exec - mac).abs() <= 1.0, "{bases}: {} is not about {mac}", cost.mac_exec);
        assert!((cost.sin_exec - sines).abs() <= 0.1, "{bases}: {} is not about {sines}", cost.sin_exec);
    }
    let cost = Cost::of(&config(&[512, 512], "4,4,4,8;4,4,4,8", 1, 256, Modulator::Linear));
    // d·(1 + 1/64 + 1/1024) = 260.25: "1354 and 260".
    assert_eq!(cost.sin_paper, 260.25);
    assert_eq!(cost.sin_siren, 3.0 * 256.0);
}

/// The executed sums with padding, in integers, worked out from the definition for one small grid.
#[test]
fn executed_cost_counts_visible_cells_only() {
    // 11 samples in 3·2·2 = 12 (no cell is all padding at any level); 5 in 3·2·2 = 12 (only some are real).
    // Strides 4, 2, 1. Visible cells: level 0: 3·2 = 6, level 1: 6·3 = 18. K_1 = 4, K_2 = 4. N = 55.
    let (d, c, axes) = (8u128, 3u128, 2u128);
    let (g0, g1, k1, k2) = (6u128, 18u128, 4u128, 4u128);
    // Linear: one phase vector more per level, and columns of P for half the block's 4 tuples.
    for (modulator, tables, stored, own_sines) in [
        (Modulator::Linear, (k1 + 1 + k2 + 1) * axes * d, 2, 0),
        (Modulator::Nonlinear, (k1 + k2) * (axes * 32 + 32 * 32 + 32 * d), 4, 64),
        (Modulator::Table, 0, 4, 0),
    ] {
        let cost = Cost::of(&config(&[11, 5], "3,2,2;3,2,2", c as usize, d as usize, modulator));
        let mac = g0 * axes * d + g1 * (d * d + 2 * d) + (g1 + 1) * 2 * d * stored * c + tables;
        let sines = 2 * d * (g0 + g1 + k1 + k2) + own_sines * (k1 + k2);
        assert!((cost.mac_exec - mac as f64 / 55.0).abs() < 1e-9, "{modulator:?}: {}", cost.mac_exec);
        assert!((cost.sin_exec - sines as f64 / 55.0).abs() < 1e-9, "{modulator:?}: {}", cost.sin_exec);
    }
}

#[test]
fn modulators_differ_by_their_own_multiply_adds() {
    let of = |modulator| Cost::of(&config(&[64, 48], "4,4,4;4,3,4", 2, 40, modulator));
    let (linear, nonlinear, table) = (of(Modulator::Linear), of(Modulator::Nonlinear), of(Modulator::Table));
    // K_1 + K_2 = 12 + 16 = 28 tuples over 3072 samples.
    let per = 28.0 / 3072.0;
    assert!((linear.mac_paper - table.mac_paper - 2.0 * 40.0 * per).abs() < 1e-9);
    let small_siren = (2.0 * 32.0 + 32.0) + (32.0 * 32.0 + 32.0) + (32.0 * 40.0 + 40.0);
    assert!((nonlinear.mac_paper - table.mac_paper - small_siren * per).abs() < 1e-9);
}

#[test]
fn parts_add_up_and_params_are_the_networks() {
    let mut n_checked = 0;
    for (extents, bases, channels, width, ..) in PUBLISHED {
        for modulator in [Modulator::Linear, Modulator::Nonlinear, Modulator::Table] {
            let config = config(extents, bases, channels, width, modulator);
            let cost = Cost::of(&config);
            assert_eq!(cost.n_params, config.n_params() as u128, "{bases}, {modulator:?}");
            assert_eq!(cost.n_bytes(), 4 * config.n_params() as u128);
            let layout = config.layout();
            for part in &cost.parts {
                let n: usize = match part.part {
                    Part::Layer(i) => layout.layer_weights[i].len() + layout.layer_biases[i].len(),
                    Part::Modulator(l) => layout.modulators[l].iter().map(ExactSizeIterator::len).sum(),
                    Part::Output => layout.output_weight.len() + layout.output_bias.len(),
                };
                assert_eq!(part.n_params, n as u128, "{:?} of {bases}, {modulator:?}", part.part);
                assert_eq!(part.n_bytes(), 4 * n as u128);
            }
            let levels = config.partition.n_levels();
            assert_eq!(cost.parts.len(), 2 * levels - 1);
            let near = |a: f64, b: f64| (a - b).abs() <= 1e-12 * a.abs();
            assert!(near(cost.mac_exec, cost.parts.iter().map(|p| p.mac_exec).sum()));
            assert!(near(cost.mac_paper, cost.parts.iter().map(|p| p.mac_paper).sum()));
            assert!(near(cost.sin_exec, cost.parts.iter().map(|p| p.sin_exec).sum()));
            n_checked += 1;
        }
    }
    assert_eq!(n_checked, 30);
}

#[test]
fn extreme_grids_stay_finite() {
    let two = |n: usize| vec!["2"; n].join(",");
    let mut n_checked = 0;
    // 2^31 on four axes, exactly and padded to 2^32 (2^128 padded samples: past u128).
    for levels in [31, 32] {
        let bases = vec![two(levels); 4].join(";");
        for modulator in [Modulator::Linear, Modulator::Nonlinear, Modulator::Table] {
            let cost = Cost::of(&config(&[1 << 31; 4], &bases, 64, 16_384, modulator));
            for figure in [cost.mac_paper, cost.mac_exec, cost.sin_paper, cost.sin_exec, cost.mac_siren] {
                assert!(figure.is_finite() && figure > 0.0, "{figure}");
            }
            // dC a sample at the last block at the very least.
            assert!(cost.mac_exec >= 16_384.0 * 64.0);
            n_checked += 1;
        }
    }
    let one = Cost::of(&config(&[1], "1,1", 1, 1, Modulator::Linear));
    // Layer 0: 1; one tuple and the middle: 2; P: 2; last block: 2. Sines and cosines of one cell and one tuple: 4.
    assert_eq!((one.mac_exec, one.sin_exec), (7.0, 4.0));
    assert_eq!(n_checked, 6);
}

/// Digits in groups of three, as the documents print them.
fn grouped(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut out = String::new();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + fraction
}

#[test]
fn documents_state_these_costs() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let read = |path: &str| std::fs::read_to_string(format!("{root}/{path}")).unwrap();
    let (readme, method) = (read("README.md"), read("docs/METHOD.md"));
    let two = |bases: &str| format!("{bases};{bases}");
    let mut n_checked = 0;
    for (extents, bases, channels, width, in_method) in [
        ([512usize, 512], two("4,4,4,8"), 1, 256, true),
        ([512, 512], two("4,2,2,2,2,8"), 1, 256, false),
        ([512, 768], "4,4,4,8;4,4,6,8".to_owned(), 3, 256, true),
        ([8192, 8192], two("4,4,4,4,4,8"), 3, 512, true),
        ([8192, 8192], two("4,4,4,4,2,16"), 3, 1024, false),
    ] {
        let cost = Cost::of(&config(&extents, &bases, channels, width, Modulator::Linear));
        let cells = [
            format!("{} MAC, {} sin", grouped(cost.mac_siren, 0), grouped(cost.sin_siren, 0)),
            format!("{} MAC, {} sin", grouped(cost.mac_paper, 1), grouped(cost.sin_paper, 1)),
            format!("{} MAC, {} sin", grouped(cost.mac_exec, 1), grouped(cost.sin_exec, 1)),
        ];
        assert!(readme.contains(&cells.join(" | ")), "README.md: {}", cells.join(" | "));
        if in_method {
            let executed = format!("{:.1}", cost.mac_exec);
            assert!(method.contains(&executed), "docs/METHOD.md: {executed}");
        }
        n_checked += 1;
    }
    assert_eq!(n_checked, 5);
}
