//! The extension module `runoff_ort`: converts between Python and `runoff_core`, which does the work.
//!
//! `runoff_ort.pyi` documents what Python sees.

#![forbid(unsafe_code)]

mod arrays;
mod errors;
mod preprocess;
mod runtime;
mod session;

use pyo3::prelude::*;

/// ONNX models through a Rust core.
#[pymodule]
mod runoff_ort {
    #[pymodule_export]
    use crate::errors::RunoffOrtError;
    #[pymodule_export]
    use crate::preprocess::preprocess;
    #[pymodule_export]
    use crate::runtime::{library_path, load_runtime, make_environment, runtime_build, runtime_version};
    #[pymodule_export]
    use crate::session::Session;
}
