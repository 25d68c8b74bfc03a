//! The providers that a session may use, as Python gives them.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};
use runoff_session::{CPU, Choice};

use crate::arguments::Listed;
use crate::errors::bad_argument;
use crate::feeds::{class, items, text};

/// Providers in order of preference.
pub struct Order(Vec<Choice>);

/// A name, or a pair of a name and options.
struct Entry(Choice);

impl FromPyObject<'_, '_> for Entry {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if let Ok(name) = object.cast::<PyString>() {
            return Ok(Self(Choice { name: name.to_str()?.to_owned(), options: Vec::new() }));
        }
        let pair = object.cast::<PyTuple>().ok().filter(|pair| pair.len() == 2).ok_or_else(|| {
            PyTypeError::new_err(format!(
                "a provider is a name or a pair of a name and options, not {}",
                class(&object)
            ))
        })?;
        let (name, given) = (pair.get_item(0)?, pair.get_item(1)?);
        let mut options = Vec::new();
        for (key, value) in items(&given, "the options of a provider")? {
            options.push((text(&key)?.to_owned(), value.str()?.to_str()?.to_owned()));
        }
        Ok(Self(Choice { name: text(&name)?.to_owned(), options }))
    }
}

impl FromPyObject<'_, '_> for Order {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let entries: Listed<Entry> = object.extract()?;
        Ok(Self(entries.0.into_iter().map(|entry| entry.0).collect()))
    }
}

impl Order {
    /// What extracts to the same.
    pub fn to_python<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for Choice { name, options } in &self.0 {
            let given = PyDict::new(py);
            options.iter().try_for_each(|(name, value)| given.set_item(name, value))?;
            list.append((name, given))?;
        }
        Ok(list)
    }
}

/// What a session may use: the list, or `provider` if there is none.
pub fn choices(py: Python<'_>, provider: &str, order: Option<&Order>) -> PyResult<Vec<Choice>> {
    match order {
        None => Ok(Choice::alone(provider)),
        Some(order) if provider == CPU => Ok(order.0.clone()),
        Some(_) => Err(bad_argument(py, "provider and providers cannot be combined")),
    }
}
