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

impl From<LogLevel> for ort::logging::LogLevel {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Verbose => Self::Verbose,
            LogLevel::Info => Self::Info,
            LogLevel::Warning => Self::Warning,
            LogLevel::Error => Self::Error,
            LogLevel::Fatal => Self::Fatal,
        }
    }
}
