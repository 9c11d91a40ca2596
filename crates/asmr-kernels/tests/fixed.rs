//! The fixed-point product against its definition: operands rounded to their steps, sums in integers.

use asmr_kernels::IsaLevel;
use asmr_kernels::dense::Start;
use asmr_kernels::fixed::{Bits, PackedFixed, amplitude, matmul_fixed, pairs, round_rows};

/// Of a product in single precision: the unit, the conversion of the sum, the product and the addition each round once.
const ROUNDING: f64 = 4.0 * f32::EPSILON as f64;

/// Numbers in [-1, 1), the same on every run.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 40) as f32 / f32::powi(2.0, 23)) - 1.0
    }
}

/// Outputs at one level, for `rows × inner` activations and `columns` columns of weights, rows `stride` apart.
fn product(
    isa: IsaLevel,
    [rows, inner, columns, stride]: [usize; 4],
    left: &[f32],
    right: &[f32],
    start: Start<'_>,
    bits: Bits,
    out: &mut [f32],
) {
    let mut packed = PackedFixed::default();
    packed.pack(inner, columns, right, inner, 1.0, bits);
    assert_eq!((packed.inner(), packed.columns()), (inner, columns));
    let mut rounded = vec![0; rows * pairs(inner)];
    round_rows(isa, rows, inner, left, stride, amplitude(inner, bits), &mut rounded);
    matmul_fixed(isa, rows, &rounded, &packed, start, out, columns);
}

#[test]
fn errors_are_those_of_rounded_operands() {
    let mut draw = Draw(1);
    let mut n_checked = 0;
    for [rows, inner, columns, stride] in [
        [1, 1, 1, 1],
        [7, 2, 3, 2],
        [13, 3, 17, 5],
        [6, 16, 16, 32],
        [19, 63, 33, 64],
        [12, 256, 48, 512],
        [5, 2048, 5, 2048],
    ] {
        for bits in [Bits::Sixteen, Bits::Eight] {
            let left: Vec<f32> = (0..rows * stride).map(|_| draw.next()).collect();
            let right: Vec<f32> = (0..columns * inner).map(|_| 3.0 * draw.next()).collect();
            let bias: Vec<f32> = (0..columns).map(|_| draw.next()).collect();
            let step_left = 1.0 / f64::from(amplitude(inner, bits));
            for isa in IsaLevel::available() {
                let mut out = vec![f32::NAN; rows * columns];
                let shape = [rows, inner, columns, stride];
                product(isa, shape, &left, &right, Start::Bias(&bias), bits, &mut out);
                for i in 0..rows {
                    for j in 0..columns {
                        let (z, w) = (&left[i * stride..][..inner], &right[j * inner..][..inner]);
                        let terms = || z.iter().zip(w).map(|(&z, &w)| (f64::from(z), f64::from(w)));
                        let sum_w: f64 = terms().map(|(_, w)| w.abs()).sum();
                        let sum_z: f64 = terms().map(|(z, _)| z.abs()).sum();
                        let largest = terms().map(|(_, w)| w.abs()).fold(0.0, f64::max);
                        // A weight's step: the range of its bits, or the room that sums leave (twice, for slack).
                        let step_right = match bits {
                            Bits::Eight => largest / 127.0,
                            Bits::Sixteen => (largest / 32767.0).max(sum_w / step_left / 2f64.powi(31)),
                        } * 1.01;
                        let exact: f64 = terms().map(|(z, w)| z * w).sum::<f64>() + f64::from(bias[j]);
                        let bound = 0.5 * step_left * sum_w
                            + 0.5 * step_right * sum_z
                            + 0.25 * inner as f64 * step_left * step_right
                            + ROUNDING * (sum_w + f64::from(bias[j].abs()));
                        let got = f64::from(out[i * columns + j]);
                        assert!(
                            (got - exact).abs() <= bound,
                            "{isa:?} {bits:?} {rows}x{inner}x{columns}, ({i}, {j}): {got} for {exact}, bound {bound:e}"
                        );
                        n_checked += 1;
                    }
                }
            }
        }
    }
    let products = 1 + 21 + 221 + 96 + 627 + 576 + 25;
    assert_eq!(n_checked, 2 * products * IsaLevel::available().len());
}

#[test]
fn all_levels_give_the_same_bits() {
    let mut draw = Draw(2);
    let [rows, inner, columns] = [29, 191, 70];
    let left: Vec<f32> = (0..rows * inner).map(|_| draw.next()).collect();
    let right: Vec<f32> = (0..columns * inner).map(|_| draw.next()).collect();
    let mut expected: Option<Vec<f32>> = None;
    for isa in IsaLevel::available() {
        let mut out = vec![0.25; rows * columns];
        let shape = [rows, inner, columns, inner];
        product(isa, shape, &left, &right, Start::Output, Bits::Sixteen, &mut out);
        assert!(out.iter().all(|x| x.is_finite()));
        assert_eq!(expected.get_or_insert_with(|| out.clone()), &out, "{isa:?}");
    }
}

/// The largest activations and weights, all of one sign: sums come as near to 2^31 as they can.
#[test]
fn sums_never_overflow() {
    let mut n_checked = 0;
    for inner in [1, 2, 3, 16, 255, 256, 1024, 16_384] {
        for value in [1.0f32, -1.0] {
            for outlier in [1.0f32, 1e-6, 1e6] {
                let left = vec![1.000_000_1; inner];
                let mut right = vec![value; inner];
                right[inner / 2] = value * outlier;
                let exact = right.iter().map(|&w| f64::from(w)).sum::<f64>();
                for isa in IsaLevel::available() {
                    let mut out = vec![0.0];
                    product(isa, [1, inner, 1, inner], &left, &right, Start::Zero, Bits::Sixteen, &mut out);
                    // All operands are whole steps or within half a step of it.
                    let relative = (f64::from(out[0]) - exact).abs() / exact.abs();
                    assert!(relative < 2e-2, "{isa:?} {inner} {value} {outlier}: {} for {exact}", out[0]);
                    n_checked += 1;
                }
            }
        }
    }
    assert_eq!(n_checked, 8 * 2 * 3 * IsaLevel::available().len());
}

#[test]
fn columns_without_finite_values_are_zero() {
    for poison in [0.0, f32::NAN, f32::INFINITY] {
        let mut out = vec![7.0; 2];
        let right = [poison, poison, 1.0, 0.5];
        product(IsaLevel::Scalar, [1, 2, 2, 2], &[1.0, -1.0], &right, Start::Zero, Bits::Sixteen, &mut out);
        assert_eq!(out[0], 0.0, "{poison}");
        assert!((out[1] - 0.5).abs() < 1e-4, "{poison}: {}", out[1]);
    }
}
