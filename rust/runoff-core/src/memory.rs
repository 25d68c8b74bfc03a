//! Memory and threads of this process as the kernel reports them; `None` if it does not.

use std::collections::TryReserveError;
use std::fs;

/// Resizes `vector` to a `len` that comes from outside; new elements are `value`.
///
/// # Errors
///
/// If there is not enough memory; [`Vec::resize`] would abort the process.
pub(crate) fn try_resize<T: Clone>(vector: &mut Vec<T>, len: usize, value: T) -> Result<(), TryReserveError> {
    vector.try_reserve_exact(len.saturating_sub(vector.len()))?;
    vector.resize(len, value);
    Ok(())
}

/// Peak resident set size (`VmHWM`), in bytes.
#[must_use]
pub fn peak_bytes() -> Option<u64> {
    status_bytes("VmHWM:")
}

/// Current resident set size (`VmRSS`), in bytes.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    status_bytes("VmRSS:")
}

/// Name of the threads that [`thread_count`] excludes: short-lived threads that prefetch inputs.
pub const HELPER_THREAD: &str = "runoff-ahead";

/// Number of threads of this process, without helper threads.
#[must_use]
pub fn thread_count() -> Option<usize> {
    let tasks = fs::read_dir("/proc/self/task").ok()?.filter_map(Result::ok);
    let is_helper = |name: String| name.trim_end() == HELPER_THREAD;
    Some(tasks.filter(|task| !fs::read_to_string(task.path().join("comm")).is_ok_and(is_helper)).count())
}

fn status_bytes(field: &str) -> Option<u64> {
    parse_kib(&fs::read_to_string("/proc/self/status").ok()?, field)
}

fn parse_kib(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_and_converted() {
        let status = "Name:\tx\nVmHWM:\t   61440 kB\nVmRSS:\t     100 kB\n";
        assert_eq!(parse_kib(status, "VmHWM:"), Some(61_440 * 1024));
        assert_eq!(parse_kib(status, "VmRSS:"), Some(102_400));
        assert_eq!(parse_kib(status, "VmPeak:"), None);
    }

    #[test]
    fn a_length_that_does_not_fit_is_an_error() {
        let mut vector = vec![1_u32, 2, 3];
        try_resize(&mut vector, usize::MAX, 0).expect_err("too long");
        try_resize(&mut vector, 4, 0).expect("one more");
        assert_eq!(vector, [1, 2, 3, 0]);
        try_resize(&mut vector, 1, 0).expect("fewer");
        assert_eq!(vector, [1]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory_and_threads() {
        let peak = peak_bytes().expect("VmHWM");
        assert!(peak >= resident_bytes().expect("VmRSS"));
        assert!(thread_count().expect("tasks") >= 1);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn helpers_fit_into_the_name_of_a_thread() {
        // The kernel keeps 15 bytes.
        assert!(HELPER_THREAD.len() <= 15);
    }
}
