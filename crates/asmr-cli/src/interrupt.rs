//! Ctrl-C and termination: the first during a fit ends the fit, any other ends the program.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::{INTERRUPTED, say};

/// Set by the first signal during a fit.
static STOP: AtomicBool = AtomicBool::new(false);
/// Whether a fit, or what is made of one, is under way, which a signal lets end in good order.
static FITTING: AtomicBool = AtomicBool::new(false);
/// Held while a file is written, and for ever by a handler that ends the program: no file is left behind half
/// written, not even a temporary one.
static WRITING: Mutex<()> = Mutex::new(());

/// From here on signals are handled. Without (if the system refuses), Ctrl-C ends the program at once.
pub(crate) fn install() {
    let _ = ctrlc::set_handler(|| {
        if FITTING.load(Ordering::SeqCst) && !STOP.swap(true, Ordering::SeqCst) {
            say("stopping with what there is; once more ends at once, without a file");
            return;
        }
        let _guard = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        // Decodes write as they go, and their temporary files are large.
        asmr_media::remove_unfinished();
        std::process::exit(i32::from(INTERRUPTED));
    });
}

/// From here to [`end_fitting`] the first signal only sets the flag: whoever works meanwhile asks it, and ends with what there is.
pub(crate) fn begin_fitting() -> &'static AtomicBool {
    FITTING.store(true, Ordering::SeqCst);
    &STOP
}

/// There is nothing any more that a signal would lose.
pub(crate) fn end_fitting() {
    FITTING.store(false, Ordering::SeqCst);
}

/// Whether the first signal has come.
pub(crate) fn is_stopping() -> bool {
    STOP.load(Ordering::SeqCst)
}

/// Runs a fit, which should end soon after the flag it is given is set.
pub(crate) fn while_fitting<R>(fit: impl FnOnce(&AtomicBool) -> R) -> R {
    let result = fit(begin_fitting());
    end_fitting();
    result
}

/// Runs a write that no signal may cut short.
pub(crate) fn while_writing<R>(write: impl FnOnce() -> R) -> R {
    let _guard = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    write()
}
