// What all fuzzers have in common; included, since each is a crate of its own.

use std::alloc::System;

use cap::Cap;

/// Asking for more memory than this fails, which ends the process: libFuzzer's own limits see only what is touched.
/// (Its own memory is not counted here.)
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, 128 << 20);

/// Panics that a library catches on purpose (a decoder that asserts what hostile files can break) are no
/// findings; libFuzzer's own hook would end the process at each. Those that nobody catches still end it.
fn tell_only_uncaught_panics() {
    std::panic::set_hook(Box::new(|info| {
        if std::env::var_os("ASMR_FUZZ_PANICS").is_some() || !asmr_fuzz::is_guarded() {
            eprintln!("{info}\n{}", std::backtrace::Backtrace::force_capture());
        }
    }));
}

macro_rules! fuzz {
    ($name:literal) => {
        libfuzzer_sys::fuzz_target!(
            init: tell_only_uncaught_panics(),
            |data: &[u8]| {
                let _is_taken = asmr_fuzz::run($name, data);
            }
        );
    };
}
