//! Model files that are used where they lie.

#![allow(unsafe_code)]

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;
use ort::session::builder::SessionBuilder;
use ort::session::{InMemorySession, Session};

/// A session on a mapped file in ONNX Runtime's own format, whose weights stay in the file.
///
/// The fields are dropped in this order: nothing may refer to the mapping when it goes.
pub struct MappedSession {
    session: InMemorySession<'static>,
    _file: Mmap,
}

impl MappedSession {
    /// Maps the file `path` and makes a session of it.
    ///
    /// # Errors
    ///
    /// One line: the file's fault.
    pub fn open(builder: &mut SessionBuilder, path: &Path) -> Result<Self, String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        // SAFETY: a prepared model is renamed into place and never written to again (`prepare`); that other programs
        // leave it alone is the owner's duty for a file that is used in place, as with every library that is loaded.
        let mapping = unsafe { Mmap::map(&file) }.map_err(|error| error.to_string())?;
        // SAFETY: the mapping does not move and is dropped after the session, which alone sees this lifetime; what
        // the session returns is copied by ONNX Runtime out of its weights.
        let bytes: &'static [u8] = unsafe { std::slice::from_raw_parts(mapping.as_ptr(), mapping.len()) };
        let session = builder.commit_from_memory_directly(bytes).map_err(|error| error.message().to_owned())?;
        Ok(Self { session, _file: mapping })
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }
}
