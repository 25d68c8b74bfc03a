//! Statistics of the arena that holds a session's memory on the CPU.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_void};
use std::{mem, ptr};

use ort::AsPointer;
use ort::sys::{OrtAllocator, OrtStatusPtr};

use crate::error::Error;
use crate::handles::cpu_memory;
use crate::runtime;
use crate::status::check;

/// Version of the API with the functions below; `ort` is built for an older one, which older libraries have too.
const VERSION: u32 = 23;
/// Places of functions in that API. They never change: new functions are appended.
const GET_KEY_VALUE: usize = 297;
const RELEASE_KEY_VALUE_PAIRS: usize = 300;
const ALLOCATOR_GET_STATS: usize = 319;

/// An arena of memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArenaStatistics {
    /// Memory in use: between two runs, mainly repacked weights.
    pub in_use_bytes: u64,
    /// Most memory in use so far.
    pub most_in_use_bytes: u64,
    /// Memory that the arena holds.
    pub reserved_bytes: u64,
}

/// Reads the statistics of the arena of `session`; `None` if it has none, or the library is too old.
pub fn statistics(session: &ort::session::Session) -> Result<Option<ArenaStatistics>, Error> {
    const WHAT: &str = "reading statistics of its memory";
    type GetStats = unsafe extern "system" fn(*const OrtAllocator, *mut *mut c_void) -> OrtStatusPtr;
    type GetValue = unsafe extern "system" fn(*const c_void, *const c_char) -> *const c_char;
    type Release = unsafe extern "system" fn(*mut c_void);
    let Some(api) = runtime::api(VERSION)? else { return Ok(None) };
    // SAFETY: the API of this version has functions of these types at these places (onnxruntime_c_api.h).
    let (get_stats, get_value, release) = unsafe {
        (
            mem::transmute::<*const (), GetStats>(*api.add(ALLOCATOR_GET_STATS)),
            mem::transmute::<*const (), GetValue>(*api.add(GET_KEY_VALUE)),
            mem::transmute::<*const (), Release>(*api.add(RELEASE_KEY_VALUE_PAIRS)),
        )
    };
    let (memory, mut allocator, mut pairs) = (cpu_memory()?, ptr::null_mut(), ptr::null_mut());
    // SAFETY: session and description are alive; writes to a local.
    check(unsafe { (ort::api().CreateAllocator)(session.ptr(), memory, &raw mut allocator) }, WHAT)?;
    // SAFETY: the allocator was just created; writes to a local.
    let read = check(unsafe { get_stats(allocator, &raw mut pairs) }, WHAT);
    let value = |key: &CStr| {
        // SAFETY: the pairs were just created, and the key is terminated by NUL.
        let text = unsafe { get_value(pairs, key.as_ptr()) };
        // SAFETY: a value belongs to the pairs and is terminated by NUL.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) })?.to_str().ok()?.parse().ok()
    };
    let read = read.map(|()| {
        Some(ArenaStatistics {
            in_use_bytes: value(c"InUse")?,
            most_in_use_bytes: value(c"MaxInUse")?,
            reserved_bytes: value(c"TotalAllocated")?,
        })
    });
    // SAFETY: neither is used again; releasing a null pointer does nothing.
    unsafe {
        release(pairs);
        (ort::api().ReleaseAllocator)(allocator);
    }
    read
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::runtime::tests::started;
    use crate::session::Session;
    use crate::settings::Settings;

    #[test]
    fn an_arena_has_statistics_and_no_arena_has_none() {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/means.onnx");
        let open = |arena| {
            let settings = Settings { arena: Some(arena), ..Settings::default() };
            Session::open(started(), &model, &settings).expect("a session")
        };
        let found = open(true).arena().expect("statistics").expect("an arena");
        assert!(found.in_use_bytes <= found.most_in_use_bytes, "{found:?}");
        assert!(found.most_in_use_bytes <= found.reserved_bytes, "{found:?}");
        assert_eq!(open(false).arena().expect("no statistics"), None);
    }
}
