//! Memory of this process as the kernel reports them; `None` if it does not.

use std::collections::{BTreeMap, TryReserveError};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};

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

/// Resident bytes of this process by mapping: a file's path, the kernel's name such as `[heap]`, or an empty name for
/// other memory.
#[must_use]
pub fn mappings() -> Option<BTreeMap<String, u64>> {
    parse_mappings(BufReader::new(File::open("/proc/self/smaps").ok()?)).ok()
}

fn parse_mappings(smaps: impl BufRead) -> io::Result<BTreeMap<String, u64>> {
    let (mut found, mut name) = (BTreeMap::new(), String::new());
    for line in smaps.lines() {
        let line = line?;
        if let Some(bytes) = parse_kib(&line, "Rss:").filter(|&bytes| bytes > 0) {
            *found.entry(name.clone()).or_default() += bytes;
        } else if !line.starts_with(|first: char| first.is_ascii_uppercase()) {
            // address, permissions, offset, device, inode, name
            line.splitn(6, ' ').nth(5).unwrap_or_default().trim_start().clone_into(&mut name);
        }
    }
    Ok(found)
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

    #[test]
    fn memory_is_summed_by_mapping() {
        let smaps = "55d0-55d1 r--p 00000000 fd:00 4057                       /usr/bin/a b\nSize:   8 kB\nRss:    4 kB\n\
                     55d2-55d3 r-xp 00001000 fd:00 4057                       /usr/bin/a b\nRss:    8 kB\n\
                     7f00-7f01 rw-p 00000000 00:00 0 \nRss:   16 kB\nVmFlags: rd wr\n\
                     7f02-7f03 rw-p 00000000 00:00 0                          [heap]\nRss:    0 kB\n";
        let found = parse_mappings(smaps.as_bytes()).expect("lines");
        assert_eq!(found, BTreeMap::from([(String::new(), 16 * 1024), ("/usr/bin/a b".into(), 12 * 1024)]));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory() {
        let resident = resident_bytes().expect("VmRSS");
        // other tests use memory meanwhile, and the kernel's counters lag behind
        assert!(peak_bytes().expect("VmHWM") > resident / 10 * 9);
    }
}
