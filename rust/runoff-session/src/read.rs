//! Reading files named in a request, a model or a command line.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Opens the file `path` for reading; returns the file and its size in bytes.
///
/// # Errors
///
/// The system's error; `InvalidInput` for a pipe, a socket or a device. These are not opened: opening may block or have
/// side effects, and reading may never end.
pub fn open(path: &Path) -> io::Result<(File, u64)> {
    let found = fs::metadata(path)?;
    // For a folder, the system has its own error message.
    if !found.is_file() && !found.is_dir() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok((File::open(path)?, found.len()))
}

/// Reads the file `path`, of at most `limit` bytes, into `bytes`, replacing its contents.
///
/// # Errors
///
/// Errors of [`open`]; `FileTooLarge`, before anything is read; `OutOfMemory`.
pub fn read(path: &Path, limit: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
    let (file, len) = open(path)?;
    if len > limit {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("{len} bytes are more than {limit}")));
    }
    bytes.clear();
    bytes.try_reserve_exact(usize::try_from(len).unwrap_or(usize::MAX))?;
    file.take(len).read_to_end(bytes)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_within_the_limit_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        fs::write(&path, [7; 9]).expect("a file");
        let mut bytes = vec![1; 3];
        read(&path, 9, &mut bytes).expect("nine bytes");
        assert_eq!(bytes, [7; 9]);
        let kind = |path: &Path, limit| read(path, limit, &mut Vec::new()).expect_err("refused").kind();
        assert_eq!(kind(&path, 8), ErrorKind::FileTooLarge);
        assert_eq!(kind(Path::new("/dev/zero"), u64::MAX), ErrorKind::InvalidInput);
        assert_eq!(kind(&folder.path().join("none"), 9), ErrorKind::NotFound);
        assert_eq!(kind(folder.path(), u64::MAX), ErrorKind::IsADirectory);
    }
}
