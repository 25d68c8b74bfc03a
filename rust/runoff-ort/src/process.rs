//! What concerns the whole process: its environment, and how it is left.

#![allow(unsafe_code)]

use std::env;

/// Tells ONNX Runtime to send nothing home, unless the user has decided. Called before any thread is started.
///
/// From 1.32 on its Linux builds otherwise start a thread and open a database for that.
pub fn disable_telemetry() {
    const SWITCH: &str = "ORT_DISABLE_TELEMETRY";
    if env::var_os(SWITCH).is_none() {
        // SAFETY: this is the first thing that `main` does, when the process has one thread: nothing reads the
        // environment meanwhile.
        unsafe { env::set_var(SWITCH, "1") };
    }
}

/// Ends the process with `code` without freeing anything.
pub fn leave_at_once(code: u8) -> ! {
    // SAFETY: `_exit` takes no pointers and does not return. What it leaves out (destructors, `atexit` handlers,
    // buffers of stdio) is what `teardown = "skip"` asks for: what was written is flushed, and stderr is not buffered.
    unsafe { libc::_exit(code.into()) }
}
