//! Pages of a loaded library's code, which count as memory of the process once they were used.

#![allow(unsafe_code)]

/// Takes the code and constants of the library that contains `address` out of this process's resident memory.
///
/// They stay in the system's page cache and are mapped again, many pages at a time, when they are used. Does nothing on
/// systems other than Linux with glibc.
pub(crate) fn release(address: *const ()) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the callback has the required signature; it only uses its arguments during the call.
    unsafe {
        libc::dl_iterate_phdr(Some(linux::release_if_inside), address.cast_mut().cast())
    };
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    let _ = address;
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod linux {
    use std::ffi::{c_int, c_void};
    use std::slice;

    /// Releases the segments of an object that are never written to, if one contains `address`; returns 1, which ends
    /// the iteration.
    pub unsafe extern "C" fn release_if_inside(
        object: *mut libc::dl_phdr_info,
        _: usize,
        address: *mut c_void,
    ) -> c_int {
        // SAFETY: the loader passes a valid description.
        let object = unsafe { &*object };
        // SAFETY: an object has as many headers as it says.
        let headers = unsafe { slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()) };
        let is_constant =
            |header: &&libc::Elf64_Phdr| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0;
        let segments =
            || headers.iter().filter(is_constant).map(|header| (object.dlpi_addr + header.p_vaddr, header.p_memsz));
        if !segments().any(|(start, len)| (start..start + len).contains(&(address as u64))) {
            return 0;
        }
        for (start, len) in segments() {
            release(start, len);
        }
        1
    }

    fn release(start: u64, len: u64) {
        // SAFETY: the call takes no pointers.
        let page = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(1);
        let before = start % page;
        let Ok(len) = usize::try_from(len + before) else { return };
        // SAFETY: nobody writes to these pages, so their next use finds the same bytes in the file. A failure leaves
        // them as they are.
        unsafe { libc::madvise((start - before) as *mut c_void, len, libc::MADV_DONTNEED) };
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use std::fs;

    use super::*;

    /// Resident bytes of the file that the `address` is in, read from the kernel.
    fn resident(address: usize) -> u64 {
        let maps = fs::read_to_string("/proc/self/smaps").expect("smaps");
        let mut is_inside = false;
        let mut found = 0;
        for line in maps.lines() {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let number = |text| usize::from_str_radix(text, 16);
            if let Some((Ok(start), Ok(end))) = range.map(|(start, end)| (number(start), number(end))) {
                is_inside = (start..end).contains(&address);
            } else if let Some(size) = line.strip_prefix("Rss:").filter(|_| is_inside) {
                found = size.trim_end_matches("kB").trim().parse().expect("a number");
            }
        }
        found
    }

    #[test]
    fn code_leaves_memory_and_comes_back() {
        // SAFETY: loading the C library's own part runs nothing else. No other test uses it.
        let library = unsafe { libloading::os::unix::Library::new("libm.so.6") }.expect("the C library has it");
        // SAFETY: the function has this signature.
        let lgamma = unsafe { library.get::<unsafe extern "C" fn(f64) -> f64>(b"lgamma") }.expect("a function");
        // SAFETY: as above.
        let before = unsafe { lgamma(7.0) };
        let address = *lgamma as *const ();
        assert!(resident(address.addr()) > 0);
        release(address);
        assert_eq!(resident(address.addr()), 0);
        // SAFETY: as above.
        assert_eq!(unsafe { lgamma(7.0) }.to_bits(), before.to_bits());
    }
}
