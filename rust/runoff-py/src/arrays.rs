//! `NumPy` arrays to ONNX Runtime's tensors and back.

use numpy::{PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods};
use ort::session::SessionInputValue;
use ort::value::{DynValue, Tensor, TensorRef};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use runoff_core::protocol::TensorSpec;
use runoff_core::tensor::{Dtype, Element, RawTensor};
use runoff_core::{Error, with_element};

/// An array, borrowed from Python for one call.
pub trait Input {
    /// The same elements as a tensor: not copied when they are contiguous.
    fn value(&self) -> Result<SessionInputValue<'_>, Error>;
}

impl<T: Element + numpy::Element> Input for PyReadonlyArrayDyn<'_, T> {
    fn value(&self) -> Result<SessionInputValue<'_>, Error> {
        let shape = self.shape().to_vec();
        // `as_slice` alone would hand out Fortran-ordered elements too, in the wrong order.
        let in_c_order = self.as_slice().ok().filter(|_| self.is_c_contiguous());
        let value = if let Some(elements) = in_c_order {
            TensorRef::from_array_view((shape, elements)).map(SessionInputValue::from)
        } else {
            let elements: Vec<T> = self.as_array().iter().copied().collect();
            Tensor::from_array((shape, elements)).map(SessionInputValue::from)
        };
        value.map_err(|error| Error::runtime("making an input tensor", &error))
    }
}

/// Borrows `value`, which goes into the input `name` of a model with the inputs `specs`.
pub fn borrow<'py>(name: &str, value: &Bound<'py, PyAny>, specs: &[TensorSpec]) -> PyResult<Box<dyn Input + 'py>> {
    let spec = specs.iter().find(|spec| spec.name == name);
    let expected = spec.map_or_else(|| "a tensor".to_owned(), |spec| format!("a numpy.ndarray of {}", spec.dtype));
    let wrong = |given: String| PyTypeError::new_err(format!("input {name:?} takes {expected}, not {given}"));
    let array = value.cast::<PyUntypedArray>().map_err(|_| wrong(format!("{}", value.get_type())))?;
    let text = array.dtype().to_string();
    let dtype = Dtype::parse(&text).filter(|_| spec.is_none_or(|spec| spec.dtype == text));
    let dtype = dtype.ok_or_else(|| wrong(text))?;
    with_element!(dtype, T => {
        let array = array.cast::<PyArrayDyn<T>>()?;
        Ok(Box::new(array.try_readonly()?))
    })
}

/// An output that becomes an array once the GIL is held again.
pub type Output = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;

/// Copies the output `name` out of ONNX Runtime's memory, once.
pub fn take(name: &str, value: &DynValue) -> Result<Output, Error> {
    let dtype = RawTensor::dtype_of(value, name)?;
    with_element!(dtype, T => {
        let (shape, elements) =
            value.try_extract_tensor::<T>().map_err(|error| Error::runtime("reading an output", &error))?;
        let shape: Vec<usize> = shape.iter().map(|&side| usize::try_from(side).unwrap_or_default()).collect();
        let elements = elements.to_vec();
        Ok(Box::new(move |py: Python<'_>| {
            Ok(PyArray1::from_vec(py, elements).reshape(shape)?.into_any().unbind())
        }))
    })
}
