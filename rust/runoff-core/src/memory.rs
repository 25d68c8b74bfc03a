//! Memory of this process as the kernel reports them; `None` if it does not.

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
    fn this_process_has_memory() {
        let resident = resident_bytes().expect("VmRSS");
        // other tests use memory meanwhile, and the kernel's counters lag behind
        assert!(peak_bytes().expect("VmHWM") > resident / 10 * 9);
    }
}
