//! Execution providers: their names in the protocol, and what ONNX Runtime is told of them.

use ort::ep::CoreML;
use ort::ep::coreml::{ComputeUnits, ModelFormat};
use ort::session::builder::SessionBuilder;

use crate::error::{Error, Kind};
use crate::protocol::Settings;
use crate::runtime::built_in_providers;

const CPU: &str = "cpu";

/// Core ML's, by the compute units that it may use.
const COREML: [(&str, ComputeUnits); 4] = [
    ("coreml", ComputeUnits::All),
    ("coreml-cpu", ComputeUnits::CPUOnly),
    ("coreml-gpu", ComputeUnits::CPUAndGPU),
    ("coreml-ne", ComputeUnits::CPUAndNeuralEngine),
];

/// ONNX Runtime's name of it.
const COREML_BUILT_IN: &str = "CoreMLExecutionProvider";

/// Name of the free dimension in the models that runoff exports.
const BATCH: &str = "batch";

/// What ONNX Runtime says when a provider does not take the whole model.
const REFUSED: &str = "fallback to CPU EP has been explicitly disabled";

/// Providers of the loaded library, by their names in the protocol.
///
/// # Errors
///
/// `runtime-failed`.
///
/// # Panics
///
/// When no [`Runtime`](crate::runtime::Runtime) was loaded before.
pub fn providers() -> Result<Vec<&'static str>, Error> {
    let built_in = built_in_providers()?;
    let coreml = built_in.iter().any(|name| name == COREML_BUILT_IN);
    let more = COREML.into_iter().filter(|_| coreml).map(|(name, _)| name);
    Ok(std::iter::once(CPU).chain(more).collect())
}

/// Checks that the loaded library has the provider `name`.
///
/// # Errors
///
/// `provider-unavailable`, or `runtime-failed`.
pub(super) fn check(name: &str) -> Result<(), Error> {
    // what every build has is not asked for: it would be part of what is measured
    if name == CPU {
        return Ok(());
    }
    let known = providers()?;
    if known.contains(&name) {
        return Ok(());
    }
    let message = format!("provider {name:?} is not in this build (it has: {})", known.join(", "));
    Err(Error::new(Kind::ProviderUnavailable, message, "set provider = \"cpu\""))
}

/// Adds the provider that `settings` ask for, unless that is the CPU, which needs nothing.
///
/// Its shapes are fixed, and nothing may run elsewhere.
pub(super) fn add(builder: SessionBuilder, settings: &Settings) -> ort::Result<SessionBuilder> {
    let Some((_, units)) = COREML.into_iter().find(|(name, _)| *name == settings.provider) else {
        return Ok(builder);
    };
    let batch = i64::try_from(settings.batch.get()).unwrap_or(i64::MAX);
    let coreml = CoreML::default().with_model_format(ModelFormat::MLProgram).with_compute_units(units);
    let builder = builder.with_dimension_override(BATCH, batch)?.with_disable_cpu_fallback()?;
    Ok(builder.with_execution_providers([coreml.build().error_on_failure()])?)
}

/// The failure of a provider that does not take the whole model, when that is why no session was made.
pub(super) fn refused(provider: &str, reason: &str) -> Option<Error> {
    let message = format!("provider {provider:?} does not take every operation of this model");
    let hint = "use another provider: the CPU must not help out";
    reason.contains(REFUSED).then(|| Error::new(Kind::ProviderUnavailable, message, hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_model_that_is_taken_in_part_is_a_refusal() {
        let said = "This session contains graph nodes that are assigned to the default CPU EP, but fallback to CPU EP \
                    has been explicitly disabled by the user.";
        let error = refused("coreml", said).expect("a refusal");
        assert_eq!(error.kind, Kind::ProviderUnavailable);
        assert!(error.message.contains("coreml"));
        assert_eq!(refused("coreml", "Load model failed: Protobuf parsing failed."), None);
    }
}
