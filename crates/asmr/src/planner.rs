//! Choosing a partition.
