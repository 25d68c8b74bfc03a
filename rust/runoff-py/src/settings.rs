//! Settings of a session, from Python's words.

use std::num::NonZeroUsize;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use runoff_core::protocol::{Execution, Optimization, Settings, parse_word};
use runoff_core::{Error, profile};

use crate::errors;

/// What was given by name; `None` takes the profile's value.
pub struct Given<'a> {
    pub profile: &'a str,
    pub threads: usize,
    pub inter_threads: Option<usize>,
    pub optimization: Option<&'a str>,
    pub spinning: Option<bool>,
    pub arena: Option<bool>,
    pub prepacking: Option<bool>,
    pub execution: Option<&'a str>,
    pub provider: &'a str,
    pub precision: &'a str,
    pub batch: usize,
    pub force_spinning_stop: bool,
}

impl Given<'_> {
    /// Lays what was given over the profile.
    pub fn settings(&self, py: Python<'_>) -> PyResult<Settings> {
        let profile = profile::find(self.profile).map_err(|error| errors::to_python(py, &error))?;
        self.over(profile).map_err(|error| errors::argument(py, &error))
    }

    fn over(&self, profile: Settings) -> Result<Settings, Error> {
        let inter_threads = self.inter_threads.map(|threads| positive("inter_threads", threads)).transpose()?;
        let optimization = self.optimization.map(|word| parse_word("optimization", word)).transpose()?;
        let execution = self.execution.map(|word| parse_word("execution", word)).transpose()?;
        Ok(Settings {
            threads: positive("threads", self.threads)?,
            inter_threads: inter_threads.or(profile.inter_threads),
            optimization: optimization.or(profile.optimization),
            spinning: self.spinning.or(profile.spinning),
            arena: self.arena.or(profile.arena),
            prepacking: self.prepacking.or(profile.prepacking),
            execution: execution.or(profile.execution),
            provider: self.provider.to_owned(),
            precision: self.precision.to_owned(),
            batch: positive("batch", self.batch)?,
            force_spinning_stop: self.force_spinning_stop,
            ..profile
        })
    }
}

fn positive(name: &str, value: usize) -> Result<NonZeroUsize, Error> {
    value.try_into().map_err(|_| Error::bad_request(format!("{name} is 0, not positive")))
}

/// The profiles by name: for each setting of a session that it decides, what it decides.
pub fn profiles(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let all = PyDict::new(py);
    for name in profile::NAMES {
        let settings = profile::find(name).map_err(|error| errors::to_python(py, &error))?;
        all.set_item(name, decided(py, &settings)?)?;
    }
    Ok(all)
}

fn decided<'py>(py: Python<'py>, settings: &Settings) -> PyResult<Bound<'py, PyDict>> {
    let decided = PyDict::new(py);
    let put = |name: &str, value: Option<bool>| value.map_or(Ok(()), |value| decided.set_item(name, value));
    put("spinning", settings.spinning)?;
    put("arena", settings.arena)?;
    put("prepacking", settings.prepacking)?;
    if let Some(threads) = settings.inter_threads {
        decided.set_item("inter_threads", threads.get())?;
    }
    if let Some(level) = settings.optimization {
        decided.set_item("optimization", level_word(level))?;
    }
    if let Some(order) = settings.execution {
        decided.set_item("execution", if order == Execution::Parallel { "parallel" } else { "sequential" })?;
    }
    Ok(decided)
}

const fn level_word(level: Optimization) -> &'static str {
    match level {
        Optimization::Disable => "disable",
        Optimization::Basic => "basic",
        Optimization::Extended => "extended",
        Optimization::All => "all",
    }
}
