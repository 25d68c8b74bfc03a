//! The allocator of the program that links this crate: mimalloc, on Linux with glibc.
//!
//! It serves `malloc` in the libraries that are loaded later too, the runtime's among them: the loader looks in the program
//! first. Thousands of small allocations while a runtime starts, and large ones, cost less than with glibc's.

#![allow(unsafe_code)]

#[cfg(all(feature = "mimalloc", target_os = "linux", target_env = "gnu"))]
mod linked {
    use std::env;
    use std::ffi::{c_long, c_void};

    use libmimalloc_sys::{mi_option_set_default, mi_option_t};
    use mimalloc::MiMalloc;

    #[global_allocator]
    static ALLOCATOR: MiMalloc = MiMalloc;

    /// `mi_option_purge_delay` of mimalloc.h, missing from the bindings.
    const PURGE_DELAY: mi_option_t = 15;

    /// Milliseconds after which freed memory is returned to the system, until there was an inference.
    ///
    /// At 0, loading a model takes a quarter longer, since it uses the same memory again; at 10, mimalloc's default, the
    /// peak is up to 10% higher.
    const DELAY_MS: c_long = 2;

    /// The same afterwards: without an arena, every inference needs the memory of the one before it.
    const LATER_DELAY_MS: c_long = 1000;

    /// Decides what mimalloc's own variables of the environment leave open, and gives results its name.
    ///
    /// mimalloc requests huge pages, unlike glibc. Here the system clears many of them for little use: peak memory rises
    /// by a tenth, and on a virtual machine that must get them from its host, a process takes up to six times as long.
    pub fn prepare() {
        set_delay(DELAY_MS);
        if env::var_os("MIMALLOC_ALLOW_THP").is_none() {
            // SAFETY: no pointer is passed. If this fails, the process has huge pages.
            unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
        }
        let version = ALLOCATOR.version();
        let (major, minor, patch) = (version / 10_000, version / 100 % 100, version % 100);
        runoff_runner::malloc::register(format!("mimalloc {major}.{minor}.{patch}"), || set_delay(LATER_DELAY_MS));
    }

    /// Size and alignment of the parts that mimalloc 2 divides its heap into, and fills from the start.
    const SEGMENT: usize = 32 << 20;

    /// How much of the first one every process with a session uses: ONNX Runtime's environment alone takes 6 MB.
    pub const FIRST: usize = 8 << 20;

    /// Gets the first memory of the heap in one call; the system would deliver it page by page. Returns its address.
    pub fn populate() -> *mut c_void {
        let inside = std::ptr::from_ref(&*Box::new(0_u8)).addr();
        let start = std::ptr::with_exposed_provenance_mut(inside - inside % SEGMENT);
        // SAFETY: pages that exist keep their contents. If this fails, for instance on Linux before 5.14, the heap is as
        // it was.
        unsafe { libc::madvise(start, FIRST, libc::MADV_POPULATE_WRITE) };
        start
    }

    fn set_delay(milliseconds: c_long) {
        // SAFETY: the option exists.
        unsafe { mi_option_set_default(PURGE_DELAY, milliseconds) };
    }
}

/// Configures the allocator, if one is linked.
pub fn prepare() {
    #[cfg(all(feature = "mimalloc", target_os = "linux", target_env = "gnu"))]
    linked::prepare();
}

/// Gets the memory that a session needs at least, if an allocator is linked that lets it.
pub fn populate() {
    #[cfg(all(feature = "mimalloc", target_os = "linux", target_env = "gnu"))]
    linked::populate();
}

#[cfg(all(test, feature = "mimalloc", target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::linked::{FIRST, populate};

    #[test]
    fn the_first_memory_is_resident() {
        let start = populate();
        // SAFETY: the call takes no pointers.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).expect("a size");
        let mut resident = vec![0_u8; FIRST / page];
        // SAFETY: the vector has a byte for each page.
        assert_eq!(unsafe { libc::mincore(start, FIRST, resident.as_mut_ptr()) }, 0);
        let missing = resident.iter().filter(|&&page| page & 1 == 0).count();
        assert!(missing < resident.len() / 10, "{missing} of {} pages", resident.len());
    }
}
