//! The error type of this crate: a kind, a message and a hint.

use serde::{Deserialize, Serialize};

/// Kinds of failure: those of this crate, and those of programs that read images and tensors for it. Their names are
/// those of runoff's runner protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    /// What was requested cannot be understood or contradicts itself.
    BadRequest,
    /// The model file was not found.
    ModelMissing,
    /// The model file exists but cannot be loaded.
    ModelUnreadable,
    /// The given inputs do not match the model's.
    ModelMismatch,
    /// The model needs what the program does not have, such as an input that it does not know.
    ModelUnsupported,
    /// An input or output of the model is not a tensor, or of a type that the program does not read or write.
    TypeUnsupported,
    /// The image file was not found.
    ImageMissing,
    /// The image file cannot be read or decoded.
    ImageUnreadable,
    /// The image has too many pixels.
    ImageTooLarge,
    /// A tensor file is missing, unreadable or of the wrong size.
    TensorUnreadable,
    /// The provider is missing from this build, unavailable on this machine, or does not support the request.
    ProviderUnavailable,
    /// ONNX Runtime's library is missing or too old.
    RuntimeMissing,
    /// ONNX Runtime reported a failure.
    RuntimeFailed,
    /// The disk is full.
    NoSpace,
    /// Anything else.
    Internal,
}

impl Kind {
    /// The kind's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::ModelMissing => "model-missing",
            Self::ModelUnreadable => "model-unreadable",
            Self::ModelMismatch => "model-mismatch",
            Self::ModelUnsupported => "model-unsupported",
            Self::TypeUnsupported => "type-unsupported",
            Self::ImageMissing => "image-missing",
            Self::ImageUnreadable => "image-unreadable",
            Self::ImageTooLarge => "image-too-large",
            Self::TensorUnreadable => "tensor-unreadable",
            Self::ProviderUnavailable => "provider-unavailable",
            Self::RuntimeMissing => "runtime-missing",
            Self::RuntimeFailed => "runtime-failed",
            Self::NoSpace => "no-space",
            Self::Internal => "internal",
        }
    }

    /// Whether what was requested is unsupported here, as opposed to failed.
    #[must_use]
    pub const fn is_unsupported(self) -> bool {
        use Kind::{ModelUnsupported, ProviderUnavailable, RuntimeMissing, TypeUnsupported};
        matches!(self, ProviderUnavailable | RuntimeMissing | ModelUnsupported | TypeUnsupported)
    }

    /// Exit code of a program for this kind: 2 for a bad request, 3 if unsupported here, otherwise 1.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::BadRequest => 2,
            kind if kind.is_unsupported() => 3,
            _ => 1,
        }
    }
}

/// A failure with a hint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", if hint.is_empty() { String::new() } else { format!(" ({hint})") })]
#[non_exhaustive]
pub struct Error {
    /// Kind of failure.
    pub kind: Kind,
    /// Cause, with the file or field at fault, in one line.
    pub message: String,
    /// Next step for the user; empty only if the message contains it.
    pub hint: String,
}

impl Error {
    /// Creates an error; only the first line of the message is kept.
    pub fn new(kind: Kind, message: impl AsRef<str>, hint: impl Into<String>) -> Self {
        let message = message.as_ref().lines().next().unwrap_or_default().trim().to_owned();
        Self { kind, message, hint: hint.into() }
    }

    /// Not enough memory for `what`, whose size depends on the request.
    #[must_use]
    pub fn memory(what: &str) -> Self {
        Self::new(Kind::BadRequest, format!("not enough memory for {what}"), "use a smaller batch, shape or number")
    }

    /// A failure to write to `path`.
    #[must_use]
    pub fn write(path: &std::path::Path, error: &std::io::Error) -> Self {
        let message = format!("cannot write {}: {error}", path.display());
        if error.kind() == std::io::ErrorKind::StorageFull {
            Self::new(Kind::NoSpace, message, "free some space on that disk")
        } else {
            Self::new(Kind::Internal, message, "check that the folder exists and can be written to")
        }
    }

    /// A failure reported by ONNX Runtime while it did `what`.
    pub(crate) fn runtime<R>(what: &str, error: &ort::Error<R>) -> Self {
        let message = format!("ONNX Runtime failed {what}: {}", error.message());
        Self::new(Kind::RuntimeFailed, message, "run it again with ORT_LOG=verbose to see more on stderr")
    }
}

/// The loader's reason why a library was not loaded.
pub(crate) fn loader_words(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
