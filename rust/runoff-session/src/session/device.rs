//! The memory that holds the tensors of a run.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_void};
use std::ptr;

use crate::cuda::{self, Copies};
use crate::dlpack;
use crate::error::Error;

/// Memory that a session computes in.
#[derive(Debug, Clone, Copy)]
pub struct Device {
    /// ONNX Runtime's name of the memory.
    pub(super) name: &'static CStr,
    /// Index of the device.
    pub(super) index: c_int,
    /// Functions that copy to and from the host; `None` for host memory.
    pub(super) copies: Option<Copies>,
}

impl Device {
    /// Host memory.
    pub const HOST: Self = Self { name: c"Cpu", index: 0, copies: None };

    /// Memory of an NVIDIA GPU.
    #[must_use]
    pub const fn cuda(copies: Copies) -> Self {
        Self { name: c"Cuda", index: cuda::DEVICE, copies: Some(copies) }
    }

    /// The memory of another GPU; the host has only one.
    pub(super) const fn at(self, index: c_int) -> Self {
        if self.is_host() { self } else { Self { index, ..self } }
    }

    /// Whether this is host memory.
    #[must_use]
    pub const fn is_host(&self) -> bool {
        self.copies.is_none()
    }

    /// Description of the device; `None` for the host.
    #[must_use]
    pub fn describe(&self) -> Option<String> {
        self.copies.and_then(|_| cuda::describe(self.index))
    }

    /// What `DLPack` calls it.
    pub(super) const fn exchanged(self) -> dlpack::Device {
        if self.is_host() { dlpack::Device::HOST } else { dlpack::Device::cuda(self.index) }
    }

    /// Copies `len` bytes from the host or this device to this device; the copy is done when [`Self::finish`] returns.
    ///
    /// # Safety
    ///
    /// Both pointers must be valid for `len` bytes without overlap, and nothing else may use those at `to` until then.
    pub(super) unsafe fn copy_in(self, from: *const c_void, to: *mut c_void, len: usize) -> Result<(), Error> {
        match self.copies {
            // SAFETY: the caller guarantees that both pointers are valid.
            Some(copies) => unsafe { copies.to_device(from, to, len) },
            // SAFETY: as above.
            None => unsafe { copy(from, to, len) },
        }
    }

    /// Copies `len` bytes from this device to the host; the copy is done when this returns.
    ///
    /// # Safety
    ///
    /// Both pointers must be valid for `len` bytes without overlap, and nothing else may use those at `to` during the
    /// call.
    pub(super) unsafe fn copy_out(self, from: *const c_void, to: *mut c_void, len: usize) -> Result<(), Error> {
        match self.copies {
            // SAFETY: the caller guarantees that both pointers are valid.
            Some(copies) => unsafe { copies.to_host(from, to, len) },
            // SAFETY: as above.
            None => unsafe { copy(from, to, len) },
        }
    }

    /// Waits until copies to this memory are done.
    pub(super) fn finish(self) -> Result<(), Error> {
        self.copies.map_or(Ok(()), |copies| copies.finish())
    }
}

/// Copies within host memory, which does not fail.
///
/// # Safety
///
/// As for [`Device::copy_in`].
#[expect(clippy::unnecessary_wraps, reason = "as copies to a device, which may fail")]
unsafe fn copy(from: *const c_void, to: *mut c_void, len: usize) -> Result<(), Error> {
    if len > 0 {
        // SAFETY: the caller guarantees that both pointers are valid.
        unsafe { ptr::copy_nonoverlapping(from.cast::<u8>(), to.cast(), len) };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_copies_all_or_nothing() {
        let (from, mut to) = ([1_u8, 2, 3], [0_u8; 3]);
        let (source, target): (*const c_void, _) = (from.as_ptr().cast(), to.as_mut_ptr());
        // SAFETY: both arrays have three bytes; a copy of zero bytes does not use its pointers.
        unsafe {
            Device::HOST.copy_in(source, target.cast(), 2).expect("a copy");
            Device::HOST.copy_out(source.byte_add(2), target.add(2).cast(), 1).expect("a copy");
            Device::HOST.copy_in(ptr::null(), ptr::null_mut(), 0).expect("nothing");
        }
        Device::HOST.finish().expect("an end");
        assert_eq!(to, from);
    }
}
