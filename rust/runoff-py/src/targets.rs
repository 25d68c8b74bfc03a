//! Arrays that a caller gives to be written into.

use numpy::PyUntypedArray;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use runoff_core::dtype::Dtype;
use runoff_core::session::{Port, Session, show_shape};
use runoff_core::{Error, Kind};

use crate::array::{self, InPlace};
use crate::errors::{bad_argument, mismatch};
use crate::feeds::{Few, class, dictionary, shown, text, wrong};

/// An array for one output.
pub struct Target<'py> {
    /// Output of the session.
    pub place: usize,
    pub array: Bound<'py, PyUntypedArray>,
    pub dtype: Dtype,
}

/// Reads `outputs`, a mapping: each fits its output, and shares no memory with another or with what is `in_place`.
pub fn read<'py>(session: &Session, outputs: &Bound<'py, PyAny>, mut in_place: InPlace) -> PyResult<Few<Target<'py>>> {
    let py = outputs.py();
    let mut targets = Few::new();
    for (name, value) in dictionary(outputs, "outputs")?.iter() {
        let place = session.output(text(&name)?).map_err(|error| mismatch(py, &error))?;
        let port = &session.outputs()[place];
        if session.input(&port.name).is_ok() {
            let message =
                format!("{:?} is an input that the model passes on: ONNX Runtime does not write it", port.name);
            return Err(bad_argument(py, &message));
        }
        let (array, dtype) = plain(port, &value)?;
        if !array::is_writable(&array) {
            return Err(bad_argument(py, &format!("the array for {:?} is read-only", port.name)));
        }
        if in_place.meets(&array, dtype) {
            let message = format!("the array for {:?} shares memory with an input or another output", port.name);
            return Err(bad_argument(py, &message));
        }
        in_place.add(&array, dtype);
        targets.push(Target { place, array, dtype });
    }
    Ok(targets)
}

/// Sees `value` as an array that is used in place, of the dtype and shape that `port` has.
pub fn plain<'py>(port: &Port, value: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyUntypedArray>, Dtype)> {
    let Some(array) = array::cast(value)? else {
        return Err(wrong(port, &class(value)));
    };
    let dtype = array::dtype(array)?.filter(|&dtype| port.dtype == Some(dtype));
    let dtype = dtype.ok_or_else(|| wrong(port, &shown(array)))?;
    if dtype == Dtype::Str {
        let message =
            format!("{:?} is of strings, which have no memory of a fixed size to be used in place", port.name);
        return Err(PyTypeError::new_err(message));
    }
    if !array::is_plain(array) {
        let message = format!("the array for {:?} is not C-contiguous, aligned and in native byte order", port.name);
        return Err(PyTypeError::new_err(message));
    }
    let sides = array::dimensions(array);
    if !port.takes(&sides) {
        let message = format!("{:?} is of shape {}, not {sides:?}", port.name, show_shape(&port.shape));
        return Err(mismatch(value.py(), &Error::new(Kind::ModelMismatch, message, "")));
    }
    Ok((array.clone(), dtype))
}
