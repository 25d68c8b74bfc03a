//! Options of a run, and its end before it is done.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;
use runoff_session::{Error, LogLevel, RunOptions as Inner};

use crate::errors::{CANCELLED, TIMED_OUT, argument, bad_argument, failure, to_python};
use crate::feeds::{items, text};
use crate::named::verbosity;
use crate::runtime;

#[doc = stub!("RunOptions")]
#[pyclass(frozen, module = "runoff_ort")]
pub struct RunOptions {
    inner: Inner,
    is_cancelled: AtomicBool,
}

#[pymethods]
impl RunOptions {
    #[new]
    #[pyo3(signature = (*, config = None, log_level = None, tag = None, log_verbosity = None))]
    fn new(
        py: Python<'_>,
        config: Option<&Bound<'_, PyAny>>,
        log_level: Option<&str>,
        tag: Option<&str>,
        log_verbosity: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        // options are the library's
        runtime::load_runtime(py)?;
        let failed = |error: Error| argument(py, &error);
        let mut inner = Inner::new().map_err(failed)?;
        for (name, value) in entries(config)? {
            inner.set(&name, &value).map_err(failed)?;
        }
        if let Some(word) = log_level {
            inner.set_log_level(level(py, word)?).map_err(failed)?;
        }
        if let Some(tag) = tag {
            inner.set_tag(tag).map_err(failed)?;
        }
        if let Some(level) = log_verbosity {
            inner.set_log_verbosity(verbosity(level)?).map_err(failed)?;
        }
        Ok(Self { inner, is_cancelled: AtomicBool::new(false) })
    }

    #[doc = stub!("RunOptions.cancel")]
    fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        self.is_cancelled.store(true, Ordering::Relaxed);
        self.inner.cancel().map_err(|error| to_python(py, &error))
    }

    #[doc = stub!("RunOptions.reset")]
    fn reset(&self, py: Python<'_>) -> PyResult<()> {
        self.is_cancelled.store(false, Ordering::Relaxed);
        self.inner.reset().map_err(|error| to_python(py, &error))
    }

    #[doc = stub!("RunOptions.cancelled")]
    #[getter]
    fn cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }
}

/// How one run goes, and ends.
pub struct Way<'a> {
    options: Option<&'a RunOptions>,
    timeout: Option<(Inner, Duration)>,
}

impl<'a> Way<'a> {
    /// Reads the arguments of a run.
    pub fn of(py: Python<'_>, options: Option<&'a Bound<'_, RunOptions>>, timeout: Option<f64>) -> PyResult<Self> {
        let options = options.map(Bound::get);
        let Some(seconds) = timeout else { return Ok(Self { options, timeout: None }) };
        if options.is_some() {
            return Err(bad_argument(py, "timeout and options cannot be combined: cancel the options instead"));
        }
        let limit = Duration::try_from_secs_f64(seconds).ok().filter(|limit| !limit.is_zero());
        let limit =
            limit.ok_or_else(|| bad_argument(py, &format!("timeout is {seconds}, not a positive time in seconds")))?;
        let inner = Inner::new().map_err(|error| to_python(py, &error))?;
        Ok(Self { options, timeout: Some((inner, limit)) })
    }

    /// Whether nothing is asked of the run.
    pub const fn is_plain(&self) -> bool {
        self.options.is_none() && self.timeout.is_none()
    }

    /// Makes the call with the GIL released.
    pub fn call<R: Send>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(Option<&Inner>) -> Result<R, Error> + Send,
    ) -> PyResult<R> {
        let Some((inner, limit)) = &self.timeout else {
            let own = self.options.map(|options| &options.inner);
            return py.detach(|| call(own)).map_err(|error| match self.options {
                Some(options) if options.cancelled() => failure(py, CANCELLED, "the run was cancelled", ""),
                _ => to_python(py, &error),
            });
        };
        let (made, is_late) = py.detach(|| within(inner, *limit, call));
        made.map_err(|error| {
            let message = format!("the run took longer than {} s", limit.as_secs_f64());
            if is_late { failure(py, TIMED_OUT, &message, "") } else { to_python(py, &error) }
        })
    }
}

/// Makes the call, and ends it after `limit`; returns whether that was necessary.
fn within<R>(
    inner: &Inner,
    limit: Duration,
    call: impl FnOnce(Option<&Inner>) -> Result<R, Error>,
) -> (Result<R, Error>, bool) {
    thread::scope(|scope| {
        let (done, waiting) = mpsc::channel::<()>();
        let watch = move || {
            let is_late = waiting.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            is_late && inner.cancel().is_ok()
        };
        let watching = match thread::Builder::new().name("runoff-timeout".to_owned()).spawn_scoped(scope, watch) {
            Ok(watching) => watching,
            Err(error) => {
                let message = format!("no thread can be started that watches the timeout: {error}");
                return (Err(Error::new(runoff_session::Kind::Internal, message, "raise the limit of threads")), false);
            }
        };
        let made = call(Some(inner));
        drop(done);
        (made, watching.join().unwrap_or(false))
    })
}

/// Names and values of `config`.
pub fn entries(config: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<(String, String)>> {
    let Some(config) = config else { return Ok(Vec::new()) };
    let all = items(config, "config")?;
    all.iter().map(|(name, value)| Ok((text(name)?.to_owned(), text(value)?.to_owned()))).collect()
}

/// Reads a level of the log.
pub fn level(py: Python<'_>, word: &str) -> PyResult<LogLevel> {
    Ok(match word {
        "verbose" => LogLevel::Verbose,
        "info" => LogLevel::Info,
        "warning" => LogLevel::Warning,
        "error" => LogLevel::Error,
        "fatal" => LogLevel::Fatal,
        _ => {
            let message = format!("log_level is {word:?}, not verbose, info, warning, error or fatal");
            return Err(bad_argument(py, &message));
        }
    })
}
