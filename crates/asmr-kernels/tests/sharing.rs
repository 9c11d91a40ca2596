//! The angle-sum expansion and its gradients against their formulas in double precision.

use asmr_kernels::IsaLevel;
use asmr_kernels::sharing::{Child, add_column_sums, expand, fold, fold_features};

/// Half a unit in the last place of 1: the relative error of one rounding.
const UNIT: f64 = f32::EPSILON as f64 / 2.0;
/// Roundings a term meets besides one per later addition: at most three (two products and a sum), and one to spare
/// for second order.
const ROUNDINGS: usize = 4;
/// What stands where nothing may be written.
const GUARD: f32 = -12345.0;

const WIDTHS: [usize; 8] = [1, 2, 7, 8, 16, 33, 64, 131];

/// Uniform values in [-1, 1): xorshift64*.
struct Uniform(u64);

impl Uniform {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }

    fn vector(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.next()).collect()
    }

    /// Rows `[sin | cos]` of random angles.
    fn features(&mut self, rows: usize, width: usize) -> Vec<f32> {
        let mut out = vec![0.0; rows * 2 * width];
        for row in out.chunks_exact_mut(2 * width) {
            for j in 0..width {
                let (s, c) = (f64::from(self.next()) * 30.0).sin_cos();
                (row[j], row[width + j]) = (s as f32, c as f32);
            }
        }
        out
    }
}

/// A sum in double precision, with how many terms it has and how large they are.
#[derive(Clone, Copy, Default)]
struct Sum {
    value: f64,
    magnitude: f64,
    terms: usize,
}

impl Sum {
    fn start(value: f32) -> Self {
        Self { value: f64::from(value), magnitude: f64::from(value).abs(), terms: 0 }
    }

    fn add(&mut self, value: f64, magnitude: f64) {
        self.value += value;
        self.magnitude += magnitude;
        self.terms += 1;
    }
}

/// Fails on the first value further from its sum than rounding allows, or any NaN, or a guard written over.
fn assert_sums(what: &str, actual: &[f32], expected: &[Sum]) -> usize {
    for (i, (&a, e)) in actual.iter().zip(expected).enumerate() {
        let bound = (e.terms + ROUNDINGS) as f64 * UNIT * e.magnitude;
        let error = (f64::from(a) - e.value).abs();
        assert!(
            error <= bound,
            "{what}: value {i} is {a}, expected {}, error {error:e}, bound {bound:e}",
            e.value
        );
    }
    for (i, &a) in actual.iter().enumerate().skip(expected.len()) {
        assert!(a == GUARD, "{what}: {a} was written at {i}, past the {} values", expected.len());
    }
    expected.len()
}

fn guarded(values: &[f32]) -> Vec<f32> {
    let mut out = values.to_vec();
    out.extend([GUARD; 40]);
    out
}

/// Children of every kind: in order, repeated, of one parent only, scattered, none.
fn families(n_parents: usize, n_tuples: usize) -> Vec<Vec<Child>> {
    let child = |parent: usize, tuple: usize| Child { parent: parent as u32, tuple: tuple as u32 };
    vec![
        (0..n_parents).flat_map(|p| (0..n_tuples).map(move |t| child(p, t))).collect(),
        (0..3 * n_parents).map(|i| child(n_parents - 1, i % n_tuples)).collect(),
        (0..77).map(|i| child(i * 31 % n_parents, i * 17 % n_tuples)).collect(),
        vec![child(0, 0)],
        vec![],
    ]
}

#[test]
fn expand_and_fold_follow_their_formulas() {
    let mut random = Uniform(42);
    let (mut n_cases, mut n_values) = (0, 0);
    for width in WIDTHS {
        for (n_parents, n_tuples) in [(1, 1), (5, 3), (16, 16)] {
            let features = random.features(n_parents, width);
            let table = random.features(n_tuples, width);
            for children in families(n_parents, n_tuples) {
                let dz = random.vector(children.len() * width);
                // Gradients add to what is there.
                let phase_before = random.vector(n_parents * width);
                let table_before = random.vector(n_tuples * width);
                let mut z = vec![Sum::default(); children.len() * width];
                let mut d_phase: Vec<Sum> = phase_before.iter().map(|&x| Sum::start(x)).collect();
                let mut d_table: Vec<Sum> = table_before.iter().map(|&x| Sum::start(x)).collect();
                for (r, child) in children.iter().enumerate() {
                    let (p, t) = (child.parent as usize, child.tuple as usize);
                    for j in 0..width {
                        let of = |rows: &[f32], row: usize| {
                            let row = &rows[row * 2 * width..];
                            (f64::from(row[j]), f64::from(row[width + j]))
                        };
                        let ((su, cu), (sm, cm)) = (of(&features, p), of(&table, t));
                        z[r * width + j].add(su * cm + cu * sm, (su * cm).abs() + (cu * sm).abs());
                        let d = f64::from(dz[r * width + j]);
                        let magnitude = d.abs() * ((cu * cm).abs() + (su * sm).abs());
                        d_phase[p * width + j].add(d * (cu * cm - su * sm), magnitude);
                        d_table[t * width + j].add(d * (cu * cm - su * sm), magnitude);
                    }
                }
                for isa in IsaLevel::available() {
                    let what = format!("{isa:?}, width {width}, {} children of {n_parents}", children.len());
                    let mut out = guarded(&vec![f32::NAN; z.len()]);
                    expand(isa, width, &children, &features, &table, &mut out[..z.len()]);
                    n_values += assert_sums(&format!("expand, {what}"), &out, &z);
                    let mut phase = guarded(&phase_before);
                    let mut tuples = guarded(&table_before);
                    fold(isa, width, &children, &features, &table, &dz, &mut phase, &mut tuples);
                    n_values += assert_sums(&format!("fold to parents, {what}"), &phase, &d_phase);
                    n_values += assert_sums(&format!("fold to tuples, {what}"), &tuples, &d_table);

                    // Each child has the bits it has alone.
                    for (r, child) in children.iter().enumerate().step_by(13) {
                        let mut alone = vec![0.0; width];
                        expand(isa, width, &[*child], &features, &table, &mut alone);
                        assert_eq!(alone, out[r * width..][..width], "expand, {what}: child {r} alone");
                    }
                    n_cases += 1;
                }
            }
        }
    }
    assert_eq!(n_cases, 8 * 3 * 5 * IsaLevel::available().len());
    // Over the three shapes: 572 children, and 5 times 42 rows of parents and tuples; widths sum to 262.
    assert_eq!(n_values, (572 + 5 * 42) * 262 * IsaLevel::available().len());
}

#[test]
fn fold_features_follows_its_formula() {
    let mut random = Uniform(7);
    let mut n_cases = 0;
    for width in WIDTHS {
        for rows in [0, 1, 2, 9] {
            let features = random.features(rows, width);
            let d_features = random.vector(rows * 2 * width);
            let before = random.vector(rows * width);
            let mut expected: Vec<Sum> = before.iter().map(|&x| Sum::start(x)).collect();
            for r in 0..rows {
                for j in 0..width {
                    let at = |x: &[f32], k: usize| f64::from(x[r * 2 * width + k]);
                    let a = at(&d_features, j) * at(&features, width + j);
                    let b = at(&d_features, width + j) * at(&features, j);
                    expected[r * width + j].add(a - b, a.abs() + b.abs());
                }
            }
            for isa in IsaLevel::available() {
                let mut out = guarded(&before);
                fold_features(isa, rows, width, &features, &d_features, &mut out);
                assert_sums(&format!("{isa:?}, {rows} rows of {width}"), &out, &expected);
                n_cases += 1;
            }
        }
    }
    assert_eq!(n_cases, 8 * 4 * IsaLevel::available().len());
}

#[test]
fn column_sums_are_sums_in_row_order() {
    let mut random = Uniform(11);
    let mut n_cases = 0;
    for width in WIDTHS {
        for rows in [0, 1, 2, 300] {
            let values = random.vector(rows * width);
            let before = random.vector(width);
            let mut expected: Vec<Sum> = before.iter().map(|&x| Sum::start(x)).collect();
            let mut chain = before.clone();
            for (i, &x) in values.iter().enumerate() {
                expected[i % width].add(f64::from(x), f64::from(x).abs());
                chain[i % width] += x;
            }
            for isa in IsaLevel::available() {
                let mut out = before.clone();
                add_column_sums(isa, &values, &mut out);
                assert_sums(&format!("{isa:?}, {rows} rows of {width}"), &out, &expected);
                // No product to fuse: all levels have the same bits.
                assert_eq!(out, chain, "{isa:?}, {rows} rows of {width}");
                n_cases += 1;
            }
        }
    }
    assert_eq!(n_cases, 8 * 4 * IsaLevel::available().len());
}

#[test]
#[should_panic(expected = "whole rows")]
fn column_sums_of_part_of_a_row_are_refused() {
    add_column_sums(IsaLevel::Scalar, &[1.0; 7], &mut [0.0; 3]);
}

#[test]
#[should_panic(expected = "out of range")]
fn a_child_of_a_parent_that_is_not_there_is_refused() {
    let children = [Child { parent: 2, tuple: 0 }];
    expand(IsaLevel::Scalar, 2, &children, &[0.0; 8], &[0.0; 4], &mut [0.0; 2]);
}
