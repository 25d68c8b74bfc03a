//! Arguments that callers give: numbers within limits, lists of their real length, models as files or bytes.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use pyo3::conversion::FromPyObjectOwned;
use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use runoff_core::protocol::bad_request;
use runoff_session::Error;

use crate::feeds::class;

/// Threads of a pool: more than any machine has cores for.
pub const THREADS: RangeInclusive<i64> = 1..=1024;
/// Microseconds that a thread spins.
pub const SPIN_US: RangeInclusive<i64> = 0..=1_000_000;
/// Most pauses while spinning: ONNX Runtime's own maximum.
pub const BACKOFF: RangeInclusive<i64> = 1..=64;
/// Items of a batch.
pub const BATCH: RangeInclusive<i64> = 1..=0x7fff_ffff;
/// Classes that are returned.
pub const TOP: RangeInclusive<i64> = 0..=0x7fff_ffff;
/// Pixels of a side: a square of as many has more than the largest image.
pub const SIDE: RangeInclusive<i64> = 1..=16_384;

/// Reads an integer; one that is out of the range of `i64` becomes the nearest that is not, which no limit lets in.
pub fn whole(object: &Bound<'_, PyAny>) -> PyResult<i64> {
    match object.extract::<i64>() {
        Err(error) if error.is_instance_of::<PyOverflowError>(object.py()) => {
            Ok(if object.lt(0)? { i64::MIN } else { i64::MAX })
        }
        extracted => extracted,
    }
}

/// Reads an integer or None.
pub fn optional_whole(object: &Bound<'_, PyAny>) -> PyResult<Option<i64>> {
    if object.is_none() { Ok(None) } else { whole(object).map(Some) }
}

/// The number, if it is within `range`.
///
/// # Errors
///
/// `bad-request`, with `name`, the number and the limits.
pub fn within<N: TryFrom<i64>>(number: i64, name: &str, range: &RangeInclusive<i64>) -> Result<N, Error> {
    let good = Some(number).filter(|number| range.contains(number)).and_then(|number| N::try_from(number).ok());
    let (low, high) = (range.start(), range.end());
    good.ok_or_else(|| bad_request(format!("{name} is {number}, not from {low} to {high}")))
}

/// The number, if it is within `range`, which begins at 1.
///
/// # Errors
///
/// As [`within`].
pub fn positive(number: i64, name: &str, range: &RangeInclusive<i64>) -> Result<NonZeroUsize, Error> {
    within(number, name, range).map(|number: usize| NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN))
}

/// The items of a sequence, counted as they come: what an object says of its length may be anything.
pub struct Listed<T>(pub Vec<T>);

impl<'py, T: FromPyObjectOwned<'py>> FromPyObject<'_, 'py> for Listed<T> {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if object.is_instance_of::<PyString>() || object.is_instance_of::<PyBytes>() {
            return Err(PyTypeError::new_err(format!("a list is needed, not {}", class(&object))));
        }
        let items = object.try_iter()?.map(|item| item?.extract::<T>().map_err(Into::into));
        items.collect::<PyResult<_>>().map(Self)
    }
}

/// The absolute path of a file, which means the same in another folder.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// A model, as it is given to a session.
pub enum Model<'py> {
    File(PathBuf),
    Bytes(Bound<'py, PyBytes>),
}

impl<'py> FromPyObject<'_, 'py> for Model<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = object.cast::<PyBytes>() {
            return Ok(Self::Bytes(bytes.to_owned()));
        }
        if object.is_instance_of::<PyString>() || object.hasattr("__fspath__")? {
            return object.extract().map(Self::File);
        }
        // a copy: other threads may write to the buffer while the model is read
        let view = object.py().import("builtins")?.call_method1("memoryview", (object,)).map_err(|error| {
            let wrong = PyTypeError::new_err(format!("a model is the path of a file or bytes, not {}", class(&object)));
            wrong.set_cause(object.py(), Some(error));
            wrong
        })?;
        Ok(Self::Bytes(view.call_method0("tobytes")?.cast_into()?))
    }
}

impl Model<'_> {
    /// The absolute path of the file.
    pub fn path(&self) -> Option<PathBuf> {
        match self {
            Self::File(path) => Some(absolute(path)),
            Self::Bytes(_) => None,
        }
    }

    /// What the core loads.
    pub fn source(&self) -> runoff_session::Source<'_> {
        match self {
            Self::File(path) => runoff_session::Source::File(Path::new(path)),
            Self::Bytes(bytes) => runoff_session::Source::Bytes(bytes.as_bytes()),
        }
    }
}
