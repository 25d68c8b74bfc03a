//! Shared code of the tests with a real ONNX Runtime.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use runoff_session::{Environment, LIBRARY_VARIABLE, Runtime, library_from_env};

/// The environment of this test process.
pub fn environment() -> &'static Environment {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let library =
            library_from_env().unwrap_or_else(|error| panic!("set {LIBRARY_VARIABLE} for these tests: {error}"));
        Runtime::load(&library).expect("ONNX Runtime").make_environment().expect("an environment")
    })
}

/// Path of a file in `tests/data`.
pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}
