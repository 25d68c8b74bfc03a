//! A variable that native code sees for a while.
//!
//! `setenv` and Python's `os.putenv`, which calls it, move and free the list of variables under threads that are reading
//! it: `getenv` takes no lock. Here the list is copied, with the variable in front, and the pointer to it exchanged. Who
//! is reading the old list reads on: it is not changed, and no list made here is ever freed.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// A list of variables, whose last entry is null.
type List = *mut *mut c_char;

unsafe extern "C" {
    #[cfg(not(target_os = "macos"))]
    static mut environ: List;
    #[cfg(target_os = "macos")]
    fn _NSGetEnviron() -> *mut List;
    fn unsetenv(name: *const c_char) -> c_int;
}

/// Makes the call while `getenv` finds `entry`, `NAME=VALUE`, whatever was there before.
pub fn with_variable<R>(entry: &'static CStr, name: &CStr, call: impl FnOnce() -> R) -> R {
    let place = place();
    let list = Box::leak(copy_with(entry, place.load(Ordering::Acquire)).into_boxed_slice());
    let with: List = list.as_mut_ptr();
    place.store(with, Ordering::Release);
    let made = call();
    // the same list from its second entry on, unless another list was made of it meanwhile
    let without = with.wrapping_add(1);
    if place.compare_exchange(with, without, Ordering::AcqRel, Ordering::Acquire).is_err() {
        // SAFETY: `name` ends with NUL. This moves entries within the list: a reader may miss one, but reads no freed memory.
        unsafe { unsetenv(name.as_ptr()) };
    }
    made
}

fn place() -> &'static AtomicPtr<*mut c_char> {
    #[cfg(not(target_os = "macos"))]
    let place = &raw mut environ;
    // SAFETY: the function takes nothing and returns the address of a static variable.
    #[cfg(target_os = "macos")]
    let place = unsafe { _NSGetEnviron() };
    // SAFETY: the C library's variable is aligned, and lives as long as the process. The library itself reads and writes it
    // by single loads and stores.
    unsafe { AtomicPtr::from_ptr(place) }
}

fn copy_with(entry: &'static CStr, old: List) -> Vec<*mut c_char> {
    let mut list = vec![entry.as_ptr().cast_mut()];
    let mut next = old;
    // SAFETY: a list ends with null, and there may be none. As with `getenv`, nobody may free it meanwhile.
    while let Some(&variable) = unsafe { next.as_ref() }.filter(|variable| !variable.is_null()) {
        list.push(variable);
        next = next.wrapping_add(1);
    }
    list.push(ptr::null_mut());
    list
}
