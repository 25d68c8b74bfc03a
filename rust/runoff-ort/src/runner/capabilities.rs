//! What this runner can do.

use runoff_core::image::JPEG_DECODER;
use runoff_core::protocol::{Capabilities, Unavailable, VERSION};
use runoff_session::{
    Error, PRECISIONS, PREPARED, Runtime, Settings, library_from_env, providers, unavailable_providers,
};

/// Model formats that this runner supports.
pub(super) const FORMATS: [&str; 2] = ["onnx", PREPARED];

/// Settings of this runner in addition to those of its session.
const OWN_SETTINGS: [&str; 3] = ["teardown", "prepared", "overlap"];

/// All settings that have an effect.
pub(super) fn known_settings() -> Vec<&'static str> {
    [&Settings::NAMES[..], &OWN_SETTINGS].concat()
}

/// Capabilities of the runner `name` on this machine.
#[must_use]
pub fn capabilities(name: &str) -> Capabilities {
    let strings = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let mut capabilities = Capabilities {
        protocol: vec![VERSION],
        runner: name.into(),
        language: "rust".into(),
        runtime: "onnxruntime".into(),
        workloads: strings(&["classify", "tensor", "segment"]),
        formats: strings(&FORMATS),
        precisions: strings(&PRECISIONS),
        measures: strings(&["once", "latency", "accuracy", "turns", "operators", "mappings", "load"]),
        settings: strings(&known_settings()),
        image_decoder: Some(JPEG_DECODER.into()),
        computes: true,
        ..Capabilities::default()
    };
    let loaded = library_from_env().and_then(|library| Runtime::load(&library));
    match loaded.and_then(|runtime| Ok((runtime, providers()?, unavailable_providers()?))) {
        Ok((runtime, providers, lacking)) => {
            capabilities.providers = strings(&providers);
            capabilities.lacking = lacking;
            capabilities.version = runtime.version;
            capabilities.build = Some(runtime.build);
            capabilities.library = Some(runtime.library);
        }
        Err(Error { kind, message, hint, .. }) => capabilities.unavailable = Some(Unavailable { kind, message, hint }),
    }
    capabilities
}
