//! Model files that are mapped and used in place.

#![allow(unsafe_code)]

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;
use ort::session::builder::SessionBuilder;
use ort::session::{InMemorySession, Session};

/// A session on a mapped file in ONNX Runtime's own format. The weights are used in the file.
///
/// Fields are dropped in this order: the session must be gone before the mapping.
pub struct MappedSession {
    session: InMemorySession<'static>,
    _file: Mmap,
}

impl MappedSession {
    /// Maps the file `path` and creates a session from it.
    ///
    /// # Errors
    ///
    /// The reason why the file cannot be loaded, in one line.
    pub fn open(builder: &mut SessionBuilder, path: &Path) -> Result<Self, String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        // SAFETY: a prepared model is renamed into place and never written to again (`prepare`). As with any loaded
        // library, the owner must keep other programs from changing the file.
        let mapping = unsafe { Mmap::map(&file) }.map_err(|error| error.to_string())?;
        // SAFETY: the mapping does not move and is dropped after the session, which alone sees this lifetime. ONNX
        // Runtime copies weights that the session returns.
        let bytes: &'static [u8] = unsafe { std::slice::from_raw_parts(mapping.as_ptr(), mapping.len()) };
        let session = builder.commit_from_memory_directly(bytes).map_err(|error| error.message().to_owned())?;
        Ok(Self { session, _file: mapping })
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }
}
