//! Options of a session that `onnxruntime` has and runoff's settings have not, by the names of its `SessionOptions`.

use std::path::PathBuf;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use runoff_session::{Builder, Error, Optimization};

use crate::arguments::{absolute, whole, within};
use crate::errors::{argument, bad_argument};
use crate::feeds::{pairs, text};

/// An option and its value.
pub enum Named {
    Deterministic(bool),
    LogId(String),
    LogVerbosity(i32),
    MemoryPattern(bool),
    OptimizationLevel(Optimization),
    OptimizedModel(PathBuf),
}

impl Named {
    /// Reads all options of `given`.
    pub fn all(given: &Bound<'_, PyDict>) -> PyResult<Vec<Self>> {
        let read = |(name, value): &(Bound<'_, PyAny>, Bound<'_, PyAny>)| {
            let name = text(name)?;
            Self::read(name, value).map_err(|error| named(name, value, error))
        };
        pairs(given)?.iter().map(read).collect()
    }

    fn read(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(match name {
            "enable_mem_pattern" => Self::MemoryPattern(value.extract()?),
            "graph_optimization_level" => Self::OptimizationLevel(level(value)?),
            "log_verbosity_level" => Self::LogVerbosity(verbosity(value)?),
            "logid" => Self::LogId(value.extract()?),
            "optimized_model_filepath" => Self::OptimizedModel(absolute(&value.extract::<PathBuf>()?)),
            "use_deterministic_compute" => Self::Deterministic(value.extract()?),
            _ => return Err(bad_argument(value.py(), &format!("session_options has no {name:?}"))),
        })
    }

    /// Sets the option.
    pub fn apply(&self, builder: Builder) -> Result<Builder, Error> {
        match self {
            Self::Deterministic(is_on) => builder.with_deterministic_compute(*is_on),
            Self::LogId(id) => builder.with_log_id(id),
            Self::LogVerbosity(level) => builder.with_log_verbosity(*level),
            Self::MemoryPattern(is_on) => builder.with_memory_pattern(*is_on),
            Self::OptimizationLevel(level) => builder.with_optimization(*level),
            Self::OptimizedModel(path) => builder.with_optimized_model(path),
        }
    }
}

/// Reads how much is logged at the level `verbose`.
pub fn verbosity(value: &Bound<'_, PyAny>) -> PyResult<i32> {
    let level = within(whole(value)?, "log_verbosity_level", &(-1..=0x7fff_ffff));
    level.map_err(|error: Error| argument(value.py(), &error))
}

/// Reads a number of ONNX Runtime's `GraphOptimizationLevel`.
fn level(value: &Bound<'_, PyAny>) -> PyResult<Optimization> {
    Ok(match whole(value)? {
        0 => Optimization::Disable,
        1 => Optimization::Basic,
        2 => Optimization::Extended,
        3 => Optimization::Layout,
        99 => Optimization::All,
        other => {
            let message = format!("graph_optimization_level is {other}, not 0, 1, 2, 3 or 99");
            return Err(bad_argument(value.py(), &message));
        }
    })
}

/// Adds the option's name to a `TypeError` over its value.
fn named(name: &str, value: &Bound<'_, PyAny>, error: PyErr) -> PyErr {
    let py = value.py();
    if error.is_instance_of::<PyTypeError>(py) {
        PyTypeError::new_err(format!("session_options[{name:?}]: {}", error.value(py)))
    } else {
        error
    }
}
