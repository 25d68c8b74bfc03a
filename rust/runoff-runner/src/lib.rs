//! Parts of a runner in Rust, independent of the runtime: the protocol's command line, the measurements, the model's
//! inputs and outputs.
//!
//! A runtime that only computes tensors implements [`Engine`], and [`main`] is its program. One with more workloads
//! implements [`Work`], for [`execute`].

#![deny(unsafe_code)]

mod checks;
mod denormals;
mod engine;
mod feed;
pub mod malloc;
mod outputs;
mod prefetch;
mod process;
mod run;
mod samples;
mod turns;

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use runoff_core::protocol;
use runoff_core::protocol::{Request, RunResult, Status};
use runoff_session::{Error, Teardown};
use serde::Serialize;

pub use checks::{check_inputs, choose_outputs, failed, find_by_shapes, no_output, unreadable, unsupported_model};
pub use engine::{Description, Engine, main, pinned_version};
pub use feed::{Feed, Input};
pub use outputs::Captured;
pub use prefetch::Prefetch;
pub use process::exit_immediately;
pub use run::{Answer, Served, Work, check_format, execute, ignored};
pub use samples::IterationTimes;

/// The practice of mapping the model's file and using its weights in place: `docs/best-practice.md`.
pub const MAPPED_MODEL: &str = "mapped-model";

/// The runner protocol's command line.
#[derive(Debug, Default, Clone, PartialEq, Eq, clap::Args)]
pub struct RunnerArgs {
    /// Run the request in this file (with --result).
    #[arg(long, value_name = "FILE", requires = "result")]
    pub request: Option<PathBuf>,
    /// Write the result to this file.
    #[arg(long, value_name = "FILE", requires = "request")]
    pub result: Option<PathBuf>,
    /// Print what this runner can do on this machine, as JSON.
    #[arg(long, visible_alias = "probe", conflicts_with_all = ["request", "result"])]
    pub capabilities: bool,
}

/// Reads the request in `request`; when it is bad, writes the result to `result` and returns the exit code.
///
/// # Errors
///
/// The exit code 2.
pub fn read_request(request: &Path, result: &std::path::Path) -> Result<Request, ExitCode> {
    protocol::read_request(request).map_err(|error| write_result(result, &RunResult::failed("", &error)))
}

/// Carries out the request in the file `request` with `execute`, and writes its result to the file `result`.
///
/// Returns the exit code. With the setting `teardown = "skip"`, a process that succeeded ends here.
pub fn carry_out_request(
    request: &Path,
    result: &Path,
    execute: impl for<'a> FnOnce(&'a Request) -> Answer<'a>,
) -> ExitCode {
    let request = match read_request(request, result) {
        Ok(request) => request,
        Err(code) => return code,
    };
    let answer = execute(&request);
    let code = write_result(result, &answer.result);
    if answer.work.is_some() && code == ExitCode::SUCCESS && request.settings.teardown == Some(Teardown::Skip) {
        exit_immediately(0);
    }
    code
}

/// Writes `answer` to `path`; returns the exit code of its status, or 1 when it cannot be written.
#[must_use]
pub fn write_result(path: &Path, answer: &RunResult) -> ExitCode {
    let code = match (answer.status, answer.kind) {
        (Status::Ok, _) | (_, None) => 0,
        (_, Some(kind)) => kind.exit_code(),
    };
    if let (Some(message), Some(hint)) = (&answer.message, &answer.hint) {
        report_error(&format!("{message} ({hint})"));
    }
    match protocol::write_result(path, answer) {
        Ok(()) => ExitCode::from(code),
        Err(error) => fail(&error),
    }
}

/// Prints `message` to stderr in one line; a closed stderr is no reason to fail.
pub fn report_error(message: &str) {
    let _ = writeln!(io::stderr(), "error: {message}");
}

/// Prints `error` to stderr; returns its exit code.
#[must_use]
pub fn fail(error: &Error) -> ExitCode {
    report_error(&error.to_string());
    ExitCode::from(error.kind.exit_code())
}

/// Prints `value` to stdout as one line of JSON.
///
/// # Errors
///
/// Those of [`print()`].
pub fn print_json(value: &impl Serialize) -> io::Result<()> {
    print(&format!("{}\n", serde_json::to_string(value)?))
}

/// Prints `text` to stdout, and flushes it.
///
/// # Errors
///
/// When stdout cannot be written, among others because its reader has gone ([`is_reader_gone`]).
pub fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
}

/// Whether a failure to print is none, because nobody wants to read more (`| head -1`).
#[must_use]
pub fn is_reader_gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::BrokenPipe
}
