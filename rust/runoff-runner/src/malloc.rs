//! The allocator behind `malloc` in this process, including calls from the libraries that it loads.

#![allow(unsafe_code)]

use std::sync::OnceLock;

/// The allocator linked into this program.
static LINKED: OnceLock<Linked> = OnceLock::new();

struct Linked {
    name: String,
    keep: fn(),
}

/// Registers the allocator linked into this program: its name, which [`allocator`] reports if it is in use, and the
/// function that makes it keep freed memory.
pub fn register(name: String, keep: fn()) {
    LINKED.get_or_init(|| Linked { name, keep });
}

/// Makes the linked allocator, if there is one, keep freed memory: further inferences need as much.
pub fn keep_memory() {
    if let Some(linked) = LINKED.get() {
        (linked.keep)();
    }
}

/// Name of the allocator that a library loaded now would use: `glibc 2.36`, the registered one, or the file of a
/// preloaded one (`libjemalloc`). `None` if it is unknown.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[must_use]
pub fn allocator() -> Option<String> {
    use std::ffi::CStr;

    // SAFETY: the name ends with NUL; the loader only looks it up.
    let malloc = object(unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"malloc".as_ptr()) })?;
    if object(allocator as fn() -> Option<String> as *const libc::c_void)?.dli_fbase == malloc.dli_fbase {
        return LINKED.get().map(|linked| linked.name.clone());
    }
    // SAFETY: the loader's strings live as long as the object that they name, which is never closed.
    let file = unsafe { CStr::from_ptr(malloc.dli_fname) }.to_string_lossy();
    let name = file.rsplit('/').next().unwrap_or_default().split(".so").next().unwrap_or_default();
    if name != "libc" {
        return Some(name.to_owned());
    }
    // SAFETY: the function returns a static string.
    let version = unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) };
    Some(format!("glibc {}", version.to_string_lossy()))
}

/// Name of the registered allocator; `None` if there is none.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
#[must_use]
pub fn allocator() -> Option<String> {
    LINKED.get().map(|linked| linked.name.clone())
}

/// The program or library that contains `address`.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn object(address: *const libc::c_void) -> Option<libc::Dl_info> {
    let mut info = std::mem::MaybeUninit::uninit();
    // SAFETY: `dladdr` accepts any address, and writes to the local if it succeeds.
    let is_found = unsafe { libc::dladdr(address, info.as_mut_ptr()) } != 0;
    // SAFETY: `dladdr` has written it.
    is_found.then(|| unsafe { info.assume_init() })
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    #[test]
    fn the_allocator_of_the_system_is_found() {
        register("not linked".to_owned(), || ());
        let name = allocator().expect("a name");
        assert!(name.starts_with("glibc 2."), "{name}");
    }
}
