//! Failures, as defined by the protocol.

/// A failure of a kind that the protocol defines.
#[derive(Debug)]
pub struct Failure {
    /// One of the kinds in `protocol/README.md`.
    pub kind: &'static str,
    /// Cause, with the file or field.
    pub message: String,
    /// Next step for the user.
    pub hint: &'static str,
}

impl Failure {
    /// Creates a failure.
    pub fn new(kind: &'static str, message: impl Into<String>, hint: &'static str) -> Self {
        Self { kind, message: message.into(), hint }
    }

    /// An invalid request.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new("bad-request", message, "see protocol/request.schema.json")
    }

    /// `unsupported` if the runtime does not have what was requested, on this machine or at all, else `error`.
    pub fn status(&self) -> &'static str {
        if self.exit_code() == 3 { "unsupported" } else { "error" }
    }

    /// Exit code of the runner for this failure.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            "bad-request" => 2,
            "runtime-missing" | "provider-unavailable" | "type-unsupported" | "model-unsupported" => 3,
            _ => 1,
        }
    }
}
