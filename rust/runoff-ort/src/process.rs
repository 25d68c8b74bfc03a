//! What concerns the whole process: its environment, its limits, and Ctrl-C.

#![allow(unsafe_code)]

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};

/// Variables of the environment that libraries read when they are loaded, and what they are unless the user has decided.
///
/// - From 1.32 on, ONNX Runtime's Linux builds otherwise start a thread and open a database to send something home.
/// - NVIDIA's libraries otherwise may compute float32 in TF32: cuDNN's graphs and `TensorRT` have no other switch for it in
///   ONNX Runtime.
const DECIDED: [(&str, &str); 2] = [("ORT_DISABLE_TELEMETRY", "1"), ("NVIDIA_TF32_OVERRIDE", "0")];

/// Decides what the user has not. Called before any thread is started.
pub fn prepare_environment() {
    for (name, value) in DECIDED {
        if env::var_os(name).is_none() {
            // SAFETY: this is the first thing that `main` does, when the process has one thread: nothing reads the
            // environment meanwhile.
            unsafe { env::set_var(name, value) };
        }
    }
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Lets the first Ctrl-C only be noticed; the second ends the process.
pub fn catch_interrupt() {
    let handler: extern "C" fn(libc::c_int) = interrupt;
    // SAFETY: the handler has the signature of one, and calls only what a handler may.
    unsafe { libc::signal(libc::SIGINT, handler as *const () as libc::sighandler_t) };
}

/// Whether there was a Ctrl-C since [`catch_interrupt`].
pub fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

extern "C" fn interrupt(signal: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
    // SAFETY: signal(3) may be called in a handler (signal-safety(7)).
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Raises the limit of open files to `count`, or as far as is permitted.
pub fn raise_open_files(count: usize) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a local of the type that the function writes.
    let read = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    let raised = libc::rlim_t::try_from(count).unwrap_or(libc::rlim_t::MAX).min(limit.rlim_max);
    if read == 0 && raised > limit.rlim_cur {
        limit.rlim_cur = raised;
        // SAFETY: as above; if it fails, the limit stays.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    }
}
