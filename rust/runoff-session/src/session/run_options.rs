//! Options of a run.

use std::fmt;

use crate::environment::LogLevel;
use crate::error::Error;

/// Options of a run, through which other threads can end it.
pub struct RunOptions(pub(super) ort::session::RunOptions);

impl fmt::Debug for RunOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RunOptions").finish_non_exhaustive()
    }
}

impl RunOptions {
    /// Creates options that change nothing.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    ///
    /// # Panics
    ///
    /// If no [`Runtime`](crate::Runtime) is loaded.
    pub fn new() -> Result<Self, Error> {
        ort::session::RunOptions::new().map(Self).map_err(|error| failed(&error))
    }

    /// Sets one of ONNX Runtime's configuration entries.
    ///
    /// # Errors
    ///
    /// `runtime-failed`, for instance if a name or a value contains NUL.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        self.0.set(name, value).map_err(|error| failed(&error))
    }

    /// Sets the level of the log during the run.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn set_log_level(&mut self, level: LogLevel) -> Result<(), Error> {
        self.0.set_log_level(level.to_onnx()).map_err(|error| failed(&error))
    }

    /// Sets how much is logged at the level [`LogLevel::Verbose`].
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn set_log_verbosity(&mut self, verbosity: i32) -> Result<(), Error> {
        self.0.set_log_verbosity(verbosity).map_err(|error| failed(&error))
    }

    /// Sets the name of the run in the log.
    ///
    /// # Errors
    ///
    /// `runtime-failed`, for instance if the name contains NUL.
    pub fn set_tag(&mut self, tag: &str) -> Result<(), Error> {
        self.0.set_tag(tag).map_err(|error| failed(&error))
    }

    /// Ends the runs in progress with these options as soon as possible, and later ones at once, until
    /// [`Self::reset`].
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn cancel(&self) -> Result<(), Error> {
        self.0.terminate().map_err(|error| Error::runtime("cancelling a run", &error))
    }

    /// Allows runs again after [`Self::cancel`].
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn reset(&self) -> Result<(), Error> {
        self.0.unterminate().map_err(|error| Error::runtime("resetting a run", &error))
    }
}

fn failed(error: &ort::Error) -> Error {
    Error::runtime("setting the options of a run", error)
}
