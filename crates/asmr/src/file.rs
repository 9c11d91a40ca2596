//! The `.asmr` file.
