//! `NumPy` arrays as ONNX Runtime sees them, and its tensors as `NumPy` arrays.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::ptr;

use numpy::npyffi::{self, NPY_ARRAY_CARRAY, NPY_TYPES};
use numpy::{PY_ARRAY_API, PyArrayDescr, PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyImportError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyComplex, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use runoff_session::{Dimensions, Dtype, Value};
use smallvec::SmallVec;

use crate::errors::to_python;
use crate::held::InPlace;

/// Up to this many bytes, `NumPy`'s own memory is quicker than keeping ONNX Runtime's for an array.
pub const SMALL: usize = 4096;

/// Borrows `value` as an array, if it is one.
pub fn cast<'a, 'py>(value: &'a Bound<'py, PyAny>) -> PyResult<Option<&'a Bound<'py, PyUntypedArray>>> {
    import(value.py())?;
    Ok(value.cast().ok())
}

/// Imports `NumPy` on the first call: whoever only classifies image files does without it.
fn import(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static NUMPY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    NUMPY.get_or_try_init(py, || Ok(py.import("numpy")?.into_any().unbind())).map(|module| module.bind(py))
}

/// Calls a function of `NumPy`.
pub fn numpy<'py>(
    py: Python<'py>,
    function: &str,
    argument: &Bound<'py, PyAny>,
    named: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    import(py)?.getattr(function)?.call((argument,), named)
}

/// Element type; strings of all kinds are one. `None` for what ONNX Runtime has no tensors of.
pub fn dtype(descr: &Bound<'_, PyArrayDescr>) -> PyResult<Option<Dtype>> {
    Ok(Some(match (descr.kind(), descr.itemsize()) {
        (b'f', 4) => Dtype::Float32,
        (b'f', 8) => Dtype::Float64,
        (b'f', 2) => Dtype::Float16,
        (b'i', 8) => Dtype::Int64,
        (b'i', 4) => Dtype::Int32,
        (b'i', 2) => Dtype::Int16,
        (b'i', 1) => Dtype::Int8,
        (b'u', 8) => Dtype::Uint64,
        (b'u', 4) => Dtype::Uint32,
        (b'u', 2) => Dtype::Uint16,
        (b'u', 1) => Dtype::Uint8,
        (b'b', 1) => Dtype::Bool,
        (b'c', 8) => Dtype::Complex64,
        (b'c', 16) => Dtype::Complex128,
        (b'U' | b'O' | b'T', _) => Dtype::Str,
        (b'V', 2) if is_bfloat16(descr)? => Dtype::Bfloat16,
        _ => return Ok(None),
    }))
}

/// Whether two bytes are those of `ml_dtypes`, or of anything, as `NumPy` saves those.
fn is_bfloat16(descr: &Bound<'_, PyArrayDescr>) -> PyResult<bool> {
    let name = descr.getattr(intern!(descr.py(), "name"))?;
    Ok(name.eq("bfloat16")? || name.eq("void16")? && !descr.has_fields())
}

/// `NumPy`'s description of numbers of type `dtype`.
fn descr(py: Python<'_>, dtype: Dtype) -> PyResult<Bound<'_, PyArrayDescr>> {
    let number = match dtype {
        Dtype::Bool => NPY_TYPES::NPY_BOOL,
        Dtype::Float16 => NPY_TYPES::NPY_HALF,
        Dtype::Float32 => NPY_TYPES::NPY_FLOAT,
        Dtype::Float64 => NPY_TYPES::NPY_DOUBLE,
        Dtype::Complex64 => NPY_TYPES::NPY_CFLOAT,
        Dtype::Complex128 => NPY_TYPES::NPY_CDOUBLE,
        Dtype::Int8 => return Ok(numpy::dtype::<i8>(py)),
        Dtype::Int16 => return Ok(numpy::dtype::<i16>(py)),
        Dtype::Int32 => return Ok(numpy::dtype::<i32>(py)),
        Dtype::Int64 => return Ok(numpy::dtype::<i64>(py)),
        Dtype::Uint8 => return Ok(numpy::dtype::<u8>(py)),
        Dtype::Uint16 => return Ok(numpy::dtype::<u16>(py)),
        Dtype::Uint32 => return Ok(numpy::dtype::<u32>(py)),
        Dtype::Uint64 => return Ok(numpy::dtype::<u64>(py)),
        Dtype::Str => NPY_TYPES::NPY_OBJECT,
        Dtype::Bfloat16 => return bfloat16(py),
        other => return Err(PyTypeError::new_err(format!("{} is not one of NumPy's types", other.name()))),
    };
    // SAFETY: the number is one of NumPy's own types; the description is a new reference, or null after an error.
    unsafe {
        let descr = PY_ARRAY_API.PyArray_DescrFromType(py, number as c_int);
        Ok(Bound::from_owned_ptr_or_err(py, descr.cast())?.cast_into_unchecked())
    }
}

/// The description of `ml_dtypes`, or if that is not installed, of two bytes of anything.
fn bfloat16(py: Python<'_>) -> PyResult<Bound<'_, PyArrayDescr>> {
    static BFLOAT16: PyOnceLock<Py<PyArrayDescr>> = PyOnceLock::new();
    let import = || {
        let found = py.import("ml_dtypes").and_then(|module| module.getattr("bfloat16"));
        let found = found.or_else(|error| {
            if error.is_instance_of::<PyImportError>(py) { Ok(PyString::new(py, "V2").into_any()) } else { Err(error) }
        });
        PyArrayDescr::new(py, found?).map(Bound::unbind)
    };
    BFLOAT16.get_or_try_init(py, import).map(|descr| descr.bind(py).clone())
}

/// Copies the elements to a new array, where they lie as ONNX Runtime wants them.
pub fn to_plain<'py>(array: &Bound<'py, PyUntypedArray>) -> PyResult<Bound<'py, PyUntypedArray>> {
    let py = array.py();
    let named = PyDict::new(py);
    named.set_item("order", "C")?;
    if array.dtype().is_native_byteorder() == Some(false) {
        named.set_item("dtype", array.dtype().call_method1("newbyteorder", ("=",))?)?;
    }
    Ok(numpy(py, "array", array.as_any(), Some(&named))?.cast_into()?)
}

/// Makes an array of `dtype` from Python's numbers, strings, and lists of them; they lose nothing but precision.
pub fn from_python<'py>(value: &Bound<'py, PyAny>, dtype: Dtype) -> PyResult<Bound<'py, PyAny>> {
    let (py, module) = (value.py(), import(value.py())?);
    let wanted = descr(py, dtype)?;
    let named = PyDict::new(py);
    named.set_item("dtype", &wanted)?;
    let made = numpy(py, "array", value, Some(&named))?;
    let natural = if dtype == Dtype::Str { made.clone() } else { numpy(py, "array", value, None)? };
    let own = natural.getattr("dtype")?;
    let is_kept = if wanted.kind() == b'i' || wanted.kind() == b'u' {
        // a number may wrap around, a fraction go
        module.getattr("array_equal")?.call1((&made, &natural))?
    } else {
        module.getattr("can_cast")?.call1((&own, &wanted, "same_kind"))?
    };
    if is_kept.is_truthy()? || natural.getattr("size")?.eq(0)? {
        return Ok(made);
    }
    Err(PyTypeError::new_err(format!("{own} is not {}", dtype.name())))
}

/// Whether `value` is a number, a string, or a list of something.
pub fn is_pythons(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = value.py();
    Ok(value.is_instance_of::<PyList>()
        || value.is_instance_of::<PyTuple>()
        || value.is_instance_of::<PyFloat>()
        || value.is_instance_of::<PyInt>()
        || value.is_instance_of::<PyComplex>()
        || value.is_instance_of::<PyString>()
        || value.is_instance(&import(py)?.getattr("generic")?)?)
}

/// Dimensions, as ONNX Runtime counts them.
pub fn dimensions(array: &Bound<'_, PyUntypedArray>) -> Dimensions {
    array.shape().iter().map(|&dim| i64::try_from(dim).unwrap_or(i64::MAX)).collect()
}

/// Makes an array with a copy of these elements.
pub fn copy_of<'py>(
    py: Python<'py>,
    dtype: Dtype,
    shape: &[i64],
    bytes: &[u8],
) -> PyResult<Bound<'py, PyUntypedArray>> {
    // SAFETY: null requests new memory, as much as the shape needs.
    let array = unsafe { make(descr(py, dtype)?, shape, ptr::null_mut()) }?;
    // SAFETY: the array is alive, and the thread is attached to Python.
    let data = unsafe { (*npyffi::_PyArray_GET_ITEM_DATA(array.as_array_ptr())).data };
    assert_eq!(array.len() * dtype.size(), bytes.len(), "as many elements as the shape needs");
    if !bytes.is_empty() {
        // SAFETY: the array was just made with room for this many bytes, and nobody else knows it.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), data.cast(), bytes.len()) };
    }
    Ok(array)
}

/// Keeps ONNX Runtime's memory for the array that shows it.
#[pyclass(frozen, module = "runoff_ort")]
struct Memory {
    _value: Value<'static>,
}

/// Makes an array of a tensor of numbers: over the same memory, or a copy where that is small or not the tensor's own.
pub fn from_tensor<'py>(
    py: Python<'py>,
    value: Value<'static>,
    name: &str,
    in_place: &InPlace,
) -> PyResult<Bound<'py, PyAny>> {
    let view = value.tensor(name).map_err(|error| to_python(py, &error))?;
    let bytes = view.bytes();
    if bytes.len() <= SMALL || in_place.overlaps(bytes.as_ptr().addr(), bytes.len()) {
        return Ok(copy_of(py, view.dtype, &view.shape, bytes)?.into_any());
    }
    // SAFETY: the tensor keeps its memory, as much as its shape needs, and becomes the array's base below.
    let array = unsafe { make(descr(py, view.dtype)?, &view.shape, view.data()) }?;
    let base = Bound::new(py, Memory { _value: value })?;
    // SAFETY: the array was just made and has no base; the reference to the base is given away, also on failure.
    let failed = unsafe { PY_ARRAY_API.PyArray_SetBaseObject(py, array.as_array_ptr(), base.into_ptr()) };
    if failed == 0 { Ok(array.into_any()) } else { Err(PyErr::fetch(py)) }
}

/// Makes an array over `data`, or over new memory where that is null.
///
/// # Safety
///
/// `data` must be null, or hold what `descr` and `shape` say for as long as the array lives, and be written to by
/// nobody else.
unsafe fn make<'py>(
    descr: Bound<'py, PyArrayDescr>,
    shape: &[i64],
    data: *mut c_void,
) -> PyResult<Bound<'py, PyUntypedArray>> {
    let py = descr.py();
    let mut dims: SmallVec<[isize; 6]> = shape.iter().map(|&dim| isize::try_from(dim).unwrap_or(-1)).collect();
    let rank = c_int::try_from(dims.len()).unwrap_or(c_int::MAX);
    let flags = if data.is_null() { 0 } else { NPY_ARRAY_CARRAY };
    // SAFETY: `dims` has `rank` entries; the reference to the description is given away; the caller answers for `data`.
    unsafe {
        let class = npyffi::get_type_object(py, npyffi::NpyTypes::PyArray_Type);
        let (dims, descr) = (dims.as_mut_ptr(), descr.into_dtype_ptr());
        let none = ptr::null_mut();
        let array = PY_ARRAY_API.PyArray_NewFromDescr(py, class, descr, rank, dims, none, data, flags, none.cast());
        Ok(Bound::from_owned_ptr_or_err(py, array)?.cast_into_unchecked())
    }
}
