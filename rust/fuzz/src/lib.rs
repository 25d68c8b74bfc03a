//! Shared code of the fuzz targets: the core reads files, so each input is written to one.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::{env, fs, process};

/// Writes `bytes` to a file of this process in the folder `TMPDIR`; returns its path, which ends with `name`.
///
/// # Panics
///
/// If the file cannot be written.
#[must_use]
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = env::temp_dir().join(format!("{}-{name}", process::id()));
    fs::write(&path, bytes).expect("a file");
    path
}
