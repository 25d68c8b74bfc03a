//! Files that come from stdin.

use std::io::{self, Read};
use std::path::Path;

use runoff_session::{Error, Kind};

/// Most bytes that are read: ONNX Runtime counts those of a model in an i32.
const MOST_BYTES: u64 = i32::MAX as u64;

/// Whether `path` stands for stdin.
pub fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Reads all of stdin, for what the command line calls `what`.
///
/// # Errors
///
/// `bad-request` when it cannot be read, is empty, or is too large.
pub fn read_stdin(what: &str) -> Result<Vec<u8>, Error> {
    let fail = |reason: String| {
        Error::new(Kind::BadRequest, format!("{what}: stdin {reason}"), "pipe a file into it, or name the file")
    };
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(MOST_BYTES + 1).read_to_end(&mut bytes);
    match read.map_err(|error| fail(format!("cannot be read: {error}")))? as u64 {
        0 => Err(fail("is empty".to_owned())),
        1..=MOST_BYTES => Ok(bytes),
        _ => Err(fail(format!("has more than {MOST_BYTES} bytes"))),
    }
}
