//! The memory of an array, looked at once.
//!
//! Between the check of an array and its use Python code runs: that of another input, or of another thread while the
//! GIL is released. It may give the array another dtype, shape or strides. So everything is read here, in one go, and
//! nothing is read from the array again.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr::{self, NonNull};

use numpy::npyffi::{self, NPY_ARRAY_ALIGNED, NPY_ARRAY_C_CONTIGUOUS, NPY_ARRAY_WRITEABLE, PyArrayObject_fields};
use numpy::{PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyWeakrefReference;
use runoff_session::{Dimensions, Dtype, Error, Value};
use smallvec::SmallVec;

use crate::array;
use crate::errors::bad_argument;

/// The elements of an array that lie as ONNX Runtime wants them: in C order, aligned, in the machine's byte order.
pub struct View {
    pub dtype: Dtype,
    pub dims: Dimensions,
    pub is_writable: bool,
    data: *mut c_void,
    /// Bytes at `data`.
    len: usize,
}

/// An array and its elements, which stay where they are for as long.
///
/// That nothing writes to them while a model runs is the caller's duty, see the stub.
pub struct Held<'py> {
    pub view: View,
    pub array: Bound<'py, PyUntypedArray>,
    guard: Bound<'py, PyWeakrefReference>,
}

/// A held array, without a tie to a thread.
pub struct Kept {
    pub array: Py<PyUntypedArray>,
    _guard: Py<PyWeakrefReference>,
}

impl View {
    /// Looks at `array`. The dtype is `None` where ONNX Runtime has no tensors of it; the view is `None` too for strings,
    /// and where the elements lie otherwise.
    pub fn of(array: &Bound<'_, PyUntypedArray>) -> PyResult<(Option<Dtype>, Option<Self>)> {
        let descr = array.dtype();
        let Some(dtype) = array::dtype(&descr)? else { return Ok((None, None)) };
        let fields = fields(array);
        // SAFETY: the array is alive and the thread attached; from here on no Python code runs.
        let PyArrayObject_fields { data, nd, dimensions, descr: own, flags, .. } = unsafe { fields.read() };
        if own != descr.as_dtype_ptr() {
            return Err(bad_argument(array.py(), "an array got another dtype while it was read"));
        }
        let wanted = NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED;
        if dtype == Dtype::Str || flags & wanted != wanted || descr.is_native_byteorder() == Some(false) {
            return Ok((Some(dtype), None));
        }
        let rank = usize::try_from(nd).unwrap_or_default();
        // SAFETY: an array has as many dimensions as it says.
        let sides: &[isize] = if rank == 0 { &[] } else { unsafe { std::slice::from_raw_parts(dimensions, rank) } };
        let len = bytes_of(sides, dtype)
            .ok_or_else(|| bad_argument(array.py(), &format!("an array of shape {sides:?} has too many elements")))?;
        let dims = sides.iter().map(|&side| i64::try_from(side).unwrap_or(i64::MAX)).collect();
        let data = NonNull::new(data).map_or_else(|| ptr::without_provenance_mut(64), |data| data.as_ptr().cast());
        let is_writable = flags & NPY_ARRAY_WRITEABLE != 0;
        Ok((Some(dtype), Some(Self { dtype, dims, is_writable, data, len })))
    }

    /// The elements, as the machine stores them.
    ///
    /// # Safety
    ///
    /// The array must be held since it was looked at, and nothing may have run in between that moves its memory.
    pub unsafe fn bytes(&self) -> &[u8] {
        // SAFETY: a plain array holds as many bytes as its shape needs; the caller answers for the rest.
        unsafe { std::slice::from_raw_parts(self.data.cast(), self.len) }
    }
}

impl<'py> Held<'py> {
    /// Looks at `array` as [`View::of`] does, and holds it.
    pub fn of(array: &Bound<'py, PyUntypedArray>) -> PyResult<(Option<Dtype>, Option<Self>)> {
        let guard = guard(array)?;
        let (dtype, view) = View::of(array)?;
        Ok((dtype, view.map(|view| Self { view, array: array.clone(), guard })))
    }

    /// Makes a tensor over the elements.
    pub fn value(&self) -> Result<Value<'_>, Error> {
        // SAFETY: `self` keeps the array, and with it the memory.
        unsafe { self.lasting_value() }
    }

    /// Makes a tensor over the elements, for longer than this is borrowed.
    ///
    /// # Safety
    ///
    /// This, or what [`Self::unbind`] makes of it, must outlive the tensor.
    pub unsafe fn lasting_value<'a>(&self) -> Result<Value<'a>, Error> {
        let View { dtype, dims, data, len, .. } = &self.view;
        // SAFETY: a plain array holds as many bytes as its shape needs; the caller keeps it.
        unsafe { Value::over_raw(*dtype, dims, *data, *len) }
    }

    /// Holds the array in any thread.
    pub fn unbind(self) -> Kept {
        Kept { array: self.array.unbind(), _guard: self.guard.unbind() }
    }
}

/// Places of memory that a call reads or writes.
#[derive(Default)]
pub struct InPlace(SmallVec<[(usize, usize); 4]>);

impl InPlace {
    /// Notes the memory of `view`.
    pub fn add(&mut self, view: &View) {
        self.0.push((view.data.addr(), view.data.addr() + view.len));
    }

    /// Whether `view` has memory in common with one of those.
    pub fn meets(&self, view: &View) -> bool {
        self.overlaps(view.data.addr(), view.len)
    }

    /// Whether the `len` bytes at `start` do.
    pub fn overlaps(&self, start: usize, len: usize) -> bool {
        self.0.iter().any(|&(own, end)| start < end && own < start + len)
    }
}

/// Makes a weak reference to the array that owns the memory under `array`. While there is one, `ndarray.resize` refuses to
/// move that memory, with `refcheck=False` too; holding the array or a buffer of it does not stop that.
fn guard<'py>(array: &Bound<'py, PyUntypedArray>) -> PyResult<Bound<'py, PyWeakrefReference>> {
    let mut owner = array.clone();
    loop {
        // SAFETY: the array is alive and the thread attached.
        let base = unsafe { (*fields(&owner)).base };
        // SAFETY: as above: an array holds a reference to its base, which is null where it owns its memory.
        let base = unsafe { Bound::from_borrowed_ptr_or_opt(array.py(), base) };
        match base.and_then(|base| base.cast_into::<PyUntypedArray>().ok()) {
            Some(base) => owner = base,
            None => return PyWeakrefReference::new(&owner),
        }
    }
}

fn fields(array: &Bound<'_, PyUntypedArray>) -> *mut PyArrayObject_fields {
    // SAFETY: the array is alive and the thread attached; nothing is read yet.
    unsafe { npyffi::_PyArray_GET_ITEM_DATA(array.as_array_ptr()) }
}

/// Bytes of a plain array; `None` when an address space has not as many.
fn bytes_of(sides: &[isize], dtype: Dtype) -> Option<usize> {
    if sides.contains(&0) {
        return Some(0);
    }
    sides.iter().try_fold(dtype.size(), |len, &side| len.checked_mul(usize::try_from(side).ok()?))
}
