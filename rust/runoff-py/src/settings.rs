//! Settings of a session, from Python's words.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use pyo3::exceptions::PyUserWarning;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use runoff_core::protocol::parse_word;
use runoff_session::{Builder, Error, Execution, LogLevel, PREPARED, Prepared, Settings, profile};

use crate::arguments::{BACKOFF, BATCH, Listed, SPIN_US, THREADS, absolute, optional_whole, positive, whole, within};
use crate::errors;
use crate::feeds::{items, pairs, text};
use crate::initializers::Initializers;
use crate::named::Named;
use crate::options::{entries, level};

/// Threads per operation, as they were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// They were not.
    OfProfile,
    /// As many as ONNX Runtime chooses.
    All,
    Count(i64),
}

/// Reads a number of threads, or None for all.
pub fn threads(object: &Bound<'_, PyAny>) -> PyResult<Threads> {
    Ok(optional_whole(object)?.map_or(Threads::All, Threads::Count))
}

/// What was given by name; `None` takes the profile's value.
pub struct Given<'a> {
    pub profile: &'a str,
    pub threads: Threads,
    pub inter_threads: Option<i64>,
    pub optimization: Option<&'a str>,
    pub spinning: Option<bool>,
    pub spin_duration_us: Option<i64>,
    pub spin_backoff_max: Option<i64>,
    pub arena: Option<bool>,
    pub prepacking: Option<bool>,
    pub execution: Option<&'a str>,
    pub provider: &'a str,
    pub precision: &'a str,
    pub batch: i64,
    pub force_spinning_stop: bool,
}

impl Given<'_> {
    /// Lays what was given over the profile.
    pub fn settings(&self, py: Python<'_>) -> PyResult<Settings> {
        let profile = profile::find(self.profile).map_err(|error| errors::to_python(py, &error))?;
        self.over(profile).map_err(|error| errors::argument(py, &error))
    }

    /// Warns if the profile asks for a prepared model, and `model` is none.
    pub fn warn(&self, py: Python<'_>, settings: &Settings, model: Option<&Path>) -> PyResult<()> {
        let is_prepared = model.is_some_and(|path| path.extension().is_some_and(|extension| extension == PREPARED));
        if settings.prepared != Some(Prepared::Fastest(true)) || is_prepared {
            return Ok(());
        }
        let profile = self.profile;
        let text = format!("{profile}: not applied: prepared = true: pass runoff_ort.prepare(path) in place of path");
        PyErr::warn(py, &py.get_type::<PyUserWarning>(), &CString::new(text)?, 1)
    }

    /// By the names of a session's parameters.
    pub fn arguments<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let all = PyDict::new(py);
        if profile::is_file(self.profile) {
            all.set_item("profile", absolute(Path::new(self.profile)).to_string_lossy())?;
        } else {
            all.set_item("profile", self.profile)?;
        }
        match self.threads {
            Threads::OfProfile => {}
            Threads::All => all.set_item("threads", py.None())?,
            Threads::Count(count) => all.set_item("threads", count)?,
        }
        all.set_item("inter_threads", self.inter_threads)?;
        all.set_item("optimization", self.optimization)?;
        all.set_item("spinning", self.spinning)?;
        all.set_item("spin_duration_us", self.spin_duration_us)?;
        all.set_item("spin_backoff_max", self.spin_backoff_max)?;
        all.set_item("arena", self.arena)?;
        all.set_item("prepacking", self.prepacking)?;
        all.set_item("execution", self.execution)?;
        all.set_item("provider", self.provider)?;
        all.set_item("precision", self.precision)?;
        all.set_item("batch", self.batch)?;
        all.set_item("force_spinning_stop", self.force_spinning_stop)?;
        Ok(all)
    }

    fn over(&self, profile: Settings) -> Result<Settings, Error> {
        let inter_threads =
            self.inter_threads.map(|threads| positive(threads, "inter_threads", &THREADS)).transpose()?;
        let spin_duration_us =
            self.spin_duration_us.map(|spin_us| within(spin_us, "spin_duration_us", &SPIN_US)).transpose()?;
        let spin_backoff_max =
            self.spin_backoff_max.map(|most| positive(most, "spin_backoff_max", &BACKOFF)).transpose()?;
        let optimization = self.optimization.map(|word| parse_word("optimization", word)).transpose()?;
        let execution = self.execution.map(|word| parse_word("execution", word)).transpose()?;
        Ok(Settings {
            threads: match self.threads {
                Threads::Count(count) => positive(count, "threads", &THREADS)?,
                Threads::OfProfile | Threads::All => profile.threads,
            },
            inter_threads: inter_threads.or(profile.inter_threads),
            optimization: optimization.or(profile.optimization),
            spinning: self.spinning.or(profile.spinning),
            spin_duration_us: spin_duration_us.or(profile.spin_duration_us),
            spin_backoff_max: spin_backoff_max.or(profile.spin_backoff_max),
            arena: self.arena.or(profile.arena),
            prepacking: self.prepacking.or(profile.prepacking),
            execution: execution.or(profile.execution),
            provider: self.provider.to_owned(),
            precision: self.precision.to_owned(),
            batch: positive(self.batch, "batch", &BATCH)?,
            force_spinning_stop: self.force_spinning_stop,
            ..profile
        })
    }
}

/// Settings that are mappings, by the names of a session's parameters: copies, which nothing else can change.
pub type Tables<'py> = [(&'static str, Bound<'py, PyDict>); 6];

/// Copies what was given.
pub fn copy_tables<'py>(
    py: Python<'py>,
    given: [(&'static str, Option<&Bound<'py, PyAny>>); 6],
) -> PyResult<Tables<'py>> {
    let tables = given.map(|(name, _)| (name, PyDict::new(py)));
    for ((name, mapping), (_, table)) in given.iter().zip(&tables) {
        for (key, value) in mapping.map(|mapping| items(mapping, name)).transpose()?.unwrap_or_default() {
            table.set_item(text(&key)?, value)?;
        }
    }
    Ok(tables)
}

/// Settings that only Python gives: requests have none of them.
pub struct Extras {
    /// Whether ONNX Runtime chooses the number of threads.
    are_threads_free: bool,
    config: Vec<(String, String)>,
    dimensions: Vec<(String, i64)>,
    denotations: Vec<(String, i64)>,
    named: Vec<Named>,
    log_level: Option<(String, LogLevel)>,
    profiling: Option<PathBuf>,
    custom_op_libraries: Vec<PathBuf>,
    pub initializers: Initializers,
}

impl Extras {
    /// Reads them.
    pub fn of(
        py: Python<'_>,
        threads: Threads,
        tables: &Tables<'_>,
        log_level: Option<&str>,
        profiling: Option<PathBuf>,
        libraries: Option<Listed<PathBuf>>,
    ) -> PyResult<Self> {
        let [(_, config), dimensions, denotations, (_, options), (_, own), (_, external)] = tables;
        let log_level = log_level.map(|word| level(py, word).map(|level| (word.to_owned(), level))).transpose()?;
        Ok(Self {
            are_threads_free: threads == Threads::All,
            config: entries(Some(config))?,
            dimensions: sides(dimensions)?,
            denotations: sides(denotations)?,
            named: Named::all(options)?,
            log_level,
            profiling,
            custom_op_libraries: libraries.into_iter().flat_map(|list| list.0).map(|path| absolute(&path)).collect(),
            initializers: Initializers::read(own, external)?,
        })
    }

    /// Adds them to those of a builder.
    ///
    /// # Errors
    ///
    /// `runtime-failed`; `model-missing` or `bad-request` for a library of custom operators.
    pub fn apply(&self, mut builder: Builder) -> Result<Builder, Error> {
        if self.are_threads_free {
            builder = builder.with_all_threads()?;
        }
        for (name, side) in &self.dimensions {
            builder = builder.with_dimension(name, *side)?;
        }
        for (denotation, side) in &self.denotations {
            builder = builder.with_denotation(denotation, *side)?;
        }
        for option in &self.named {
            builder = option.apply(builder)?;
        }
        builder = self.initializers.apply(builder)?;
        if let Some((_, level)) = &self.log_level {
            builder = builder.with_log_level(*level)?;
        }
        if let Some(path) = &self.profiling {
            builder = builder.with_profiling(path)?;
        }
        for (name, value) in &self.config {
            builder = builder.with_config(name, value)?;
        }
        self.custom_op_libraries.iter().try_fold(builder, |builder, path| builder.with_operators(path))
    }

    /// Adds them to `arguments`, by the names of a session's parameters.
    pub fn add_to(&self, arguments: &Bound<'_, PyDict>) -> PyResult<()> {
        arguments.set_item("log_level", self.log_level.as_ref().map(|(word, _)| word))?;
        arguments.set_item("profiling", self.profiling.as_ref())?;
        arguments.set_item("custom_op_libraries", &self.custom_op_libraries)
    }
}

/// Reads sizes of dimensions.
fn sides((table, sides): &(&str, Bound<'_, PyDict>)) -> PyResult<Vec<(String, i64)>> {
    let read = |(name, side): &(Bound<'_, PyAny>, Bound<'_, PyAny>)| {
        let name = text(name)?;
        let size = positive(whole(side)?, &format!("{table}[{name:?}]"), &BATCH);
        let size = size.map_err(|error| errors::argument(side.py(), &error))?;
        Ok((name.to_owned(), i64::try_from(size.get()).unwrap_or(i64::MAX)))
    };
    pairs(sides)?.iter().map(read).collect()
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
        decided.set_item("optimization", level.as_str())?;
    }
    if let Some(order) = settings.execution {
        decided.set_item("execution", if order == Execution::Parallel { "parallel" } else { "sequential" })?;
    }
    Ok(decided)
}
