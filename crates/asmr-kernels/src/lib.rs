//! Slices in, slices out: the arithmetic kernels of asmr.
