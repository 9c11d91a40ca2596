//! Exchange with `PyTorch`.
