//! Tensors that libraries pass to each other in place: `DLPack`'s structures (dlpack.h, the unversioned ones, which every
//! library reads).

#![allow(unsafe_code)]

use std::ffi::{CStr, c_void};
use std::ptr::{self, NonNull};

use crate::dtype::Dtype;
use crate::error::Error;
use crate::value::{Dimensions, Value};

/// Name of a Python capsule that holds a [`Managed`].
pub const NAME: &CStr = c"dltensor";
/// Its name after the tensor was taken out.
pub const USED: &CStr = c"used_dltensor";

/// `DLDevice`: where memory is.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// `DLDeviceType`.
    pub kind: i32,
    /// Which of several.
    pub index: i32,
}

impl Device {
    /// The process's own memory, `kDLCPU`.
    pub const HOST: Self = Self { kind: 1, index: 0 };

    /// The memory of an NVIDIA GPU, `kDLCUDA`.
    #[must_use]
    pub const fn cuda(index: i32) -> Self {
        Self { kind: 2, index }
    }
}

/// `DLDataType`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Element {
    code: u8,
    bits: u8,
    lanes: u16,
}

/// `DLDataTypeCode` of each element type.
const CODES: [(Dtype, u8); 15] = [
    (Dtype::Bool, 6),
    (Dtype::Bfloat16, 4),
    (Dtype::Float16, 2),
    (Dtype::Float32, 2),
    (Dtype::Float64, 2),
    (Dtype::Int8, 0),
    (Dtype::Int16, 0),
    (Dtype::Int32, 0),
    (Dtype::Int64, 0),
    (Dtype::Uint8, 1),
    (Dtype::Uint16, 1),
    (Dtype::Uint32, 1),
    (Dtype::Uint64, 1),
    (Dtype::Complex64, 5),
    (Dtype::Complex128, 5),
];

impl Element {
    fn of((dtype, code): (Dtype, u8)) -> Self {
        // at most 16 bytes
        Self { code, bits: u8::try_from(8 * dtype.size()).unwrap_or_default(), lanes: 1 }
    }
}

/// `DLTensor`.
#[repr(C)]
#[derive(Debug)]
struct Tensor {
    data: *mut c_void,
    device: Device,
    rank: i32,
    element: Element,
    dims: *mut i64,
    /// In elements; null for C order.
    strides: *mut i64,
    offset: u64,
}

/// `DLManagedTensor`: a tensor, and how it is given back.
#[repr(C)]
#[derive(Debug)]
pub struct Managed {
    tensor: Tensor,
    context: *mut c_void,
    delete: Option<unsafe extern "C" fn(*mut Self)>,
}

impl Managed {
    /// Gives a tensor back.
    ///
    /// # Safety
    ///
    /// Nobody may use it or give it back afterwards.
    pub unsafe fn give_back(this: NonNull<Self>) {
        // SAFETY: the tensor is there until it is given back, which the caller does only once.
        if let Some(delete) = unsafe { this.as_ref() }.delete {
            // SAFETY: as above.
            unsafe { delete(this.as_ptr()) };
        }
    }
}

/// A tensor of another library, which is given back when this is dropped. All about it was read once.
#[derive(Debug)]
pub struct Imported {
    managed: NonNull<Managed>,
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions.
    pub dims: Dimensions,
    data: *mut c_void,
    len: usize,
}

impl Drop for Imported {
    fn drop(&mut self) {
        // SAFETY: `of` made this the only one that gives it back.
        unsafe { Managed::give_back(self.managed) };
    }
}

impl Imported {
    /// Takes over a tensor that lies on `device` in C order, aligned, of a type that ONNX Runtime has; `None` for any
    /// other, which is left as it is.
    ///
    /// # Safety
    ///
    /// `managed` must be what `DLPack` says, and if this takes it over, nobody else may give it back.
    #[must_use]
    pub unsafe fn of(managed: NonNull<Managed>, device: Device) -> Option<Self> {
        // SAFETY: the caller answers for it.
        let Tensor { data, device: own, rank, element, dims, strides, offset } = unsafe { &managed.as_ref().tensor };
        let (dtype, _) = CODES.into_iter().find(|&code| Element::of(code) == *element && *own == device)?;
        let rank = usize::try_from(*rank).ok().filter(|&rank| rank == 0 || !dims.is_null())?;
        // SAFETY: there are as many dimensions as the tensor says.
        let dims: &[i64] = if rank == 0 { &[] } else { unsafe { std::slice::from_raw_parts(*dims, rank) } };
        let len = dims.iter().try_fold(dtype.size(), |len, &dim| len.checked_mul(usize::try_from(dim).ok()?))?;
        isize::try_from(len).ok()?;
        if rank > 0 && len > 0 && !strides.is_null() {
            // SAFETY: as above, where there are strides.
            let strides = unsafe { std::slice::from_raw_parts(*strides, rank) };
            let is_in_order = |(place, &stride): (usize, &i64)| {
                dims[place] == 1 || stride == dims[place + 1..].iter().product::<i64>()
            };
            strides.iter().enumerate().all(is_in_order).then_some(())?;
        }
        let data = if len == 0 {
            ptr::without_provenance_mut(64)
        } else {
            data.wrapping_byte_add(usize::try_from(*offset).ok()?)
        };
        let is_aligned = !data.is_null() && data.addr().is_multiple_of(dtype.alignment());
        is_aligned.then(|| Self { managed, dtype, dims: Dimensions::from_slice(dims), data, len })
    }

    /// Makes a value over the elements, which may be on a device: then they are only copied from there.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn value(&self) -> Result<Value<'_>, Error> {
        // SAFETY: the tensor has as many bytes as its dimensions need, aligned, until it is given back; `Buffers::copy_in`
        // alone is given this, and does not look at the elements.
        unsafe { Value::over_raw(self.dtype, &self.dims, self.data, self.len) }
    }
}

/// A tensor that another library may take over.
#[repr(C)]
struct Exported<T> {
    managed: Managed,
    dims: Dimensions,
    _owner: T,
}

/// Makes the structure of a tensor whose elements are at `data` on `device`; `None` for strings. Whoever gets it gives it
/// back, in any thread.
///
/// # Safety
///
/// As long as there is `owner`, the elements must be there, as many as `dims` needs.
pub unsafe fn export<T: Send + 'static>(
    (dtype, dims): (Dtype, &[i64]),
    data: *mut c_void,
    device: Device,
    owner: T,
) -> Option<NonNull<Managed>> {
    let element = CODES.into_iter().find(|(own, _)| *own == dtype).map(Element::of)?;
    let rank = i32::try_from(dims.len()).ok()?;
    let (none, strides) = (ptr::null_mut(), ptr::null_mut());
    let tensor = Tensor { data, device, rank, element, dims: none, strides, offset: 0 };
    let managed = Managed { tensor, context: ptr::null_mut(), delete: Some(delete::<T>) };
    let exported = Exported { managed, dims: Dimensions::from_slice(dims), _owner: owner };
    let exported = Box::into_raw(Box::new(exported));
    // SAFETY: this was just made, and nobody else knows it. The dimensions may be within it: they stay there from now on.
    unsafe { (*exported).managed.tensor.dims = (*exported).dims.as_mut_ptr() };
    NonNull::new(exported.cast())
}

/// # Safety
///
/// `managed` must be of [`export`], with the same `T`, and not be used again.
unsafe extern "C" fn delete<T>(managed: *mut Managed) {
    // SAFETY: the caller answers for it; the structure begins with what `managed` points to.
    drop(unsafe { Box::from_raw(managed.cast::<Exported<T>>()) });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A tensor of floats behind the first of `data`, and where it says that it is.
    fn tensor(data: &mut [f32], dims: &mut [i64]) -> (Managed, Device) {
        let (data, strides) = (data.as_mut_ptr().cast(), ptr::null_mut());
        let (device, element) = (Device::cuda(0), Element { code: 2, bits: 32, lanes: 1 });
        let rank = i32::try_from(dims.len()).expect("few");
        let tensor = Tensor { data, device, rank, element, dims: dims.as_mut_ptr(), strides, offset: 4 };
        (Managed { tensor, context: ptr::null_mut(), delete: None }, device)
    }

    fn is_taken(managed: &mut Managed, device: Device) -> bool {
        // SAFETY: the structure is whole, and is not given back, as it has nothing to do so.
        unsafe { Imported::of(NonNull::from(managed), device) }.is_some()
    }

    #[test]
    fn what_is_exported_is_imported_in_place_and_given_back_once() {
        let (owner, numbers) = (Arc::new(()), [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let data: *mut c_void = numbers.as_ptr().cast_mut().cast();
        // SAFETY: the numbers outlive all of this; the first look leaves the tensor as it is.
        let imported = unsafe {
            let managed = export((Dtype::Float32, &[2, 3]), data, Device::HOST, owner.clone()).expect("a tensor");
            assert!(Imported::of(managed, Device::cuda(0)).is_none());
            Imported::of(managed, Device::HOST).expect("a tensor")
        };
        assert_eq!((imported.dtype, &*imported.dims), (Dtype::Float32, &[2, 3][..]));
        assert_eq!((imported.data.addr(), imported.len), (data.addr(), 24));
        assert_eq!(Arc::strong_count(&owner), 2);
        drop(imported);
        assert_eq!(Arc::strong_count(&owner), 1);
    }

    #[test]
    fn only_what_lies_as_onnx_runtime_needs_it_is_taken() {
        let (mut data, mut dims) = ([0.0_f32; 8], [2, 1, 3]);
        let (mut managed, device) = tensor(&mut data, &mut dims);
        assert!(is_taken(&mut managed, device));
        for other in [Device::HOST, Device::cuda(1)] {
            assert!(!is_taken(&mut managed, other));
        }
        for (strides, taken) in [([3, 3, 1], true), ([3, 99, 1], true), ([1, 1, 2], false), ([3, 3, -1], false)] {
            let mut strides = strides;
            managed.tensor.strides = strides.as_mut_ptr();
            assert_eq!(is_taken(&mut managed, device), taken, "{strides:?}");
        }
        managed.tensor.strides = ptr::null_mut();
        managed.tensor.offset = 2;
        assert!(!is_taken(&mut managed, device), "not aligned");
        managed.tensor.offset = 0;
        for (code, bits, lanes) in [(2, 32, 4), (2, 8, 1), (3, 64, 1)] {
            managed.tensor.element = Element { code, bits, lanes };
            assert!(!is_taken(&mut managed, device), "{code} {bits} {lanes}");
        }
        for (mut dims, taken) in [([2, -1], false), ([i64::MAX, 4], false), ([0, 3], true)] {
            let (mut managed, device) = tensor(&mut data, &mut dims);
            // of no elements, strides mean nothing
            managed.tensor.strides = if taken { managed.tensor.dims } else { ptr::null_mut() };
            assert_eq!(is_taken(&mut managed, device), taken, "{dims:?}");
        }
    }
}
