//! ONNX Runtime's values: tensors over this program's memory, and outputs of models.
//!
//! Unlike the types of `ort`, these make fewer ONNX Runtime calls per run, and allow many threads to call one session.

#![allow(unsafe_code)]

mod view;

use std::ffi::{c_char, c_void};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

use ort::memory::Allocator;
use ort::ortsys;
use ort::sys::{ONNXType, OrtAllocator, OrtValue};
use ort::value::DynValue;
use smallvec::SmallVec;

use crate::dtype::Dtype;
use crate::error::{Error, Kind};
use crate::handles::{allocator, cpu_memory};
use crate::status::check;

pub use view::TensorView;

/// Dimensions of a tensor, as ONNX Runtime counts them.
pub type Dimensions = SmallVec<[i64; 6]>;

/// An input or output of a model. `'a` is the lifetime of the underlying memory.
///
/// Values are immutable, so threads can share them.
#[repr(transparent)]
#[derive(Debug)]
pub struct Value<'a> {
    ptr: NonNull<OrtValue>,
    memory: PhantomData<&'a [u8]>,
}

// SAFETY: an OrtValue is a reference-counted handle that is not tied to a thread (onnxruntime_c_api.h).
unsafe impl Send for Value<'_> {}
// SAFETY: all methods take `&self` and only read; ONNX Runtime also reads the values of concurrent calls without locks.
unsafe impl Sync for Value<'_> {}

impl Drop for Value<'_> {
    fn drop(&mut self) {
        // SAFETY: this is the only owner of the handle, which is not used again.
        ortsys![unsafe ReleaseValue(self.ptr.as_ptr())];
    }
}

/// The form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Form {
    /// A tensor of numbers or strings.
    Tensor,
    /// A list of values.
    Sequence,
    /// Two tensors: keys and values.
    Map,
    /// An empty optional.
    Nothing,
    /// A value that this crate does not support.
    Other,
}

impl<'a> Value<'a> {
    /// Creates a tensor over `bytes`, without a copy. `shape` determines the number of elements.
    ///
    /// # Errors
    ///
    /// `internal` if the length of `bytes` does not match, its address is not a multiple of [`Dtype::alignment`], it
    /// contains values other than 0 and 1 for `bool`, or `dtype` is strings.
    pub fn over(dtype: Dtype, shape: &[usize], bytes: &'a [u8]) -> Result<Self, Error> {
        let count = shape.iter().try_fold(dtype.size(), |count, &dim| count.checked_mul(dim));
        let unfit = |bytes: String| {
            let message = format!("{bytes} are not {} of shape {shape:?}", dtype.name());
            Err(Error::new(Kind::Internal, message, "use a Buffer, which is aligned for every dtype"))
        };
        if dtype == Dtype::Str || count != Some(bytes.len()) {
            return unfit(format!("{} bytes", bytes.len()));
        }
        let address = bytes.as_ptr().addr();
        if !bytes.is_empty() && !address.is_multiple_of(dtype.alignment()) {
            return unfit(format!("bytes at {address:#x}"));
        }
        if dtype == Dtype::Bool && bytes.iter().any(|&byte| byte > 1) {
            return unfit("bytes above 1".to_owned());
        }
        let dims: Dimensions = shape.iter().map(|&dim| i64::try_from(dim).unwrap_or(i64::MAX)).collect();
        // SAFETY: the bytes are valid for 'a, and as many as the shape needs; ONNX Runtime does not write to inputs.
        unsafe { Self::over_raw(dtype, &dims, bytes.as_ptr().cast_mut().cast(), bytes.len()) }
    }

    /// Creates a tensor over the `len` bytes at `data`, without a copy.
    ///
    /// # Errors
    ///
    /// `runtime-failed` if there are too few bytes for the shape.
    ///
    /// # Safety
    ///
    /// The bytes must be valid for `'a`, aligned to [`Dtype::alignment`], and hold elements of `dtype`, which must not
    /// be strings. While a run uses the value as an output, nothing else may read or write the bytes.
    pub unsafe fn over_raw(dtype: Dtype, shape: &[i64], data: *mut c_void, len: usize) -> Result<Self, Error> {
        let mut value: *mut OrtValue = ptr::null_mut();
        // SAFETY: the caller guarantees `data` and `len`; all other pointers are to locals.
        let status = unsafe {
            (ort::api().CreateTensorWithDataAsOrtValue)(
                cpu_memory()?,
                data,
                len,
                shape.as_ptr(),
                shape.len(),
                dtype.to_onnx(),
                &raw mut value,
            )
        };
        Self::made(status, value, "making an input tensor")
    }

    /// Creates a tensor with uninitialised elements in the memory of `allocator`.
    ///
    /// # Errors
    ///
    /// `runtime-failed`, for instance if there is not enough memory.
    ///
    /// # Safety
    ///
    /// `allocator` must outlive the value, and nothing may read the elements before they are written. Elements in
    /// device memory must not be read or written through this value.
    pub(crate) unsafe fn unfilled(allocator: *mut OrtAllocator, dtype: Dtype, shape: &[i64]) -> Result<Self, Error> {
        let mut value: *mut OrtValue = ptr::null_mut();
        let (dims, rank) = (shape.as_ptr(), shape.len());
        // SAFETY: all pointers are to locals, except `allocator`, which the caller guarantees.
        let status =
            unsafe { (ort::api().CreateTensorAsOrtValue)(allocator, dims, rank, dtype.to_onnx(), &raw mut value) };
        Self::made(status, value, "making a tensor")
    }

    /// Takes ownership of a value that ONNX Runtime created.
    ///
    /// # Errors
    ///
    /// `internal` if the pointer is null.
    ///
    /// # Safety
    ///
    /// Nothing else may release the value.
    pub(crate) unsafe fn take(value: *mut OrtValue) -> Result<Self, Error> {
        Self::made(ort::sys::OrtStatusPtr(ptr::null_mut()), value, "running the model")
    }

    /// Copies this tensor, the output `name`, into memory of its own, so it can outlive the inputs.
    ///
    /// # Errors
    ///
    /// `model-mismatch` when it is not a tensor; `runtime-failed` when there is not enough memory.
    pub fn detach(&self, name: &str) -> Result<Value<'static>, Error> {
        let own = self.tensor(name)?;
        if own.dtype == Dtype::Str {
            return Value::strings(&own.shape, &self.texts(own.dims().iter().product())?);
        }
        // SAFETY: this allocator lives as long as the process, and the elements are written below.
        let copy = unsafe { Value::unfilled(allocator()?, own.dtype, &own.shape) }?;
        let to = copy.tensor(name)?.data;
        // SAFETY: both tensors have the same type and shape, so the same length, and the copy is new.
        unsafe { ptr::copy_nonoverlapping(own.data.cast::<u8>(), to.cast(), own.len) };
        Ok(copy)
    }

    /// As [`Self::detach`], without a copy if this output does not lie on the memory of `inputs`.
    ///
    /// # Errors
    ///
    /// As [`Self::detach`].
    ///
    /// # Safety
    ///
    /// It must be an output of a run on exactly these inputs.
    pub(crate) unsafe fn apart_from(self, name: &str, inputs: &[Value<'_>]) -> Result<Value<'static>, Error> {
        let own = self.tensor(name)?;
        // Of what is not a tensor, ONNX Runtime does not say where it lies; strings are never the caller's.
        let is_apart = |input: &Value<'_>| input.tensor(name).is_ok_and(|input| !own.overlaps(&input));
        if own.len > 0 && !inputs.iter().all(is_apart) {
            return self.detach(name);
        }
        let ptr = ManuallyDrop::new(self).ptr;
        Ok(Value { ptr, memory: PhantomData })
    }

    /// Gives this tensor to `ort`, for a session that uses it as an initialiser.
    ///
    /// # Safety
    ///
    /// The value must be a tensor, and its memory must outlive what is returned, and every session that uses it.
    pub(crate) unsafe fn into_ort(self) -> DynValue {
        let handle = ManuallyDrop::new(self).ptr;
        // SAFETY: this was the only owner of the handle; `ort` does not use the allocator for the tensor's memory.
        unsafe { DynValue::from_ptr(handle, Some(&Allocator::default())) }
    }

    /// The handle.
    pub(crate) const fn as_ptr(&self) -> *mut OrtValue {
        self.ptr.as_ptr()
    }

    /// Creates a tensor of strings, which are copied.
    ///
    /// # Errors
    ///
    /// `runtime-failed`, for instance if the number of elements in `shape` differs.
    pub fn strings(shape: &[i64], texts: &[impl AsRef<str>]) -> Result<Self, Error> {
        let mut value: *mut OrtValue = ptr::null_mut();
        let (dims, rank) = (shape.as_ptr(), shape.len());
        // SAFETY: all pointers are to locals or to ONNX Runtime's own allocator.
        let status = unsafe {
            (ort::api().CreateTensorAsOrtValue)(allocator()?, dims, rank, Dtype::Str.to_onnx(), &raw mut value)
        };
        let made = Self::made(status, value, "making a tensor of strings")?;
        for (index, text) in texts.iter().enumerate() {
            made.fill_string(index, text.as_ref())?;
        }
        Ok(made)
    }

    fn fill_string(&self, index: usize, text: &str) -> Result<(), Error> {
        let mut buffer: *mut c_char = ptr::null_mut();
        let (value, len) = (self.ptr.as_ptr(), text.len());
        // SAFETY: the value is new and not shared yet; ONNX Runtime checks the index.
        let status = unsafe { (ort::api().GetResizedStringTensorElementBuffer)(value, index, len, &raw mut buffer) };
        check(status, "filling a tensor of strings")?;
        // SAFETY: ONNX Runtime has just allocated `len` bytes at `buffer`.
        unsafe { ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast(), len) };
        Ok(())
    }

    /// Creates a sequence of `items` of the same type.
    ///
    /// # Errors
    ///
    /// `runtime-failed`: ONNX Runtime's C API does not create empty sequences, or sequences of different types.
    pub fn sequence(items: &[Self]) -> Result<Self, Error> {
        Self::compound(items, ONNXType::ONNX_TYPE_SEQUENCE)
    }

    /// Creates a map from two tensors of equal length.
    ///
    /// # Errors
    ///
    /// `runtime-failed` for element types that ONNX Runtime's maps do not support.
    pub fn map(keys: Self, values: Self) -> Result<Self, Error> {
        Self::compound(&[keys, values], ONNXType::ONNX_TYPE_MAP)
    }

    fn compound(items: &[Self], form: ONNXType) -> Result<Self, Error> {
        let mut value: *mut OrtValue = ptr::null_mut();
        // SAFETY: a Value consists of one pointer to an OrtValue, so a slice of values has the required layout.
        let status = unsafe { (ort::api().CreateValue)(items.as_ptr().cast(), items.len(), form, &raw mut value) };
        Self::made(status, value, "making a sequence or map")
    }

    fn made(status: ort::sys::OrtStatusPtr, value: *mut OrtValue, what: &str) -> Result<Self, Error> {
        check(status, what)?;
        let ptr = NonNull::new(value).ok_or_else(|| Error::new(Kind::Internal, format!("{what} returned null"), ""))?;
        Ok(Self { ptr, memory: PhantomData })
    }

    /// The form of this value.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn form(&self) -> Result<Form, Error> {
        let (mut there, mut form) = (0, ONNXType::ONNX_TYPE_UNKNOWN);
        // SAFETY: reads the value and writes to a local.
        check(unsafe { (ort::api().HasValue)(self.ptr.as_ptr(), &raw mut there) }, "reading an output")?;
        if there == 0 {
            return Ok(Form::Nothing);
        }
        // SAFETY: reads the value and writes to a local.
        check(unsafe { (ort::api().GetValueType)(self.ptr.as_ptr(), &raw mut form) }, "reading an output")?;
        Ok(match form {
            ONNXType::ONNX_TYPE_TENSOR => Form::Tensor,
            ONNXType::ONNX_TYPE_SEQUENCE => Form::Sequence,
            ONNXType::ONNX_TYPE_MAP => Form::Map,
            _ => Form::Other,
        })
    }

    /// Reads the tensor in this value; messages refer to it by `name`.
    ///
    /// # Errors
    ///
    /// `model-mismatch` if the value is not a tensor, or has an unsupported element type.
    pub fn tensor(&self, name: &str) -> Result<TensorView<'_>, Error> {
        let value = self.ptr.as_ptr();
        let mut info = ptr::null_mut();
        // SAFETY: reads the value; `info` is released below.
        let status = unsafe { (ort::api().GetTensorTypeAndShape)(value, &raw mut info) };
        check(status, "reading a tensor").map_err(|_| unread(name, "not a tensor"))?;
        let described = describe(info);
        // SAFETY: this function owns `info`, and does not use it again.
        ortsys![unsafe ReleaseTensorTypeAndShapeInfo(info)];
        let (element, shape) = described?;
        let dtype = Dtype::from_onnx(element).ok_or_else(|| unread(name, &format!("a tensor of {element:?}")))?;
        let count: usize = shape.iter().map(|&dim| usize::try_from(dim).unwrap_or_default()).product();
        let mut data = ptr::null_mut();
        if dtype != Dtype::Str {
            // SAFETY: the value is a numeric tensor; the memory at `data` lives as long as the value.
            check(unsafe { (ort::api().GetTensorMutableData)(value, &raw mut data) }, "reading a tensor")?;
        }
        let len = if data.is_null() { 0 } else { count * dtype.size() };
        Ok(TensorView { dtype, shape, data, len, value: PhantomData })
    }

    /// Copies the strings of a tensor of strings, in C order.
    ///
    /// # Errors
    ///
    /// `runtime-failed` if the value is not a tensor of strings.
    pub fn texts(&self, count: usize) -> Result<Vec<String>, Error> {
        let (value, mut len) = (self.ptr.as_ptr(), 0);
        // SAFETY: reads the value and writes to a local.
        check(unsafe { (ort::api().GetStringTensorDataLength)(value, &raw mut len) }, "reading strings")?;
        let (mut bytes, mut starts) = (vec![0_u8; len], vec![0_usize; count]);
        let (data, offsets) = (bytes.as_mut_ptr().cast(), starts.as_mut_ptr());
        // SAFETY: both buffers have the lengths that are passed with them.
        let status = unsafe { (ort::api().GetStringTensorContent)(value, data, len, offsets, count) };
        check(status, "reading strings")?;
        let ends = starts.iter().skip(1).copied().chain([len]);
        let text = |(&start, end): (&usize, usize)| String::from_utf8_lossy(&bytes[start..end]).into_owned();
        Ok(starts.iter().zip(ends).map(text).collect())
    }

    /// The items of a sequence, or the keys and values of a map.
    ///
    /// # Errors
    ///
    /// `runtime-failed` if the value is neither.
    pub fn items(&self) -> Result<Vec<Value<'static>>, Error> {
        let mut count = 0;
        // SAFETY: reads the value and writes to a local.
        check(unsafe { (ort::api().GetValueCount)(self.ptr.as_ptr(), &raw mut count) }, "reading a sequence")?;
        (0..i32::try_from(count).unwrap_or(i32::MAX)).map(|index| self.item(index)).collect()
    }

    fn item(&self, index: i32) -> Result<Value<'static>, Error> {
        let mut item: *mut OrtValue = ptr::null_mut();
        // SAFETY: reads the value; the item is an independent copy.
        let status = unsafe { (ort::api().GetValue)(self.ptr.as_ptr(), index, allocator()?, &raw mut item) };
        Value::made(status, item, "reading a sequence")
    }
}

/// Element type and dimensions in `info`.
fn describe(
    info: *mut ort::sys::OrtTensorTypeAndShapeInfo,
) -> Result<(ort::sys::ONNXTensorElementDataType, Dimensions), Error> {
    let mut element = ort::sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
    let mut rank = 0;
    // SAFETY: reads `info` and writes to a local.
    check(unsafe { (ort::api().GetTensorElementType)(info, &raw mut element) }, "reading a tensor")?;
    // SAFETY: as above.
    check(unsafe { (ort::api().GetDimensionsCount)(info, &raw mut rank) }, "reading a tensor")?;
    let mut shape: Dimensions = SmallVec::from_elem(0, rank);
    // SAFETY: `shape` has room for `rank` dimensions.
    check(unsafe { (ort::api().GetDimensions)(info, shape.as_mut_ptr(), rank) }, "reading a tensor")?;
    Ok((element, shape))
}

fn unread(name: &str, what: &str) -> Error {
    let message = format!("{name:?} is {what}, which this program does not read");
    Error::new(Kind::ModelMismatch, message, "use a model whose inputs and outputs are tensors of numbers")
}
