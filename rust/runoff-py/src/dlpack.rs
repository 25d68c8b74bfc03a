//! Tensors that are passed on in place, by DLPack's protocol for Python.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr::NonNull;

use pyo3::exceptions::PyBufferError;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict, PyTuple};
use pyo3::{ffi, intern};
use runoff_session::dlpack::{Device, Imported, Managed, NAME, USED, export};
use runoff_session::{Dimensions, Dtype, Error, Session, Value, cuda};

use crate::on_device::DeviceBinding;

/// CUDA's default stream, in which inputs are copied: a library makes its tensor wait for what computes it.
const STREAM: i32 = 1;

/// Takes over a tensor in `memory`; `None` for anything else, or one that lies there otherwise than ONNX Runtime needs it.
pub fn import(value: &Bound<'_, PyAny>, memory: Device) -> PyResult<Option<Imported>> {
    let py = value.py();
    if !value.hasattr(intern!(py, "__dlpack_device__"))? {
        return Ok(None);
    }
    let (kind, index) = value.call_method0(intern!(py, "__dlpack_device__"))?.extract()?;
    let own = Device { kind, index };
    // another GPU has streams of its own
    if own != memory || own != Device::HOST && index != cuda::DEVICE {
        return Ok(None);
    }
    let named = PyDict::new(py);
    if own != Device::HOST {
        named.set_item("stream", STREAM)?;
    }
    let given = match value.call_method(intern!(py, "__dlpack__"), (), Some(&named)) {
        // as a read-only array's, which NumPy requests otherwise
        Err(error) if error.is_instance_of::<PyBufferError>(py) => return Ok(None),
        given => given?,
    };
    let Ok(capsule) = given.cast::<PyCapsule>() else { return Ok(None) };
    let Ok(pointer) = capsule.pointer_checked(Some(NAME)) else { return Ok(None) };
    // SAFETY: a capsule of this name holds a tensor, and gives it back unless it is renamed, which is done now.
    let imported = unsafe { Imported::of(pointer.cast::<Managed>(), memory) };
    if imported.is_some() {
        // SAFETY: the capsule is alive and the thread attached; the name is constant.
        unsafe { ffi::PyCapsule_SetName(capsule.as_ptr(), USED.as_ptr()) };
    }
    Ok(imported)
}

// The value lies in memory of the binding: fields are dropped in this order.
#[doc = stub!("DeviceTensor")]
#[pyclass(frozen, module = "runoff_ort")]
pub struct DeviceTensor {
    _value: Value<'static>,
    _binding: Py<DeviceBinding>,
    dtype: Dtype,
    dims: Dimensions,
    /// An address in `memory`.
    data: usize,
    memory: Device,
}

#[pymethods]
impl DeviceTensor {
    #[doc = stub!("DeviceTensor.dtype")]
    #[getter]
    const fn dtype(&self) -> &'static str {
        self.dtype.name()
    }

    #[doc = stub!("DeviceTensor.shape")]
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.dims)
    }

    #[doc = stub!("DeviceTensor.__dlpack_device__")]
    const fn __dlpack_device__(&self) -> (i32, i32) {
        (self.memory.kind, self.memory.index)
    }

    #[doc = stub!("DeviceTensor.__dlpack__")]
    #[pyo3(signature = (*, stream = None, max_version = None, dl_device = None, copy = None))]
    fn __dlpack__<'py>(
        slf: &Bound<'py, Self>,
        stream: Option<&Bound<'py, PyAny>>,
        max_version: Option<&Bound<'py, PyAny>>,
        dl_device: Option<(i32, i32)>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // no stream has to wait, as the tensor is computed; and every version reads this one
        let (_, _, this) = (stream, max_version, slf.get());
        if copy == Some(true) || dl_device.is_some_and(|device| device != this.__dlpack_device__()) {
            return Err(PyBufferError::new_err("the tensor is passed on where it is, not copied"));
        }
        let data = std::ptr::with_exposed_provenance_mut(this.data);
        // SAFETY: the owner keeps the value, and with it as many bytes as its dimensions need.
        let managed = unsafe { export((this.dtype, &this.dims), data, this.memory, Owner(Some(slf.clone().unbind()))) };
        let managed = managed.ok_or_else(|| PyBufferError::new_err("strings cannot be passed on"))?;
        // SAFETY: the structure is there until it is given back: by the capsule, or by whoever takes it out of that.
        unsafe { PyCapsule::new_with_pointer_and_destructor(slf.py(), managed.cast(), NAME, Some(give_back)) }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("DeviceTensor(dtype='{}', shape={})", self.dtype.name(), self.shape(py)?.repr()?))
    }
}

impl DeviceTensor {
    /// Shows the output `value`, at `place`, of `binding`.
    pub fn new(
        binding: &Bound<'_, DeviceBinding>,
        session: &Session,
        place: usize,
        value: Value<'static>,
    ) -> Result<Self, Error> {
        let view = value.tensor(&session.outputs()[place].name)?;
        let (dtype, dims, data) = (view.dtype, view.shape.clone(), view.data().expose_provenance());
        Ok(Self { _value: value, _binding: binding.clone().unbind(), dtype, dims, data, memory: session.memory() })
    }
}

/// Lets go of the tensor at once, in whatever thread: a reference that is dropped elsewhere waits for the next call.
struct Owner(Option<Py<DeviceTensor>>);

impl Drop for Owner {
    fn drop(&mut self) {
        let owner = self.0.take();
        // not while the interpreter ends
        Python::try_attach(|_| drop(owner));
    }
}

/// Gives the tensor in a capsule back, unless somebody has taken it out.
unsafe extern "C" fn give_back(capsule: *mut ffi::PyObject) {
    // SAFETY: Python calls this when the capsule goes; a pointer under this name is a tensor.
    unsafe {
        if ffi::PyCapsule_IsValid(capsule, NAME.as_ptr()) == 1 {
            let pointer: *mut c_void = ffi::PyCapsule_GetPointer(capsule, NAME.as_ptr());
            if let Some(managed) = NonNull::new(pointer.cast()) {
                Managed::give_back(managed);
            }
        }
    }
}
