//! ONNX Runtime objects that are created once and live as long as the process.

#![allow(unsafe_code)]

use std::ptr::{self, NonNull};
use std::sync::{Mutex, OnceLock, PoisonError};

use ort::sys::{OrtAllocator, OrtAllocatorType, OrtMemType, OrtMemoryInfo};

use crate::error::{Error, Kind};
use crate::status::check;

/// A pointer to an object that is created once and never freed.
struct Forever<T>(NonNull<T>);
// SAFETY: the objects below are constant, and ONNX Runtime allows all threads to use them.
unsafe impl<T> Send for Forever<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Forever<T> {}

fn forever<T>(
    cell: &OnceLock<Forever<T>>,
    make: impl FnOnce(*mut *mut T) -> ort::sys::OrtStatusPtr,
) -> Result<*mut T, Error> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    if let Some(made) = cell.get() {
        return Ok(made.0.as_ptr());
    }
    // Without the lock, two concurrent first calls would create two objects and leak one.
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(made) = cell.get() {
        return Ok(made.0.as_ptr());
    }
    let mut pointer = ptr::null_mut();
    check(make(&raw mut pointer), "describing memory")?;
    let found = NonNull::new(pointer).ok_or_else(|| Error::new(Kind::Internal, "ONNX Runtime returned null", ""))?;
    Ok(cell.get_or_init(|| Forever(found)).0.as_ptr())
}

/// Description of host memory.
pub fn cpu_memory() -> Result<*mut OrtMemoryInfo, Error> {
    static CPU: OnceLock<Forever<OrtMemoryInfo>> = OnceLock::new();
    let (kind, place) = (OrtAllocatorType::OrtDeviceAllocator, OrtMemType::OrtMemTypeDefault);
    // SAFETY: writes to a local of `forever`.
    forever(&CPU, |made| unsafe { (ort::api().CreateCpuMemoryInfo)(kind, place, made) })
}

/// ONNX Runtime's own allocator of host memory, which lives as long as the process.
pub fn allocator() -> Result<*mut OrtAllocator, Error> {
    static DEFAULT: OnceLock<Forever<OrtAllocator>> = OnceLock::new();
    // SAFETY: writes to a local of `forever`; this allocator belongs to ONNX Runtime and is never freed.
    forever(&DEFAULT, |made| unsafe { (ort::api().GetAllocatorWithDefaultOptions)(made) })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn threads_that_come_first_at_once_get_the_same() {
        static NUMBER: u8 = 7;
        let (cell, count) = (OnceLock::new(), AtomicUsize::new(0));
        let get = || {
            let make = |made: *mut *mut u8| {
                count.fetch_add(1, Ordering::Relaxed);
                // SAFETY: `forever` passes the address of a local.
                unsafe { *made = (&raw const NUMBER).cast_mut() };
                ort::sys::OrtStatusPtr(ptr::null_mut())
            };
            forever(&cell, make).expect("a pointer").addr()
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(get)).collect();
            for thread in threads {
                assert_eq!(thread.join().expect("no panic"), (&raw const NUMBER).addr());
            }
        });
        assert_eq!(count.into_inner(), 1);
        let nothing = forever(&OnceLock::<Forever<u8>>::new(), |_| ort::sys::OrtStatusPtr(ptr::null_mut()));
        assert!(nothing.is_err());
    }
}
