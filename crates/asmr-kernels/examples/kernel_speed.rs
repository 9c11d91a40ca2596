//! Measures the kernels alone: best of five runs, in billions of operations per second.
#![allow(
    clippy::wildcard_imports,
    clippy::semicolon_if_nothing_returned,
    clippy::cast_lossless,
    reason = "a measuring script"
)]

use asmr_kernels::{IsaLevel, dense::*, fixed::*, sharing::*, sincos::sincos_rows};
use std::time::Instant;
fn time(name: &str, flops: f64, mut f: impl FnMut()) {
    let mut best = f64::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        let mut n = 0;
        while start.elapsed().as_secs_f64() < 0.05 {
            f();
            n += 1;
        }
        best = best.min(start.elapsed().as_secs_f64() / f64::from(n));
    }
    println!("{name}: {:.1} G/s ({:.1} us)", flops / best / 1e9, best * 1e6);
}
fn main() {
    for isa in IsaLevel::available() {
        let matrix: Vec<f32> = (0..256 * 256).map(|i| ((i * 7919) % 1009) as f32 / 1009.0).collect();
        let (mut q, mut householder) = (matrix.clone(), Vec::new());
        time(&format!("{isa:?} orthonormalise 256"), 8.0 / 3.0 * 256f64.powi(3), || {
            q.copy_from_slice(&matrix);
            asmr_kernels::orthogonal::orthonormalise(isa, 256, &mut q, &mut householder)
        });
        let x = vec![0.3f32; 1 << 20];
        let mut out = vec![0f32; 1 << 20];
        let mut packed = Packed::default();
        for (m, k, n) in
            [(256, 256, 256), (256, 512, 64), (256, 512, 192), (16, 256, 256), (1, 256, 256), (256, 16, 16)]
        {
            packed.pack(k, n, &x, n, 1, 1.0);
            time(&format!("{isa:?} matmul {m}x{k}x{n}"), 2.0 * (m * k * n) as f64, || {
                matmul(isa, m, &x, k, &packed, Start::Zero, &mut out, n)
            });
        }
        let mut fixed = PackedFixed::default();
        let mut pairs = vec![0u32; 256 * 256];
        for (m, k, n) in [(256, 256, 256), (256, 256, 32), (256, 16, 16)] {
            fixed.pack(k, n, &x, k, 1.0, Bits::Sixteen);
            let a = amplitude(k, Bits::Sixteen);
            time(&format!("{isa:?} round {m}x{k}"), (m * k) as f64, || {
                round_rows(isa, m, k, &x, k, a, &mut pairs)
            });
            time(&format!("{isa:?} fixed matmul {m}x{k}x{n}"), 2.0 * (m * k * n) as f64, || {
                matmul_fixed(isa, m, &pairs, &fixed, Start::Zero, &mut out, n)
            });
        }
        let mut scratch = TransposeScratch::default();
        for (m, k, n) in [(256, 256, 256), (256, 192, 512), (16, 256, 256), (256, 16, 16)] {
            time(&format!("{isa:?} transposed {m}x{k}x{n}"), 2.0 * (m * k * n) as f64, || {
                matmul_transposed(isa, m, &x, k, k, &x, n, n, &mut out, &mut scratch)
            });
        }
        time(&format!("{isa:?} sincos"), (256 * 256) as f64, || {
            out[..256 * 512].copy_from_slice(&x[..256 * 512]);
            sincos_rows(isa, 256, 256, &mut out)
        });
        let children: Vec<Child> = (0..256).map(|i| Child { parent: i / 16, tuple: i % 16 }).collect();
        time(&format!("{isa:?} expand"), (256 * 256) as f64, || {
            expand(isa, 256, &children, &x, &x, &mut out)
        });
        let mut d = vec![0f32; 1 << 16];
        let mut e = vec![0f32; 1 << 16];
        time(&format!("{isa:?} fold"), (256 * 256) as f64, || {
            fold(isa, 256, &children, &x, &x, &x, &mut d, &mut e)
        });
    }
}
