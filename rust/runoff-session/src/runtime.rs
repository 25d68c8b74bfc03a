//! ONNX Runtime's shared library: finding it, loading it, reading its version.

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::code_pages;
use crate::environment::{Environment, LogLevel};
use crate::error::{Error, Kind, loader_words};
use crate::status::check;

/// Environment variable with the absolute path of the library.
pub const LIBRARY_VARIABLE: &str = "RUNOFF_ORT_DYLIB";

const HINT: &str = "pip install onnxruntime brings one: set RUNOFF_ORT_DYLIB to the absolute path of its \
                    onnxruntime/capi/libonnxruntime.so.* (libonnxruntime.*.dylib on macOS)";

const NOT_FOUND_HINT: &str = "pip install onnxruntime in the active environment, or name the library's file: --library, \
                              RUNOFF_ORT_DYLIB";

/// Environment variables that hold the folder of the active Python environment: venv's and conda's.
const ENVIRONMENTS: [&str; 2] = ["VIRTUAL_ENV", "CONDA_PREFIX"];

/// Environment variable for ONNX Runtime's log level, read by `ort`.
const LOG_VARIABLE: &str = "ORT_LOG";

/// Path that the library was loaded from.
static LOADED: OnceLock<PathBuf> = OnceLock::new();

/// The library, loaded into this process.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Runtime {
    /// Path that the library was loaded from.
    pub library: PathBuf,
    /// Version of the library, such as `1.32.0`.
    pub version: String,
    /// The library's description of its build.
    pub build: String,
}

/// Reads the library's path from `RUNOFF_ORT_DYLIB`.
///
/// # Errors
///
/// `runtime-missing` if the variable is not set.
pub fn library_from_env() -> Result<PathBuf, Error> {
    match std::env::var_os(LIBRARY_VARIABLE) {
        Some(path) if !path.is_empty() => Ok(path.into()),
        _ => Err(missing(&format!("{LIBRARY_VARIABLE} is not set"))),
    }
}

/// Finds the library: the file `named`, else the one of `RUNOFF_ORT_DYLIB`, else that of the `onnxruntime` wheel in the
/// active Python environment (`VIRTUAL_ENV`, then `CONDA_PREFIX`).
///
/// # Errors
///
/// `runtime-missing`, listing the places that were searched.
pub fn find_library(named: Option<&Path>) -> Result<PathBuf, Error> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(|error| missing(&error.to_string()));
    if let Some(named) = named {
        return absolute(named);
    }
    if let Ok(library) = library_from_env() {
        return Ok(library);
    }
    let mut searched = vec![format!("{LIBRARY_VARIABLE} is not set")];
    for variable in ENVIRONMENTS {
        let Some(folder) = std::env::var_os(variable).filter(|folder| !folder.is_empty()) else {
            searched.push(format!("{variable} is not set"));
            continue;
        };
        let folder = Path::new(&folder);
        if let Some(library) = library_in_environment(folder) {
            return absolute(&library);
        }
        let wheel = folder.join("lib/python3*/site-packages/onnxruntime/capi");
        searched.push(format!("{variable}: no library in {}", wheel.display()));
    }
    let message = format!("ONNX Runtime not found: {}", searched.join("; "));
    Err(Error::new(Kind::RuntimeMissing, message, NOT_FOUND_HINT))
}

/// Finds the library of the wheel in the Python environment in `folder`.
fn library_in_environment(folder: &Path) -> Option<PathBuf> {
    let versions = std::fs::read_dir(folder.join("lib")).into_iter().flatten().filter_map(Result::ok);
    let versions = versions.filter(|entry| entry.file_name().to_string_lossy().starts_with("python3"));
    // The last one is where Windows has it.
    let packages = versions.map(|entry| entry.path()).chain([folder.join("Lib")]);
    packages.map(|lib| lib.join("site-packages/onnxruntime")).find_map(|package| library_in_wheel(&package).ok())
}

/// Finds the library of the `onnxruntime` wheel in the folder `package` of its Python package.
///
/// # Errors
///
/// `runtime-missing` if the folder has no library.
pub fn library_in_wheel(package: &Path) -> Result<PathBuf, Error> {
    let folder = package.join("capi");
    let is_library = |name: &str| name.starts_with("libonnxruntime.") || name == "onnxruntime.dll";
    std::fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .find(|entry| entry.file_name().to_str().is_some_and(is_library))
        .map(|entry| entry.path())
        .ok_or_else(|| missing(&format!("no ONNX Runtime library in {}", folder.display())))
}

impl Runtime {
    /// Loads the library in the file `library` permanently: a process has one ONNX Runtime.
    ///
    /// # Errors
    ///
    /// `runtime-missing` if the path is relative, or the file does not exist, is not ONNX Runtime, or is too old.
    pub fn load(library: &Path) -> Result<Self, Error> {
        let shown = library.display();
        if !library.is_absolute() {
            return Err(missing(&format!("{LIBRARY_VARIABLE} is {shown}, not an absolute path")));
        }
        if !library.is_file() {
            return Err(missing(&format!("ONNX Runtime library not found: {shown}")));
        }
        // The handle stays open until `ort` has its own, otherwise the library would be loaded twice.
        let (version, _handle) = version_of(library)?;
        check_version(&version, library)?;
        // Dropped immediately: this only loads the library; the environment is created later.
        ort::init_from(library).map_err(|error| missing(&error.to_string()))?;
        LOADED.get_or_init(|| library.to_owned());
        Ok(Self { library: library.to_owned(), version, build: ort::info().to_owned() })
    }

    /// Creates the environment. A process has only one; keep it as long as any session.
    ///
    /// # Errors
    ///
    /// `runtime-failed` if there is one already, or ONNX Runtime cannot create it.
    pub fn make_environment(&self) -> Result<Environment, Error> {
        let environment = ort::init_from(&self.library)
            .map_err(|error| missing(&error.to_string()))?
            .with_name("runoff")
            .with_telemetry(false)
            .build()
            .map_err(|error| Error::runtime("creating its environment", &error))?;
        if std::env::var_os(LOG_VARIABLE).is_none() {
            // Failures are returned; ONNX Runtime would also log them to stderr.
            environment.set_log_level(LogLevel::Fatal.to_onnx());
        }
        Ok(Environment(environment))
    }

    /// Takes the library's code out of this process's resident memory; what is used again is mapped again.
    ///
    /// Useful if much code has run for the last time: after the environment was created, and after a model was loaded.
    pub fn release_code(&self) {
        code_pages::release(ort::api().CreateEnv as *const ());
    }
}

/// Path that the library was loaded from; `None` if it is not loaded.
pub(crate) fn loaded_from() -> Option<&'static Path> {
    LOADED.get().map(PathBuf::as_path)
}

/// Names of the execution providers in the loaded library, in its order.
///
/// # Errors
///
/// `runtime-failed`.
///
/// # Panics
///
/// If no [`Runtime`] is loaded.
pub fn built_in_providers() -> Result<Vec<String>, Error> {
    let (mut names, mut count) = (std::ptr::null_mut(), 0);
    // SAFETY: the call writes to two locals; the array is released below.
    let status = unsafe { (ort::api().GetAvailableProviders)(&raw mut names, &raw mut count) };
    check(status, "naming its providers")?;
    // SAFETY: ONNX Runtime has just created `count` strings terminated by NUL.
    let name = |index| unsafe { CStr::from_ptr(*names.add(index)) }.to_string_lossy().into_owned();
    let found = (0..usize::try_from(count).unwrap_or_default()).map(name).collect();
    // SAFETY: the array is unchanged and is not used again.
    check(unsafe { (ort::api().ReleaseAvailableProviders)(names, count) }, "naming its providers")?;
    Ok(found)
}

/// Functions of the loaded library's API in the order of `onnxruntime_c_api.h`; `None` if it is older than `version`.
///
/// # Errors
///
/// `runtime-missing` if no library is loaded.
pub(crate) fn api(version: u32) -> Result<Option<*const *const ()>, Error> {
    let library = loaded_from().ok_or_else(|| missing("no ONNX Runtime is loaded"))?;
    // It stays loaded: `ort` has its own handle.
    let (base, _handle) = base_of(library)?;
    // SAFETY: the function returns null, or a pointer to a static structure of pointers.
    let table = unsafe { (base.GetApi)(version) };
    Ok((!table.is_null()).then_some(table.cast()))
}

/// Reads the library's version, which `ort` does not expose; returns it with the library's handle.
fn version_of(library: &Path) -> Result<(String, libloading::Library), Error> {
    let (base, handle) = base_of(library)?;
    // SAFETY: the function returns a static string that ends with NUL.
    let version = unsafe { CStr::from_ptr((base.GetVersionString)()) }.to_string_lossy().into_owned();
    Ok((version, handle))
}

/// Loads the library, or loads it again; returns its first functions, which are valid as long as the handle.
fn base_of(library: &Path) -> Result<(&'static ort::sys::OrtApiBase, libloading::Library), Error> {
    let shown = library.display();
    // SAFETY: loading a library runs its initialisers. The user declared this file to be ONNX Runtime, and `ort` loads
    // the same file next.
    let handle = unsafe { libloading::Library::new(library) }
        .map_err(|error| missing(&format!("cannot load {shown}: {}", loader_words(&error))))?;
    // SAFETY: every ONNX Runtime exports this function with this signature (onnxruntime_c_api.h).
    let base = unsafe { handle.get::<unsafe extern "C" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase") }
        .map_err(|_| missing(&format!("{shown} is not ONNX Runtime: it has no OrtGetApiBase")))?;
    // SAFETY: the function takes nothing and returns a pointer to a static structure.
    let base = unsafe { base().as_ref() }.ok_or_else(|| missing(&format!("{shown} has no API")))?;
    Ok((base, handle))
}

fn check_version(version: &str, library: &Path) -> Result<(), Error> {
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or_default());
    let (major, minor) = (numbers.next(), numbers.next());
    if major == Some(1) && minor >= Some(ort::MINOR_VERSION) {
        return Ok(());
    }
    let needed = ort::MINOR_VERSION;
    let message =
        format!("{} is ONNX Runtime {version}; this program needs 1.{needed} or a later 1.x", library.display());
    Err(Error::new(Kind::RuntimeMissing, message, HINT))
}

fn missing(message: &str) -> Error {
    Error::new(Kind::RuntimeMissing, message, HINT)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The environment of this test process.
    pub(crate) fn started() -> &'static Environment {
        static STARTED: OnceLock<Environment> = OnceLock::new();
        STARTED.get_or_init(|| {
            let library = library_from_env().unwrap_or_else(|error| panic!("set it for these tests: {error}"));
            Runtime::load(&library).expect("ONNX Runtime").make_environment().expect("an environment")
        })
    }

    #[test]
    fn versions_that_fit() {
        let library = Path::new("/lib.so");
        for fits in ["1.21.0", "1.32.0", "1.100.3"] {
            check_version(fits, library).expect(fits);
        }
        for unfit in ["1.20.1", "0.32.0", "2.0.0", "", "x"] {
            let error = check_version(unfit, library).expect_err(unfit);
            assert!(error.message.contains("1.21 or a later 1.x"), "{error}");
        }
    }

    #[test]
    fn what_is_not_the_library_is_said() {
        let message = |path: &Path| {
            let error = Runtime::load(path).expect_err("no library");
            assert_eq!(error.kind, Kind::RuntimeMissing);
            assert!(error.hint.contains(LIBRARY_VARIABLE));
            error.message
        };
        assert!(message(Path::new("lib.so")).contains("not an absolute path"));
        assert!(message(Path::new("/nowhere/lib.so")).contains("not found"));
        let folder = tempfile::tempdir().expect("a folder");
        let text = folder.path().join("lib.so");
        std::fs::write(&text, "text").expect("a file");
        assert!(message(&text).contains("cannot load"));
    }
}
