//! What a tensor is, and where its elements are.

use std::ffi::c_void;
use std::marker::PhantomData;

use super::Dimensions;
use crate::dtype::Dtype;

/// A tensor inside a [`Value`](super::Value).
#[derive(Debug)]
pub struct TensorView<'v> {
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions.
    pub shape: Dimensions,
    pub(super) data: *mut c_void,
    pub(super) len: usize,
    pub(super) value: PhantomData<&'v [u8]>,
}

impl<'v> TensorView<'v> {
    /// The elements in C order and native byte order. Empty for strings.
    #[must_use]
    pub fn bytes(&self) -> &'v [u8] {
        if self.len == 0 {
            return &[];
        }
        // SAFETY: ONNX Runtime keeps this many bytes there as long as the value exists, which outlives `'v`.
        unsafe { std::slice::from_raw_parts(self.data.cast(), self.len) }
    }

    /// The elements as float32; `None` if they have another type.
    #[must_use]
    pub fn floats(&self) -> Option<&'v [f32]> {
        let bytes = Some(self.bytes()).filter(|_| self.dtype == Dtype::Float32)?;
        if bytes.is_empty() { Some(&[]) } else { bytemuck::try_cast_slice(bytes).ok() }
    }

    /// Whether the tensors share memory.
    pub(super) fn overlaps(&self, other: &TensorView<'_>) -> bool {
        let (start, end) = (self.data.addr(), other.data.addr());
        start < end + other.len && end < start + self.len
    }

    /// Size of the elements in bytes, on any device.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Address of the elements.
    #[must_use]
    pub const fn data(&self) -> *mut c_void {
        self.data
    }

    /// Dimensions as unsigned numbers; those of an existing tensor are never negative.
    #[must_use]
    pub fn dims(&self) -> Vec<usize> {
        self.shape.iter().map(|&dim| usize::try_from(dim).unwrap_or_default()).collect()
    }
}
