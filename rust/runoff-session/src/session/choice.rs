//! Providers in order of preference, each with options.

use std::fmt::Debug;

use ort::ep::coreml::ModelFormat;
use ort::ep::{
    ArbitrarilyConfigurableExecutionProvider as Configurable, CUDA, CoreML, ExecutionProviderDispatch, TensorRT,
};
use ort::session::builder::SessionBuilder;

use super::Device;
use super::providers::{self, COREML, CPU, Nvidia, in_short};
use crate::cuda;
use crate::error::{Error, Kind};
use crate::settings::Settings;

/// Name of the free dimension in the models that runoff exports.
const BATCH: &str = "batch";

/// The option of NVIDIA's providers that selects a GPU.
const DEVICE_ID: &str = "device_id";

/// A provider that a session may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Name, as in [`Settings::provider`].
    pub name: String,
    /// Options, by ONNX Runtime's names.
    pub options: Vec<(String, String)>,
}

impl Choice {
    /// The provider `name` without options, and what else it needs: CUDA takes what `TensorRT` leaves.
    #[must_use]
    pub fn alone(name: &str) -> Vec<Self> {
        let names = if name == "tensorrt" { vec![name, "cuda"] } else { vec![name] };
        names.into_iter().map(|name| Self { name: name.to_owned(), options: Vec::new() }).collect()
    }

    fn check(&self, others: &[Self]) -> Result<(), Error> {
        if self.name == CPU && !self.options.is_empty() {
            return Err(wrong("'cpu' has no options"));
        }
        if others.iter().any(|other| other.name == self.name) {
            return Err(wrong(&format!("'{}' is named twice", self.name)));
        }
        if others.iter().any(|other| other.name == CPU) {
            return Err(wrong(&format!("'{}' follows 'cpu', which takes every operation", self.name)));
        }
        if self.options.iter().any(|(name, value)| name.contains('\0') || value.contains('\0')) {
            return Err(wrong(&format!("an option of '{}' contains a NUL character", self.name)));
        }
        self.device_id().map(drop)
    }

    /// The GPU that the options select.
    fn device_id(&self) -> Result<i32, Error> {
        let Some((_, given)) = self.options.iter().find(|(name, _)| name == DEVICE_ID) else {
            return Ok(cuda::DEVICE);
        };
        let bad = || wrong(&format!("'{}': device_id is {given:?}, not the number of a GPU", self.name));
        given.parse().ok().filter(|&id| id >= 0).ok_or_else(bad)
    }

    /// The provider, with its options; `None` for the CPU's, which needs nothing.
    fn build(&self) -> Option<ExecutionProviderDispatch> {
        let built = match self.name.as_str() {
            "cuda" => self.configured(cuda_provider()).build(),
            "tensorrt" => self.configured(TensorRT::default().with_device_id(cuda::DEVICE)).build(),
            name => {
                let (_, units) = COREML.into_iter().find(|(own, _)| *own == name)?;
                let provider = CoreML::default().with_model_format(ModelFormat::MLProgram).with_compute_units(units);
                self.configured(provider).build()
            }
        };
        Some(built.error_on_failure())
    }

    fn configured<P: Configurable + Debug>(&self, provider: P) -> P {
        self.options.iter().fold(provider, |provider, (name, value)| provider.with_arbitrary_config(name, value))
    }
}

fn wrong(message: &str) -> Error {
    let hint = "name each provider once, with options that it has, and the CPU's last";
    Error::new(Kind::BadRequest, format!("settings.provider: {message}"), hint)
}

/// Without TF32, which rounds what goes into a product to 10 bits: float32 is float32 in every runtime. cuDNN's graphs and
/// `TensorRT` ignore this option: the environment variable `NVIDIA_TF32_OVERRIDE=0` is for them.
fn cuda_provider() -> CUDA {
    CUDA::default().with_device_id(cuda::DEVICE).with_tf32(false)
}

/// Checks that all `choices` can be used, and loads what they need; returns where tensors are, the memory of the first.
///
/// # Errors
///
/// `bad-request`, `provider-unavailable`, or `runtime-failed`.
pub(super) fn load(choices: &[Choice]) -> Result<Device, Error> {
    let Some(first) = choices.first() else {
        return Err(wrong("the list is empty"));
    };
    for (place, choice) in choices.iter().enumerate() {
        choice.check(&choices[..place])?;
    }
    let device = providers::load(&first.name)?;
    choices[1..].iter().try_for_each(|choice| providers::load(&choice.name).map(drop))?;
    Ok(device.at(first.device_id()?))
}

/// Adds the providers that are not the CPU's. Where the CPU's is not among them, the batch is fixed, and nothing may run
/// elsewhere.
///
/// # Errors
///
/// `provider-unavailable` for ONNX Runtime's failures with NVIDIA's, `runtime-failed` for the rest, and for memory that
/// runs out.
pub(super) fn add(builder: SessionBuilder, settings: &Settings, choices: &[Choice]) -> Result<SessionBuilder, Error> {
    let may_fall_back = choices.iter().any(|choice| choice.name == CPU);
    let added: Vec<_> = choices.iter().filter_map(Choice::build).collect();
    let nvidia = choices.iter().find_map(|choice| Nvidia::find(&choice.name));
    let with = || {
        let builder = if may_fall_back { builder } else { alone(builder, settings)? };
        Ok(if added.is_empty() { builder } else { builder.with_execution_providers(added)? })
    };
    with().map_err(|error: ort::Error| match nvidia {
        Some(provider) => provider.failed(&in_short(error.message())),
        None => Error::runtime("applying the settings", &error),
    })
}

fn alone(builder: SessionBuilder, settings: &Settings) -> ort::Result<SessionBuilder> {
    let batch = i64::try_from(settings.batch.get()).unwrap_or(i64::MAX);
    let builder = if settings.keep_batch_free { builder } else { builder.with_dimension_override(BATCH, batch)? };
    Ok(builder.with_disable_cpu_fallback()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(name: &str, options: &[(&str, &str)]) -> Choice {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Choice { name: name.to_owned(), options }
    }

    #[test]
    fn cuda_takes_what_tensorrt_leaves() {
        let names = |name: &str| {
            let built = Choice::alone(name).iter().filter_map(Choice::build).collect::<Vec<_>>();
            built.iter().map(ExecutionProviderDispatch::name).collect::<Vec<_>>()
        };
        assert_eq!(names("cuda"), ["CUDAExecutionProvider"]);
        assert_eq!(names("tensorrt"), ["TensorrtExecutionProvider", "CUDAExecutionProvider"]);
        assert_eq!(names("coreml-gpu"), ["CoreMLExecutionProvider"]);
        assert!(names("cpu").is_empty());
    }

    #[test]
    fn options_replace_the_defaults() {
        let shown = |options: &[(&str, &str)]| format!("{:?}", choice("cuda", options).configured(cuda_provider()));
        let replaced = shown(&[("device_id", "7"), ("gpu_mem_limit", "1000")]);
        assert!(shown(&[]).contains("\"device_id\"") && !shown(&[]).contains("\"7\""), "{}", shown(&[]));
        for part in ["\"device_id\"", "\"7\"", "\"gpu_mem_limit\"", "\"1000\"", "\"use_tf32\""] {
            assert!(replaced.contains(part), "{replaced}");
        }
        assert_eq!(replaced.matches("device_id").count(), 1);
    }

    #[test]
    fn lists_that_cannot_be_meant_are_refused_before_anything_is_loaded() {
        for (choices, word) in [
            (vec![], "the list is empty"),
            (vec![choice("cpu", &[("arena", "1")])], "'cpu' has no options"),
            (vec![choice("cuda", &[]), choice("cuda", &[])], "'cuda' is named twice"),
            (vec![choice("cpu", &[]), choice("cuda", &[])], "'cuda' follows 'cpu'"),
            (vec![choice("cuda", &[("a\0", "b")])], "NUL"),
            (vec![choice("cuda", &[(DEVICE_ID, "-1")])], "device_id is \"-1\""),
            (vec![choice("tensorrt", &[(DEVICE_ID, "one")])], "device_id is \"one\""),
        ] {
            let error = load(&choices).map(drop).expect_err(word);
            assert_eq!(error.kind, Kind::BadRequest);
            assert!(error.message.contains(word), "{error}");
        }
        assert_eq!(choice("cuda", &[(DEVICE_ID, "3")]).device_id(), Ok(3));
    }
}
