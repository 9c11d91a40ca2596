// What all fuzzers have in common; included, since each is a crate of its own.

use std::alloc::System;

use cap::Cap;

/// Asking for more memory than this fails, which ends the process: libFuzzer's own limits see only what is touched.
/// (Its own memory is not counted here.)
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, 128 << 20);

/// Panics that a library catches on purpose (a decoder of sound that asserts what hostile files can break) are no
/// findings; libFuzzer's own hook would end the process at each. Those that nobody catches still end it.
fn tell_only_uncaught_panics() {
    std::panic::set_hook(Box::new(|info| {
        if std::env::var_os("ASMR_FUZZ_PANICS").is_some() || !is_caught(info) {
            eprintln!("{info}\n{}", std::backtrace::Backtrace::force_capture());
        }
    }));
}

fn is_caught(info: &std::panic::PanicHookInfo) -> bool {
    info.location().is_some_and(|location| location.file().contains("symphonia"))
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
