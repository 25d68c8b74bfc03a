//! The source of a model, and basic checks of it.

use std::path::Path;

use crate::error::{Error, Kind};

/// The source of a model.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// A file; with the extension `ort`, it is mapped and used in place.
    File(&'a Path),
    /// The content of an ONNX file, or of a file in ONNX Runtime's own format; it is copied.
    Bytes(&'a [u8]),
}

impl Source<'_> {
    pub(super) fn check(self) -> Result<(), Error> {
        match self {
            Self::File(path) => check_file(path),
            Self::Bytes([]) => Err(self.unreadable("there are none")),
            // ONNX Runtime stores the size in an i32
            Self::Bytes(bytes) if i32::try_from(bytes.len()).is_err() => {
                Err(self.unreadable("they are more than 2^31"))
            }
            Self::Bytes(_) => Ok(()),
        }
    }

    pub(super) fn unreadable(self, reason: &str) -> Error {
        match self {
            Self::File(path) => unreadable(path, reason),
            Self::Bytes(bytes) => unreadable(Path::new(&format!("of {} bytes", bytes.len())), reason),
        }
    }
}

pub(crate) fn check_file(path: &Path) -> Result<(), Error> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(unreadable(path, "not a file")),
        Ok(found) if found.len() == 0 => Err(unreadable(path, "the file is empty")),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let message = format!("model not found: {}", path.display());
            Err(Error::new(Kind::ModelMissing, message, "check the path, or export the model: runoff export NAME"))
        }
        Err(error) => Err(unreadable(path, &error.to_string())),
    }
}

pub(crate) fn unreadable(path: &Path, reason: &str) -> Error {
    let message = format!("the model {} cannot be loaded: {reason}", path.display());
    Error::new(Kind::ModelUnreadable, message, "export the model again, or check that it is an ONNX file")
}
