//! Decoders of others that assert what hostile files can break.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Calls a decoder; `None` where it panics. (What it was working on must not be used again.)
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    let before = IS_GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    IS_GUARDED.set(before);
    result.ok()
}

/// Whether this thread is in a decoder whose panics are caught and become [`MediaError::Damaged`](crate::MediaError::Damaged). For
/// panic hooks, which are called before that: there is nothing to tell.
#[must_use]
pub fn is_guarded() -> bool {
    IS_GUARDED.get()
}
