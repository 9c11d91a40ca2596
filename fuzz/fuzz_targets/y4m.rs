#![no_main]

include!("common.rs");

fuzz!("y4m");
