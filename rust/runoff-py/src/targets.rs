//! Arrays that a caller gives to be written into.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use runoff_session::{Dtype, Error, Kind, Session, ValueInfo, show_shape};

use crate::array;
use crate::errors::{bad_argument, mismatch};
use crate::feeds::{Few, class, items, shown, text, twice, wrong};
use crate::held::{Held, InPlace};

/// An array for one output.
pub struct Target<'py> {
    /// Output of the session.
    pub place: usize,
    pub held: Held<'py>,
}

/// Reads `outputs`, a mapping: each fits its output, and shares no memory with another or with what is `in_place`.
pub fn read<'py>(session: &Session, outputs: &Bound<'py, PyAny>, mut in_place: InPlace) -> PyResult<Few<Target<'py>>> {
    let py = outputs.py();
    let mut targets: Few<Target<'py>> = Few::new();
    for (name, value) in items(outputs, "outputs")? {
        let place = session.output(text(&name)?).map_err(|error| mismatch(py, &error))?;
        let info = &session.outputs()[place];
        if session.input(&info.name).is_ok() {
            let message =
                format!("{:?} is an input that the model passes on: ONNX Runtime does not write it", info.name);
            return Err(bad_argument(py, &message));
        }
        if targets.iter().any(|target| target.place == place) {
            return Err(twice(&name));
        }
        let held = plain(info, &value)?;
        if !held.view.is_writable {
            return Err(bad_argument(py, &format!("the array for {:?} is read-only", info.name)));
        }
        if in_place.meets(&held.view) {
            let message = format!("the array for {:?} shares memory with an input or another output", info.name);
            return Err(bad_argument(py, &message));
        }
        in_place.add(&held.view);
        targets.push(Target { place, held });
    }
    Ok(targets)
}

/// Holds `value`, an array that is used in place, of the dtype and shape that `info` has.
pub fn plain<'py>(info: &ValueInfo, value: &Bound<'py, PyAny>) -> PyResult<Held<'py>> {
    let Some(array) = array::cast(value)? else {
        return Err(wrong(info, &class(value)));
    };
    let (dtype, held) = Held::of(array)?;
    if dtype.is_none() || info.dtype != dtype {
        return Err(wrong(info, &shown(array)));
    }
    if dtype == Some(Dtype::Str) {
        let message =
            format!("{:?} is of strings, which have no memory of a fixed size to be used in place", info.name);
        return Err(PyTypeError::new_err(message));
    }
    let held = held.ok_or_else(|| {
        let message = format!("the array for {:?} is not C-contiguous, aligned and in native byte order", info.name);
        PyTypeError::new_err(message)
    })?;
    let dims = &held.view.dims;
    if !info.takes(dims) {
        let message = format!("{:?} is of shape {}, not {dims:?}", info.name, show_shape(&info.shape));
        return Err(mismatch(value.py(), &Error::new(Kind::ModelMismatch, message, "")));
    }
    Ok(held)
}
