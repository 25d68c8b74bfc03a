//! ONNX Runtime's environment in this process, and the levels of its log.

/// ONNX Runtime's environment, made by [`Runtime::make_environment`](crate::Runtime::make_environment). A process
/// has only one, and clones refer to it; sessions keep it alive.
#[derive(Debug, Clone)]
pub struct Environment(pub(crate) ort::environment::Environment);

/// Levels of ONNX Runtime's log: each includes those that follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Verbose,
    Info,
    Warning,
    Error,
    Fatal,
}

impl LogLevel {
    /// ONNX Runtime's constant for the level.
    pub(crate) const fn to_onnx(self) -> ort::logging::LogLevel {
        match self {
            Self::Verbose => ort::logging::LogLevel::Verbose,
            Self::Info => ort::logging::LogLevel::Info,
            Self::Warning => ort::logging::LogLevel::Warning,
            Self::Error => ort::logging::LogLevel::Error,
            Self::Fatal => ort::logging::LogLevel::Fatal,
        }
    }
}
