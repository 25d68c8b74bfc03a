//! ONNX Runtime's C API: loading it, checking its statuses, releasing its objects.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};
use std::path::{Path, PathBuf};
use std::ptr;

use ort_sys::{ORT_API_VERSION, OrtApi, OrtApiBase, OrtEnv, OrtLoggingLevel, OrtStatusPtr};

use runoff_session::{Error, Kind};

const LIBRARY_VARIABLE: &str = "RUNOFF_ORT_DYLIB";

const HINT: &str = "pip install onnxruntime brings one: set RUNOFF_ORT_DYLIB to the absolute path of its \
                    onnxruntime/capi/libonnxruntime.so.* (libonnxruntime.*.dylib on macOS)";

/// Reads the library's path from `RUNOFF_ORT_DYLIB`.
///
/// # Errors
///
/// `runtime-missing` if the variable is not set, or not an absolute path.
pub fn library() -> Result<PathBuf, Error> {
    let path = std::env::var_os(LIBRARY_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let path = path.ok_or_else(|| missing(&format!("{LIBRARY_VARIABLE} is not set")))?;
    if path.is_absolute() {
        return Ok(path);
    }
    Err(missing(&format!("{LIBRARY_VARIABLE} is {}, not an absolute path", path.display())))
}

/// The functions of a loaded library.
#[derive(Debug, Clone, Copy)]
pub struct Api {
    /// The function table.
    pub table: &'static OrtApi,
    base: &'static OrtApiBase,
}

impl Api {
    /// Permanently loads the library in the file `path`.
    ///
    /// # Errors
    ///
    /// `runtime-missing` if the file cannot be loaded, is not ONNX Runtime, or is too old.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let shown = path.display();
        // SAFETY: loading runs the initialisers of a file that the user declared to be ONNX Runtime.
        let library = unsafe { libloading::Library::new(path) }
            .map_err(|error| missing(&format!("cannot load {shown}: {error}")))?;
        // SAFETY: every ONNX Runtime exports this function with this signature (onnxruntime_c_api.h).
        let base = unsafe { library.get::<unsafe extern "system" fn() -> *const OrtApiBase>(b"OrtGetApiBase") };
        let base = *base.map_err(|_| missing(&format!("{shown} is not ONNX Runtime: it has no OrtGetApiBase")))?;
        // The tables below are static data of the library, so it must stay loaded.
        std::mem::forget(library);
        // SAFETY: the function takes nothing and returns null or a static structure.
        let base = unsafe { base().as_ref() }.ok_or_else(|| missing(&format!("{shown} has no API")))?;
        // SAFETY: the function takes any number and returns null or the static table of that version.
        let table = unsafe { (base.GetApi)(ORT_API_VERSION).as_ref() };
        let table = table.ok_or_else(|| missing(&format!("{shown} is older than ONNX Runtime 1.{ORT_API_VERSION}")))?;
        Ok(Self { table, base })
    }

    /// The library's version.
    pub fn version(self) -> String {
        // SAFETY: the function returns a static string terminated by NUL.
        unsafe { CStr::from_ptr((self.base.GetVersionString)()) }.to_string_lossy().into_owned()
    }

    /// The library's description of its build.
    pub fn build(self) -> String {
        // SAFETY: as above.
        unsafe { CStr::from_ptr((self.table.GetBuildInfoString)()) }.to_string_lossy().into_owned()
    }

    /// Converts a status of the API to a result; `what` names the operation.
    ///
    /// # Errors
    ///
    /// `runtime-failed` with ONNX Runtime's message.
    pub fn check(self, status: OrtStatusPtr, what: &str) -> Result<(), Error> {
        if status.0.is_null() {
            return Ok(());
        }
        // SAFETY: a non-null status is valid until it is released, and its message is terminated by NUL.
        let message = unsafe { CStr::from_ptr((self.table.GetErrorMessage)(status.0)) }.to_string_lossy().into_owned();
        // SAFETY: the caller owns the status, it is released once, and the message was copied.
        unsafe { (self.table.ReleaseStatus)(status.0) };
        let first_line = message.lines().next().unwrap_or_default();
        let message = format!("ONNX Runtime failed {what}: {first_line}");
        Err(Error::new(Kind::RuntimeFailed, message, "check that the model and the preprocessing belong together"))
    }

    /// Takes ownership of the object that `create` creates.
    ///
    /// `create` writes a pointer to its argument and returns the API's status; `release` frees the object.
    ///
    /// # Errors
    ///
    /// `runtime-failed`, with `what`.
    pub fn make<T>(
        self,
        what: &str,
        release: Release<T>,
        create: impl FnOnce(*mut *mut T) -> OrtStatusPtr,
    ) -> Result<Owned<T>, Error> {
        let mut pointer = ptr::null_mut();
        let status = create(&raw mut pointer);
        self.check(status, what)?;
        Ok(Owned::new(pointer, release))
    }
}

/// A function of the API that frees an object.
pub type Release<T> = unsafe extern "system" fn(*mut T);

/// An object of the API, released when dropped.
#[derive(Debug)]
pub struct Owned<T> {
    pointer: *mut T,
    release: Release<T>,
}

impl<T> Owned<T> {
    /// Takes ownership of the object at `pointer`, which the API made for the caller, or null.
    pub const fn new(pointer: *mut T, release: Release<T>) -> Self {
        Self { pointer, release }
    }

    /// The object, for the functions of the API. It stays owned by `self`.
    pub const fn pointer(&self) -> *mut T {
        self.pointer
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer was returned by the function that creates such objects, and is released once, here.
        unsafe { (self.release)(self.pointer) };
    }
}

/// The process's environment.
#[derive(Debug)]
pub struct Environment {
    /// The API's functions.
    pub api: Api,
    /// The underlying object.
    pub object: Owned<OrtEnv>,
}

impl Environment {
    /// Creates the environment, without telemetry.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn new(api: Api) -> Result<Self, Error> {
        let name: *const c_char = c"runoff".as_ptr();
        let level = OrtLoggingLevel::ORT_LOGGING_LEVEL_WARNING;
        let object = api.make("creating its environment", api.table.ReleaseEnv, |out| {
            // SAFETY: the name is static and terminated by NUL; `out` is a place for one pointer.
            unsafe { (api.table.CreateEnv)(level, name, out) }
        })?;
        // SAFETY: the environment is alive.
        let status = unsafe { (api.table.DisableTelemetryEvents)(object.pointer()) };
        api.check(status, "turning telemetry off")?;
        Ok(Self { api, object })
    }
}

fn missing(message: &str) -> Error {
    Error::new(Kind::RuntimeMissing, message, HINT)
}
