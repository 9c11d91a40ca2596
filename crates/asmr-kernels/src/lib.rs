//! Slices in, slices out: the arithmetic kernels of asmr, forward and backward.
//!
//! This crate knows no networks, no files and no threads. Callers pass an [`IsaLevel`] (detected once by
//! [`IsaLevel::detect`]) and their own scratch memory. Every kernel has exactly one body, written plainly so
//! that the compiler vectorises it; the levels differ in the instructions that body is compiled for, in the tile of a
//! matrix product that fits their registers, and in whether multiply-add rounds once (`Avx2`, `Avx512`, `Neon`) or
//! twice (`Scalar`, `Simd128`). So two levels that round alike give the same bits, and no result depends on how a caller cuts its work into tiles: every output value is one
//! sum in one fixed order.
//!
//! | module | what it computes |
//! |---|---|
//! | [`dense`] | matrix products on weights packed beforehand |
//! | [`fixed`] | matrix products in 16-bit fixed point, for quick decoding |
//! | [`sincos`] | sine and cosine of the same angle, or the sine alone, properly range-reduced |
//! | [`sharing`] | the angle-sum expansion of cells into children, and its gradient |
//! | [`optim`] | Adam |
//! | [`orthogonal`] | orthonormal bases, for the preconditioned optimiser |
//! | [`peak`] | multiply-adds in registers alone, which benches compare with |

// A body must be inlined into each level's wrapper to be compiled with that level's instructions.
#![allow(clippy::inline_always)]

pub mod dense;
pub mod fixed;
mod isa;
pub mod optim;
pub mod orthogonal;
pub mod peak;
pub mod sharing;
pub mod sincos;

pub use isa::IsaLevel;
