//! The libraries that ONNX Runtime's CUDA and `TensorRT` providers need, loaded before the provider is requested.
//!
//! The providers in the wheel are linked without a path to these libraries. Each one is searched for in NVIDIA's
//! packages next to onnxruntime, as in `onnxruntime.preload_dlls`, then in the system's search path.

use std::path::{Path, PathBuf};

use libloading::Library;

use super::Copies;
use crate::error::loader_words;

/// The CUDA runtime, used for copies.
const RUNTIME: &str = "libcudart.so.13";

/// In the order of `onnxruntime.preload_dlls`; false marks optional libraries.
const CUDA: [(&str, bool); 7] = [
    ("libcublasLt.so.13", true),
    ("libcublas.so.13", true),
    ("libnvrtc.so.13", false),
    ("libcurand.so.10", true),
    ("libcufft.so.12", false),
    (RUNTIME, true),
    ("libcudnn.so.9", true),
];

const TENSORRT: [(&str, bool); 3] =
    [("libnvinfer.so.10", true), ("libnvinfer_plugin.so.10", false), ("libnvonnxparser.so.10", true)];

/// Permanently loads CUDA's libraries for the ONNX Runtime in the file `library`, and those of `TensorRT` if
/// `with_tensorrt` is set.
///
/// # Errors
///
/// The reason, with the names of the libraries that cannot be loaded.
pub fn load(library: &Path, with_tensorrt: bool) -> Result<Copies, String> {
    let more = if with_tensorrt { &TENSORRT[..] } else { &[] };
    open_all(&[&CUDA[..], more].concat(), &folders(library)).and_then(Copies::of)
}

/// Opens the `wanted` libraries; returns the CUDA runtime.
fn open_all(wanted: &[(&'static str, bool)], folders: &[PathBuf]) -> Result<Library, String> {
    let (mut runtime, mut missing) = (None, Vec::new());
    for &(name, is_needed) in wanted {
        match open(name, folders)? {
            Some(loaded) if name == RUNTIME => runtime = Some(loaded),
            Some(loaded) => std::mem::forget(loaded),
            None if is_needed => missing.push(name),
            None => {}
        }
    }
    runtime.filter(|_| missing.is_empty()).ok_or_else(|| format!("{} not found", missing.join(", ")))
}

/// Opens a library; `None` if it is not found.
fn open(name: &str, folders: &[PathBuf]) -> Result<Option<Library>, String> {
    let path = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    let found = path.as_deref().unwrap_or_else(|| Path::new(name));
    // SAFETY: this is one of NVIDIA's libraries, which the requested provider would load itself, so its initialisers
    // have to run.
    match (unsafe { Library::new(found) }, path) {
        (Ok(loaded), _) => Ok(Some(loaded)),
        (Err(error), Some(path)) => Err(format!("{} cannot be loaded: {}", path.display(), loader_words(&error))),
        (Err(_), None) => Ok(None),
    }
}

/// Folders of NVIDIA's packages next to the package onnxruntime of `library`, both by its given path and by the target
/// of its link.
fn folders(library: &Path) -> Vec<PathBuf> {
    let places = [Some(library.to_owned()), library.canonicalize().ok()];
    places.iter().flatten().filter_map(|place| place.ancestors().nth(3)).flat_map(folders_in).collect()
}

fn folders_in(packages: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(packages.join("nvidia")).into_iter().flatten().filter_map(Result::ok);
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path().join("lib")).collect();
    folders.sort();
    folders.push(packages.join("tensorrt_libs"));
    folders
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    /// Compiles a C library.
    pub(in crate::cuda) fn compiled(folder: &Path, name: &str, source: &str) -> PathBuf {
        let (code, library) = (folder.join(format!("{name}.c")), folder.join(name));
        fs::write(&code, source).expect("a file");
        let done = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&code).output().expect("cc");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        library
    }

    /// Creates a library in one of NVIDIA's packages; returns the path of an ONNX Runtime next to it, which does not
    /// exist.
    fn install(packages: &Path, package: &str, name: &str) -> PathBuf {
        let folder = packages.join("nvidia").join(package).join("lib");
        fs::create_dir_all(&folder).expect("a folder");
        let source = "int cudaMemcpy(void) { return 0; } int cudaStreamSynchronize(void) { return 0; }
                      const char *cudaGetErrorString(int code) { return code ? \"bad\" : \"good\"; }";
        compiled(&folder, name, source);
        packages.join("onnxruntime/capi/libonnxruntime.so.1.31.1")
    }

    #[test]
    fn what_the_packages_have_is_loaded_and_what_is_missing_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let wanted =
            [(RUNTIME, true), ("librunoff-one.so.1", true), ("librunoff-two.so.2", true), ("librunoff-x.so", false)];
        let library = install(folder.path(), "cu13", RUNTIME);
        let open = || open_all(&wanted, &folders(&library)).and_then(Copies::of).map(drop);
        assert_eq!(open(), Err("librunoff-one.so.1, librunoff-two.so.2 not found".to_owned()));
        install(folder.path(), "cu13", "librunoff-one.so.1");
        assert_eq!(open(), Err("librunoff-two.so.2 not found".to_owned()));
        install(folder.path(), "cudnn", "librunoff-two.so.2");
        assert_eq!(open(), Ok(()));
    }

    #[cfg(unix)]
    #[test]
    fn a_library_that_is_named_by_a_link_is_looked_beside_where_it_is_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let library = install(folder.path(), "cu13", RUNTIME);
        fs::create_dir_all(library.parent().expect("a folder")).expect("a folder");
        fs::write(&library, "").expect("a file");
        let link = folder.path().join("link.so");
        std::os::unix::fs::symlink(&library, &link).expect("a link");
        assert_eq!(open_all(&[(RUNTIME, true)], &folders(&link)).map(drop), Ok(()));
    }

    #[test]
    fn a_file_that_is_no_library_is_named_with_its_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let inside = folder.path().join("nvidia/cu13/lib");
        fs::create_dir_all(&inside).expect("a folder");
        fs::write(inside.join("libcublasLt.so.13"), "text").expect("a file");
        let reason = load(&folder.path().join("onnxruntime/capi/lib.so"), false).map(drop).expect_err("no library");
        assert!(reason.contains("nvidia/cu13/lib/libcublasLt.so.13 cannot be loaded"), "{reason}");
    }
}
