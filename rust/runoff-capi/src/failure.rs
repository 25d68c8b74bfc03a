//! Failures, in the words of the protocol.

/// A failure that the protocol has a kind for.
#[derive(Debug)]
pub struct Failure {
    /// One of the kinds in `protocol/README.md`.
    pub kind: &'static str,
    /// What failed, naming the file or the field.
    pub message: String,
    /// The next step.
    pub hint: &'static str,
}

impl Failure {
    /// Makes a failure.
    pub fn new(kind: &'static str, message: impl Into<String>, hint: &'static str) -> Self {
        Self { kind, message: message.into(), hint }
    }

    /// A request that cannot be served as it is.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new("bad-request", message, "see protocol/request.schema.json")
    }

    /// `unsupported` if this machine has no ONNX Runtime or not the provider, else `error`.
    pub fn status(&self) -> &'static str {
        if self.exit_code() == 3 { "unsupported" } else { "error" }
    }

    /// Exit code of the runner that ends with this failure.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            "bad-request" => 2,
            "runtime-missing" | "provider-unavailable" => 3,
            _ => 1,
        }
    }
}
