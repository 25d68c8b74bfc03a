//! Values for a model's initialisers, over the memory of arrays.

#![allow(unsafe_code)]

use std::path::Path;
use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use runoff_session::{Builder, Dtype, Error, Initializer};

use crate::array;
use crate::errors::to_python;
use crate::feeds::{class, pairs, shown, text};
use crate::held::{Held, Kept};

/// The content of a file.
type Content = Arc<[u8]>;

/// A tensor, and the array that it lies on: fields are dropped in this order.
struct Tensor {
    value: Initializer,
    _array: Kept,
}

/// What a session takes its initialisers from. It must outlive the session, which reads the memory.
#[derive(Default)]
pub struct Initializers {
    own: Vec<(String, Tensor)>,
    external: Vec<(String, Tensor)>,
    files: Vec<(String, Content)>,
}

impl Initializers {
    /// Reads arrays in place of a model's own values, and arrays and files for those that it does not contain.
    pub fn read(own: &Bound<'_, PyDict>, external: &Bound<'_, PyDict>) -> PyResult<Self> {
        let mut read = Self::default();
        for (name, value) in pairs(own)? {
            read.own.push((text(&name)?.to_owned(), Tensor::of(&name, &value)?));
        }
        for (name, value) in pairs(external)? {
            let key = text(&name)?.to_owned();
            if array::cast(&value)?.is_some() {
                read.external.push((key, Tensor::of(&name, &value)?));
            } else {
                read.files.push((key, content(&name, &value)?));
            }
        }
        Ok(read)
    }

    /// Keeps what a session reads after its creation: it has copied the contents of files.
    pub fn kept(mut self) -> Self {
        self.files.clear();
        self
    }

    /// Adds them to a builder.
    pub fn apply(&self, mut builder: Builder) -> Result<Builder, Error> {
        for (name, tensor) in &self.own {
            builder = builder.with_initializer(name, &tensor.value)?;
        }
        for (name, tensor) in &self.external {
            builder = builder.with_external_initializer(name, &tensor.value)?;
        }
        for (name, content) in &self.files {
            builder = builder.with_external_file(Path::new(name), Arc::clone(content))?;
        }
        Ok(builder)
    }
}

impl Tensor {
    fn of(name: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<Self> {
        let held = plain(name, value)?;
        // SAFETY: the array is dropped after the value and, by `Session`, after the session.
        let tensor = unsafe { held.lasting_value().map(|value| Initializer::new(value)) };
        let tensor = tensor.map_err(|error| to_python(value.py(), &error))?;
        Ok(Self { value: tensor, _array: held.unbind() })
    }
}

/// Copies the content of a file.
fn content(name: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<Content> {
    let view = value.py().import("builtins")?.call_method1("memoryview", (value,)).map_err(|_| {
        PyTypeError::new_err(format!("external_initializers[{name:?}] is an array or bytes, not {}", class(value)))
    })?;
    Ok(view.call_method0("tobytes")?.cast::<PyBytes>()?.as_bytes().into())
}

/// Holds an array of numbers, or a copy of it where the elements lie otherwise than ONNX Runtime wants them.
fn plain<'py>(name: &Bound<'py, PyAny>, value: &Bound<'py, PyAny>) -> PyResult<Held<'py>> {
    let wrong =
        |given: &str| PyTypeError::new_err(format!("the initialiser {name:?} is an array of numbers, not {given}"));
    let array = array::cast(value)?.ok_or_else(|| wrong(&class(value)))?;
    let found = match Held::of(array)? {
        (Some(Dtype::Str) | None, _) => None,
        (Some(_), None) => Held::of(&array::to_plain(array)?)?.1,
        (Some(_), held) => held,
    };
    found.ok_or_else(|| wrong(&shown(array)))
}
