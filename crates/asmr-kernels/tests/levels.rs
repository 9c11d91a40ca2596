//! Instruction-set levels against each other: those that round alike give the same bits in every kernel, on one machine and on all.

use asmr_kernels::IsaLevel;
use asmr_kernels::dense::{Packed, Start, TransposeScratch, matmul, matmul_transposed};
use asmr_kernels::optim::{AdamStep, adam};
use asmr_kernels::orthogonal::orthonormalise;
use asmr_kernels::sharing::{Child, add_column_sums, expand, fold, fold_features};
use asmr_kernels::sincos::{sincos_rows, sines};

/// Uniform values in [-1, 1): xorshift64*.
fn uniform(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed * 2 + 1;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// What every kernel makes of the same inputs of one shape, by the kernel's name.
fn results(isa: IsaLevel, rows: usize, width: usize) -> Vec<(&'static str, Vec<f32>)> {
    let mut all = Vec::new();
    let cells = uniform(1, rows * 2 * width);
    let others = uniform(2, rows * 2 * width);
    let weights = uniform(3, 2 * width * width);

    let mut packed = Packed::default();
    packed.pack(2 * width, width, &weights, width, 1, 30.0);
    let mut out = vec![0.0; rows * width];
    matmul(isa, rows, &cells, 2 * width, &packed, Start::Bias(&weights[..width]), &mut out, width);
    all.push(("matmul", out));

    let mut out = weights.clone();
    let mut scratch = TransposeScratch::default();
    matmul_transposed(
        isa,
        rows,
        &cells,
        2 * width,
        2 * width,
        &others,
        2 * width,
        width,
        &mut out,
        &mut scratch,
    );
    all.push(("matmul_transposed", out));

    let mut features: Vec<f32> = cells.iter().map(|x| x * 1500.0).collect();
    sincos_rows(isa, rows, width, &mut features);
    let mut beyond: Vec<f32> = others.iter().map(|x| x * 1e9).collect();
    sincos_rows(isa, rows, width, &mut beyond);

    let mut alone: Vec<f32> = cells.iter().map(|x| x * 1500.0).collect();
    sines(isa, &mut alone);

    // A second table, within the quick range.
    let mut table: Vec<f32> = others.iter().map(|x| x * 1500.0).collect();
    sincos_rows(isa, rows, width, &mut table);

    let n = rows as u32;
    let children: Vec<Child> = (0..3 * n).map(|i| Child { parent: i * 7 % n, tuple: i * 5 % n }).collect();
    let mut out = vec![0.0; children.len() * width];
    expand(isa, width, &children, &features, &table, &mut out);
    let (mut d_phase, mut d_table) = (uniform(4, rows * width), uniform(5, rows * width));
    fold(isa, width, &children, &features, &table, &out, &mut d_phase, &mut d_table);
    all.extend([("expand", out), ("fold to parents", d_phase), ("fold to tuples", d_table)]);

    let mut d_phase = uniform(6, rows * width);
    fold_features(isa, rows, width, &features, &others, &mut d_phase);
    let mut sums = uniform(7, width);
    add_column_sums(isa, &d_phase, &mut sums);
    all.extend([("fold_features", d_phase), ("add_column_sums", sums)]);
    all.extend([("sincos_rows", features), ("sincos_rows beyond its quick range", beyond), ("sines", alone)]);

    let step = AdamStep {
        rate: 1e-3,
        beta1: 0.9,
        beta2: 0.99,
        epsilon: 1e-8,
        correction1: 10.0,
        correction2: 100.0,
        gradient_scale: 0.7,
    };
    let (mut first, mut moved) = (uniform(8, cells.len()), others);
    let mut second: Vec<f32> = uniform(9, cells.len()).iter().map(|x| x * x).collect();
    adam(isa, step, &cells, &mut first, &mut second, &mut moved);
    all.extend([("adam", moved), ("adam's first moment", first), ("adam's second moment", second)]);

    let mut basis = weights;
    orthonormalise(isa, width, &mut basis[..width * width], &mut Vec::new());
    all.push(("orthonormalise", basis));
    all
}

/// Rows and widths.
const SHAPES: [(usize, usize); 6] = [(1, 1), (3, 15), (8, 16), (13, 33), (64, 48), (270, 131)];
/// Checksums of all results of these, with fused multiply-add (taken at AVX2) and without (taken at plain code on x86-64): no process
/// can compare machines, but each can compare itself with these.
const WITH_FUSED: u64 = 0x0e20_fcce_0304_577d;
const WITHOUT: u64 = 0xf1bb_cc0c_6362_e5b3;

/// FNV-1a over the bits of what each kernel gives. Beyond the quick range sines are the platform's.
fn checksum(isa: IsaLevel) -> u64 {
    let results = SHAPES.into_iter().flat_map(|(rows, width)| results(isa, rows, width));
    let of_ours = results.filter(|(name, _)| *name != "sincos_rows beyond its quick range");
    let bytes = of_ours.flat_map(|(_, values)| values).flat_map(|value| value.to_bits().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn every_machine_gives_the_same_bits() {
    for isa in IsaLevel::available() {
        let expected = if isa.fuses() { WITH_FUSED } else { WITHOUT };
        assert_eq!(checksum(isa), expected, "{isa:?}");
    }
}

#[test]
fn levels_that_round_alike_give_the_same_bits() {
    let shapes = SHAPES;
    let (mut n_cases, mut n_pairs) = (0, 0);
    for fuses in [false, true] {
        let levels: Vec<IsaLevel> =
            IsaLevel::available().into_iter().filter(|level| level.fuses() == fuses).collect();
        if levels.len() < 2 {
            println!(
                "skipped: fewer than two levels here of those with fused multiply-add {fuses}: {levels:?}"
            );
        }
        for pair in levels.windows(2) {
            n_pairs += 1;
            for (rows, width) in shapes {
                let expected = results(pair[0], rows, width);
                for ((name, expected), (_, actual)) in expected.iter().zip(results(pair[1], rows, width)) {
                    assert_eq!(expected.len(), actual.len());
                    for (i, (e, a)) in expected.iter().zip(&actual).enumerate() {
                        assert!(
                            e.to_bits() == a.to_bits(),
                            "{name}, {rows} rows of {width}: value {i} is {e:e} at {:?} and {a:e} at {:?}",
                            pair[0],
                            pair[1]
                        );
                    }
                    n_cases += 1;
                }
            }
        }
    }
    assert_eq!(n_cases, n_pairs * shapes.len() * 14);
}

/// A name is a claim by the caller; on a machine without the instructions it must end in a message, not in an
/// instruction that is not there.
#[test]
#[cfg(target_arch = "x86_64")]
fn levels_that_are_not_there_are_refused() {
    let mut n_refused = 0;
    let available = IsaLevel::available();
    for isa in [IsaLevel::Avx2, IsaLevel::Avx512] {
        if available.contains(&isa) {
            println!("skipped: {isa:?} is there");
            continue;
        }
        let message = std::panic::catch_unwind(|| add_column_sums(isa, &[1.0; 8], &mut [0.0; 8]))
            .expect_err("a level that is not available must be refused")
            .downcast::<String>()
            .expect("a message with the level's name");
        assert_eq!(*message, format!("{isa:?} on a machine without its instructions"));
        n_refused += 1;
    }
    assert_eq!(n_refused + available.len() - 1, 2);
}

/// Levels are ordered and named, and every machine has the lowest.
#[test]
fn levels_are_ordered() {
    let available = IsaLevel::available();
    assert_eq!(available[0], IsaLevel::Scalar);
    assert!(available.is_sorted() && available.windows(2).all(|pair| pair[0].name() != pair[1].name()));
    assert!(available.contains(&IsaLevel::detect()));
    println!("levels here: {:?}", available.iter().map(|level| level.name()).collect::<Vec<_>>());
}
