//! Copies between host and device with the CUDA runtime.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

use libloading::Library;

use crate::error::{Error, Kind, loader_words};

/// Direction of a copy: `cudaMemcpyDefault`, from where the address says, and `cudaMemcpyDeviceToHost` of
/// `cudaMemcpyKind`.
const TO_DEVICE: c_int = 4;
const TO_HOST: c_int = 2;

type Memcpy = unsafe extern "C" fn(*mut c_void, *const c_void, usize, c_int) -> c_int;
type Synchronize = unsafe extern "C" fn(*mut c_void) -> c_int;
type Explain = unsafe extern "C" fn(c_int) -> *const c_char;

/// Functions of the CUDA runtime, which stays loaded.
#[derive(Debug, Clone, Copy)]
pub struct Copies {
    memcpy: Memcpy,
    synchronize: Synchronize,
    explain: Explain,
}

impl Copies {
    /// Finds the functions in `library`.
    ///
    /// # Errors
    ///
    /// The reason, if a function is missing.
    pub(super) fn of(library: Library) -> Result<Self, String> {
        // SAFETY: these are the signatures of the CUDA runtime API (cuda_runtime_api.h).
        let found = unsafe {
            let memcpy = library.get::<Memcpy>(b"cudaMemcpy").map(|found| *found);
            let synchronize = library.get::<Synchronize>(b"cudaStreamSynchronize").map(|found| *found);
            let explain = library.get::<Explain>(b"cudaGetErrorString").map(|found| *found);
            memcpy.and_then(|memcpy| Ok(Self { memcpy, synchronize: synchronize?, explain: explain? }))
        };
        // The functions are used until the process exits.
        std::mem::forget(library);
        found.map_err(|error| format!("function missing in the CUDA runtime: {}", loader_words(&error)))
    }

    /// Copies `len` bytes from the host or the device to the device. The copy may still be in progress when this returns:
    /// see [`Self::finish`].
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    ///
    /// # Safety
    ///
    /// `from` on either and `to` on the device must be valid for `len` bytes until the copy is done, and nothing else may
    /// use the bytes at `to` until then.
    pub unsafe fn to_device(self, from: *const c_void, to: *mut c_void, len: usize) -> Result<(), Error> {
        // SAFETY: the caller guarantees that both pointers are valid.
        self.check("copying to the GPU", unsafe { (self.memcpy)(to, from, len, TO_DEVICE) })
    }

    /// Copies `len` bytes from the device; the copy is done when this returns.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    ///
    /// # Safety
    ///
    /// `from` on the device and `to` on the host must be valid for `len` bytes, and nothing else may use the bytes at
    /// `to` during the call.
    pub unsafe fn to_host(self, from: *const c_void, to: *mut c_void, len: usize) -> Result<(), Error> {
        // SAFETY: the caller guarantees that both pointers are valid.
        self.check("copying from the GPU", unsafe { (self.memcpy)(to, from, len, TO_HOST) })
    }

    /// Waits until all copies are done. They run in CUDA's default stream, which sessions do not use.
    ///
    /// # Errors
    ///
    /// `runtime-failed`, also for earlier asynchronous failures.
    pub fn finish(&self) -> Result<(), Error> {
        // SAFETY: null is the default stream, which always exists.
        self.check("waiting for copies", unsafe { (self.synchronize)(ptr::null_mut()) })
    }

    fn check(&self, what: &str, code: c_int) -> Result<(), Error> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: the function returns a constant string for every code.
        let text = unsafe { CStr::from_ptr((self.explain)(code)) }.to_string_lossy();
        let message = format!("CUDA failed {what}: {text} (error {code})");
        Err(Error::new(Kind::RuntimeFailed, message, "check the driver: nvidia-smi, dmesg"))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::cuda::libraries::tests::compiled;

    /// A fake CUDA runtime whose device is the host. Copies to the device run only on a wait; copies from null fail.
    const LATE: &str = "#include <string.h>
        static struct { void *to; const void *from; size_t len; } late[8]; static int count;
        int cudaMemcpy(void *to, const void *from, size_t len, int kind) {
            if (!from || count == 8) return 1;
            if (kind == 2) memcpy(to, from, len);
            if (kind == 4) { late[count].to = to; late[count].from = from; late[count++].len = len; }
            return kind == 4 || kind == 2 ? 0 : 21; }
        int cudaStreamSynchronize(void *stream) {
            while (!stream && count) { count--; memcpy(late[count].to, late[count].from, late[count].len); }
            return stream ? 400 : 0; }
        const char *cudaGetErrorString(int code) { return code == 1 ? \"invalid argument\" : \"?\"; }";

    pub(crate) fn late() -> Copies {
        let folder = tempfile::tempdir().expect("a folder");
        let path = compiled(folder.path(), "libcudart.so.13", LATE);
        // SAFETY: this library was just compiled.
        Copies::of(unsafe { Library::new(path) }.expect("a library")).expect("its functions")
    }

    #[test]
    fn a_copy_to_the_device_is_over_when_it_was_waited_for() {
        let (copies, from, mut there, mut back) = (late(), [1_u8, 2, 3], [0_u8; 3], [0_u8; 3]);
        // SAFETY: all arrays have three bytes.
        unsafe { copies.to_device(from.as_ptr().cast(), there.as_mut_ptr().cast(), 3) }.expect("a copy");
        copies.finish().expect("its end");
        assert_eq!(there, from);
        // SAFETY: as above.
        unsafe { copies.to_host(there.as_ptr().cast(), back.as_mut_ptr().cast(), 3) }.expect("a copy");
        assert_eq!(back, from);
    }

    #[test]
    fn a_failure_is_told_in_the_words_of_the_run_time() {
        // SAFETY: the fake runtime above rejects null before it reads.
        let error = unsafe { late().to_device(ptr::null(), ptr::null_mut(), 0) }.expect_err("no source");
        assert_eq!(error.kind, Kind::RuntimeFailed);
        assert_eq!(error.message, "CUDA failed copying to the GPU: invalid argument (error 1)");
    }
}
