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
            Err(Error::new(
                Kind::ModelMissing,
                message,
                "check the path; export or add the model again (runoff list models)",
            ))
        }
        Err(error) => Err(unreadable(path, &error.to_string())),
    }
}

pub(crate) fn unreadable(path: &Path, reason: &str) -> Error {
    let message = format!("the model {} cannot be loaded: {}", path.display(), in_short(reason));
    let hint = "check that it is an ONNX file; export or add the model again (runoff list models)";
    Error::new(Kind::ModelUnreadable, message, hint)
}

/// ONNX Runtime's reason without the path and the location in its source code, as in `Load model from PATH
/// failed:/src/model.cc:256 Model(int) const Too new`.
fn in_short(reason: &str) -> &str {
    let loading = reason.starts_with("Load model from ");
    let reason = reason.rsplit_once(" failed:").filter(|_| loading).map_or(reason, |(_, reason)| reason);
    let located = reason.split_once(") ").filter(|(location, _)| location.starts_with('/'));
    located.map_or(reason, |(_, reason)| reason.strip_prefix("const ").unwrap_or(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_do_not_repeat_the_path_or_name_places_in_onnx_runtimes_source() {
        let old = "Load model from /m.onnx failed:/src/core/graph/model.cc:256 Model::Model(Model&&, const Path&) \
                   Unsupported model IR version: 99, max supported IR version: 14";
        assert_eq!(in_short(old), "Unsupported model IR version: 99, max supported IR version: 14");
        let custom = "Load model from /m.onnx failed:Fatal error: my.domain:Foo(-1) is not a registered function/op";
        assert_eq!(in_short(custom), "Fatal error: my.domain:Foo(-1) is not a registered function/op");
        assert_eq!(in_short("f(x) failed: (a) b"), "f(x) failed: (a) b");
    }
}
