#![no_main]

include!("common.rs");

fuzz!("checkpoint");
