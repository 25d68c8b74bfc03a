//! What a model returns: ONNX Runtime's values as Python's objects.

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use runoff_session::{Dtype, Error, Form, Kind, TensorView, Value, ValueInfo};

use crate::array;
use crate::errors::to_python;
use crate::held::InPlace;

/// Converts the output at `info`.
pub fn to_object<'py>(
    py: Python<'py>,
    info: &ValueInfo,
    value: Value<'static>,
    in_place: &InPlace,
) -> PyResult<Bound<'py, PyAny>> {
    match info.dtype {
        Some(Dtype::Str) => strings(py, &value, &info.name),
        Some(_) => array::from_tensor(py, value, &info.name, in_place),
        None => any(py, value, &info.name, in_place),
    }
}

/// Converts a value that may be anything.
fn any<'py>(py: Python<'py>, value: Value<'static>, name: &str, in_place: &InPlace) -> PyResult<Bound<'py, PyAny>> {
    let failed = |error: Error| to_python(py, &error);
    match value.form().map_err(failed)? {
        Form::Tensor if value.tensor(name).map_err(failed)?.dtype == Dtype::Str => strings(py, &value, name),
        Form::Tensor => array::from_tensor(py, value, name, in_place),
        Form::Sequence => {
            let items = value.items().map_err(failed)?.into_iter();
            let items = items.map(|item| any(py, item, name, in_place)).collect::<PyResult<Vec<_>>>()?;
            Ok(PyList::new(py, items)?.into_any())
        }
        Form::Map => map(py, value.items().map_err(failed)?, name, in_place),
        Form::Nothing => Ok(py.None().into_bound(py)),
        _ => {
            let message = format!("{name:?} is a kind of value that this module does not read");
            Err(to_python(py, &Error::new(Kind::ModelMismatch, message, "exclude it: name other outputs")))
        }
    }
}

/// Makes a dictionary of keys and values, as Python's own numbers and strings.
fn map<'py>(
    py: Python<'py>,
    columns: Vec<Value<'static>>,
    name: &str,
    in_place: &InPlace,
) -> PyResult<Bound<'py, PyAny>> {
    let list = |column| any(py, column, name, in_place)?.call_method0("tolist");
    let lists = columns.into_iter().map(list).collect::<PyResult<Vec<_>>>()?;
    let pairs = py.import("builtins")?.getattr("zip")?.call1(PyTuple::new(py, lists)?)?;
    let made = PyDict::new(py);
    for pair in pairs.try_iter()? {
        let (key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair?.extract()?;
        made.set_item(key, value)?;
    }
    Ok(made.into_any())
}

/// Makes an array of `str` objects.
fn strings<'py>(py: Python<'py>, value: &Value<'_>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    let view = value.tensor(name).map_err(|error| to_python(py, &error))?;
    let dims = TensorView::dims(&view);
    let texts = value.texts(dims.iter().product()).map_err(|error| to_python(py, &error))?;
    let named = PyDict::new(py);
    named.set_item("dtype", "object")?;
    let flat = array::numpy(py, "array", &texts.into_bound_py_any(py)?, Some(&named))?;
    flat.call_method1("reshape", (PyTuple::new(py, dims)?,))
}
