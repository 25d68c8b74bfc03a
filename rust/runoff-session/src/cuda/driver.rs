//! Queries of the NVIDIA driver through its library.

use std::ffi::{CStr, c_char, c_int, c_uint};
use std::ptr;
use std::sync::OnceLock;

use libloading::{Library, Symbol};

use super::DEVICE;
use crate::error::loader_words;

/// The driver's library, which only the driver installs.
const LIBRARY: &str = "libcuda.so.1";

/// File in which the kernel module reports its version.
const MODULE: &str = "/proc/driver/nvidia/version";

const NO_GPU: &str = "the NVIDIA driver finds no GPU";

/// Major version of CUDA in the libraries that [`super::load`] loads.
const MAJOR: c_int = 13;

/// The GPU in use, and its driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    index: c_int,
    name: String,
    driver: Option<String>,
}

impl Gpu {
    /// Name, index and driver, such as `NVIDIA H100 80GB HBM3 (0), driver 580.65.06`.
    #[must_use]
    pub fn describe(&self) -> String {
        let driver = self.driver.as_ref().map_or_else(String::new, |driver| format!(", driver {driver}"));
        format!("{} ({}){driver}", self.name, self.index)
    }
}

/// The GPU, or the reason why none is available. The driver is queried once per process.
///
/// # Errors
///
/// The reason, without a full stop.
pub fn gpu() -> Result<&'static Gpu, &'static str> {
    static FOUND: OnceLock<Result<Gpu, String>> = OnceLock::new();
    FOUND.get_or_init(|| find(LIBRARY, DEVICE)).as_ref().map_err(String::as_str)
}

/// Describes the GPU `index`; `None` if there is none.
#[must_use]
pub fn describe(index: c_int) -> Option<String> {
    if index == DEVICE {
        return gpu().ok().map(Gpu::describe);
    }
    find(LIBRARY, index).ok().map(|gpu| gpu.describe())
}

fn find(library: &str, index: c_int) -> Result<Gpu, String> {
    // SAFETY: this is the user's driver, which every program that uses the GPU loads; its initialisers have no effects.
    let loaded = unsafe { Library::new(library) }.map_err(|error| absent(&loader_words(&error)))?;
    let name = ask(&loaded, index);
    // A driver must not be unloaded after it was initialised.
    std::mem::forget(loaded);
    let module = std::fs::read_to_string(MODULE).unwrap_or_default();
    name.map(|name| Gpu { index, name, driver: release(&module).map(str::to_owned) })
}

fn absent(error: &str) -> String {
    // the messages of Linux and macOS
    let is_missing = ["cannot open shared object file", "no such file"].iter().any(|words| error.contains(words));
    let why = if is_missing { format!("{LIBRARY} not found") } else { error.to_owned() };
    format!("no NVIDIA driver ({why})")
}

/// Initialises the driver and reads the name of the GPU `index`.
fn ask(library: &Library, index: c_int) -> Result<String, String> {
    let (mut version, mut count, mut device, mut name): (_, _, _, [c_char; 256]) = (0, 0, 0, [0; 256]);
    // SAFETY: these are the signatures of the CUDA driver API (cuda.h), and all pointers are to locals. The name is
    // terminated by NUL within the length that is passed.
    unsafe {
        let init: Symbol<'_, unsafe extern "C" fn(c_uint) -> c_int> = symbol(library, c"cuInit")?;
        let get_version: Symbol<'_, unsafe extern "C" fn(*mut c_int) -> c_int> =
            symbol(library, c"cuDriverGetVersion")?;
        let get_count: Symbol<'_, unsafe extern "C" fn(*mut c_int) -> c_int> = symbol(library, c"cuDeviceGetCount")?;
        let get: Symbol<'_, unsafe extern "C" fn(*mut c_int, c_int) -> c_int> = symbol(library, c"cuDeviceGet")?;
        let get_name: Symbol<'_, unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int> =
            symbol(library, c"cuDeviceGetName")?;
        done(library, "cuInit", init(0))?;
        done(library, "cuDeviceGetCount", get_count(&raw mut count))?;
        if count < 1 {
            return Err(NO_GPU.to_owned());
        }
        done(library, "cuDriverGetVersion", get_version(&raw mut version))?;
        if version / 1000 < MAJOR {
            let (major, minor) = (version / 1000, version % 1000 / 10);
            return Err(format!("the NVIDIA driver supports CUDA {major}.{minor}; CUDA {MAJOR} is needed"));
        }
        done(library, "cuDeviceGet", get(&raw mut device, index))?;
        done(library, "cuDeviceGetName", get_name(name.as_mut_ptr(), 255, device))?;
        Ok(CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned())
    }
}

/// A function of the driver.
///
/// # Safety
///
/// `F` must be the function's signature.
unsafe fn symbol<'l, F>(library: &'l Library, name: &CStr) -> Result<Symbol<'l, F>, String> {
    // SAFETY: the caller guarantees the signature.
    unsafe { library.get(name.to_bytes_with_nul()) }
        .map_err(|_| format!("no NVIDIA driver ({LIBRARY} has no {})", name.to_string_lossy()))
}

fn done(library: &Library, call: &str, code: c_int) -> Result<(), String> {
    if code == 0 {
        return Ok(());
    }
    let mut text: *const c_char = ptr::null();
    // SAFETY: the signature is that of cuda.h; the function writes a constant string, or leaves null.
    let name = unsafe {
        let get_name: Symbol<'_, unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int> =
            symbol(library, c"cuGetErrorName")?;
        get_name(code, &raw mut text);
        (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
    };
    Err(format!("{NO_GPU} ({call}: {})", name.unwrap_or_else(|| format!("error {code}"))))
}

/// The driver's version in the description of its kernel module.
fn release(module: &str) -> Option<&str> {
    let is_release = |word: &&str| {
        word.contains('.')
            && word.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    module.lines().next()?.split_ascii_whitespace().find(is_release)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::libraries::tests::compiled;

    /// A fake driver with the given result of `cuInit`, version and number of GPUs.
    fn driver(init: c_int, version: c_int, count: c_int) -> Result<Gpu, String> {
        let source = format!(
            "#include <string.h>
             int cuInit(unsigned flags) {{ return flags ? 1 : {init}; }}
             int cuDriverGetVersion(int *version) {{ *version = {version}; return 0; }}
             int cuDeviceGetCount(int *count) {{ *count = {count}; return 0; }}
             int cuDeviceGet(int *device, int index) {{ *device = 40 + index; return 0; }}
             int cuDeviceGetName(char *name, int len, int device) {{
                 strncpy(name, device == 40 ? \"Test GPU\" : \"?\", len); return 0; }}
             int cuGetErrorName(int code, const char **name) {{
                 if (code == 100) *name = \"CUDA_ERROR_NO_DEVICE\"; return code == 100 ? 0 : 1; }}"
        );
        let folder = tempfile::tempdir().expect("a folder");
        find(compiled(folder.path(), "libcuda.so.1", &source).to_str().expect("text"), DEVICE)
    }

    #[test]
    fn the_gpu_is_named() {
        let gpu = driver(0, 13_000, 1).expect("a GPU");
        assert!(gpu.describe().starts_with("Test GPU (0)"), "{}", gpu.describe());
        let gpu = Gpu { driver: Some("580.65.06".into()), ..gpu };
        assert_eq!(gpu.describe(), "Test GPU (0), driver 580.65.06");
    }

    #[test]
    fn the_reason_says_what_is_lacking() {
        let reason = |init, version, count| driver(init, version, count).expect_err("no GPU");
        assert_eq!(reason(100, 13_000, 1), "the NVIDIA driver finds no GPU (cuInit: CUDA_ERROR_NO_DEVICE)");
        assert_eq!(reason(77, 13_000, 1), "the NVIDIA driver finds no GPU (cuInit: error 77)");
        assert_eq!(reason(0, 13_000, 0), "the NVIDIA driver finds no GPU");
        let old = reason(0, 12_040, 1);
        assert_eq!(old, "the NVIDIA driver supports CUDA 12.4; CUDA 13 is needed");
        let missing = find("/nowhere/libcuda.so.1", DEVICE).expect_err("no driver");
        assert_eq!(missing, "no NVIDIA driver (libcuda.so.1 not found)");
        let folder = tempfile::tempdir().expect("a folder");
        let text = folder.path().join("libcuda.so.1");
        std::fs::write(&text, "text").expect("a file");
        let broken = find(text.to_str().expect("text"), DEVICE).expect_err("no library");
        assert!(broken.starts_with("no NVIDIA driver (") && !broken.contains("not found"), "{broken}");
    }

    #[test]
    fn the_release_is_found_in_both_ways_of_saying_it() {
        let closed =
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\nGCC version:";
        let open =
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs-builder@U22)";
        assert_eq!(release(closed), Some("535.183.01"));
        assert_eq!(release(open), Some("580.65.06"));
        assert_eq!(release(""), None);
    }
}
