//! The extension module `runoff_ort`: converts between Python and `runoff_session` and `runoff_core`,
//! which do the work.
//!
//! The stub, `python/runoff_ort/__init__.pyi`, documents what Python sees.

#![deny(unsafe_code)]
#![allow(clippy::doc_markdown, reason = "the stub's documentation is in Python's manner")]

// `stub!("Session.run")` is the documentation of that method in the stub; see `build.rs`.
include!(concat!(env!("OUT_DIR"), "/stub.rs"));

mod arguments;
mod array;
mod binding;
mod call;
mod describe;
mod dlpack;
mod environ;
mod errors;
mod feeds;
mod held;
mod initializers;
mod interpreter;
mod named;
mod on_device;
mod options;
mod order;
mod output;
mod preprocess;
mod quick;
mod runtime;
mod segmenter;
mod session;
mod settings;
mod targets;

use pyo3::prelude::*;
use runoff_core::image::JPEG_DECODER;

#[doc = stub!("")]
// Sound without a GIL: all classes are frozen, and what is shared is constant or behind a lock.
#[pymodule(gil_used = false)]
fn runoff_ort(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // Before any type is made: types are made once in a process, for the first interpreter that imports the module.
    interpreter::must_be_main(module.py())?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("JPEG_DECODER", JPEG_DECODER)?;
    module.add("PROFILES", settings::profiles(module.py())?)?;
    module.add("RunoffOrtError", module.py().get_type::<errors::RunoffOrtError>())?;
    for (name, class) in errors::Classes::get(module.py())?.iter() {
        module.add(*name, class)?;
    }
    module.add_class::<binding::Binding>()?;
    module.add_class::<describe::Metadata>()?;
    module.add_class::<on_device::DeviceBinding>()?;
    module.add_class::<dlpack::DeviceTensor>()?;
    module.add_class::<describe::TensorInfo>()?;
    module.add_class::<options::RunOptions>()?;
    module.add_class::<segmenter::Segmenter>()?;
    module.add_class::<session::Session>()?;
    module.add_function(wrap_pyfunction!(preprocess::preprocess, module)?)?;
    module.add_function(wrap_pyfunction!(runtime::create_environment, module)?)?;
    module.add_function(wrap_pyfunction!(runtime::library_path, module)?)?;
    module.add_function(wrap_pyfunction!(runtime::load_runtime, module)?)?;
    module.add_function(wrap_pyfunction!(runtime::prepare, module)?)?;
    module.add_function(wrap_pyfunction!(runtime::providers, module)?)?;
    module.add_function(wrap_pyfunction!(runtime::runtime_build, module)?)?;
    module.add_function(wrap_pyfunction!(runtime::runtime_version, module)?)?;
    module.add_function(wrap_pyfunction!(runtime::unavailable_providers, module)?)?;
    // Their first names.
    module.add("lacking", module.getattr("unavailable_providers")?)?;
    module.add("make_environment", module.getattr("create_environment")?)
}
