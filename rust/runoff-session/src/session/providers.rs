//! Execution providers: their names, their libraries, and their options in ONNX Runtime.

use std::collections::BTreeMap;
use std::path::Path;

use ort::ep::coreml::ComputeUnits;

use super::Device;
use crate::cuda::{self, Copies};
use crate::error::{Error, Kind};
use crate::runtime::{built_in_providers, loaded_from};

/// The provider that every build has.
pub const CPU: &str = "cpu";

/// Providers for Core ML, with their compute units.
pub(super) const COREML: [(&str, ComputeUnits); 4] = [
    ("coreml", ComputeUnits::All),
    ("coreml-cpu", ComputeUnits::CPUOnly),
    ("coreml-gpu", ComputeUnits::CPUAndGPU),
    ("coreml-ne", ComputeUnits::CPUAndNeuralEngine),
];

/// ONNX Runtime's name of the Core ML provider.
const COREML_BUILT_IN: &str = "CoreMLExecutionProvider";

/// A provider for NVIDIA's GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Nvidia {
    pub name: &'static str,
    built_in: &'static str,
    word: &'static str,
}

const NVIDIA: [Nvidia; 2] = [
    Nvidia { name: "cuda", built_in: "CUDAExecutionProvider", word: "CUDA" },
    Nvidia { name: "tensorrt", built_in: "TensorrtExecutionProvider", word: "TensorRT" },
];

/// ONNX Runtime's message if a provider does not support the entire model.
const REFUSED: &str = "fallback to CPU EP has been explicitly disabled";

/// ONNX Runtime's message for every failed call of NVIDIA's libraries: `CUDA failure 2: out of memory ; GPU=0 ; ...`.
const FAILURE: &str = " failure ";
const CUDA_FAILED: &str = " ; GPU=";

/// ONNX Runtime's message if its GPU memory pool cannot grow; a size follows.
const FULL: &str = "Failed to allocate memory for requested buffer of size ";

/// Prefix of messages of the `TensorRT` provider: `TensorRT EP failed to create engine from network ...`.
const NO_ENGINE: &str = "TensorRT EP ";

/// Providers of the loaded library that are available on this machine, by the names that
/// [`Settings::provider`](crate::Settings::provider) takes.
///
/// # Errors
///
/// `runtime-failed`.
///
/// # Panics
///
/// If no [`Runtime`](crate::Runtime) is loaded.
pub fn providers() -> Result<Vec<&'static str>, Error> {
    let built_in = built_in_providers()?;
    let nvidia = NVIDIA.iter().filter(|provider| provider.load(&built_in).is_ok()).map(|provider| provider.name);
    let is_coreml = built_in.iter().any(|name| name == COREML_BUILT_IN);
    let coreml = COREML.into_iter().filter(|_| is_coreml).map(|(name, _)| name);
    Ok(std::iter::once(CPU).chain(nvidia).chain(coreml).collect())
}

/// Reasons why `cuda` and `tensorrt` are unavailable on this machine, by provider. Available ones are not included.
///
/// # Errors
///
/// `runtime-failed`.
///
/// # Panics
///
/// As [`providers`].
pub fn unavailable_providers() -> Result<BTreeMap<String, String>, Error> {
    let built_in = built_in_providers()?;
    let reason = |provider: &Nvidia| provider.load(&built_in).err().map(|reason| (provider.name.to_owned(), reason));
    Ok(NVIDIA.iter().filter_map(reason).collect())
}

impl Nvidia {
    pub fn find(name: &str) -> Option<Self> {
        NVIDIA.into_iter().find(|provider| provider.name == name)
    }

    /// Loads the libraries of the provider, or returns the reason why it is unavailable; `built_in` lists the providers
    /// that ONNX Runtime was built with.
    fn load(self, built_in: &[String]) -> Result<Copies, String> {
        if built_in.iter().all(|name| name != self.built_in) {
            return Err(format!("this build of ONNX Runtime has no {} provider", self.word));
        }
        cuda::gpu()?;
        cuda::load(loaded_from().unwrap_or(Path::new("")), self.name == "tensorrt")
    }

    fn unusable(self, reason: &str) -> Error {
        let message = format!("settings.provider: '{}' cannot be used: {reason}", self.name);
        let hint = if reason.starts_with(NO_ENGINE) {
            "set provider = \"cuda\""
        } else {
            "docker run --gpus all ..., or set provider = \"cpu\""
        };
        Error::new(Kind::ProviderUnavailable, message, hint)
    }

    /// The error for a failure `detail` of the GPU or `TensorRT`. Out of memory does not mean that the provider is
    /// unavailable.
    pub fn failed(self, detail: &str) -> Error {
        if ["out of memory", FULL].iter().any(|words| detail.contains(words)) {
            let message = format!("settings.provider: '{}': {detail}", self.name);
            return Error::new(Kind::RuntimeFailed, message, "see what uses it: nvidia-smi");
        }
        self.unusable(detail)
    }
}

/// Checks that the provider `name` is available, and loads its libraries; returns its device.
///
/// # Errors
///
/// `provider-unavailable`, or `runtime-failed`.
pub(super) fn load(name: &str) -> Result<Device, Error> {
    // providers are not queried for the CPU: the query would be part of the measured time
    if name == CPU {
        return Ok(Device::HOST);
    }
    if let Some(provider) = Nvidia::find(name) {
        let copies = provider.load(&built_in_providers()?).map_err(|reason| provider.unusable(&reason))?;
        return Ok(Device::cuda(copies));
    }
    let known = providers()?;
    if known.contains(&name) {
        return Ok(Device::HOST);
    }
    let message = format!("provider {name:?} is not in this build (it has: {})", known.join(", "));
    Err(Error::new(Kind::ProviderUnavailable, message, "set provider = \"cpu\""))
}

/// The failure of a provider, if it is the reason why creating a session failed: the provider does not support the
/// entire model, or its device failed.
pub(super) fn refused(provider: &str, reason: &str) -> Option<Error> {
    if reason.contains(REFUSED) {
        let message = format!(
            "settings.provider: '{provider}' does not take every operation of this model, and CPU fallback is off"
        );
        let hint = "use another provider; a prepared model (.ort) is made for the CPU";
        return Some(Error::new(Kind::ProviderUnavailable, message, hint));
    }
    Nvidia::find(provider).zip(short_reason(reason)).map(|(provider, detail)| provider.failed(&detail))
}

/// ONNX Runtime's message, without source locations.
pub(super) fn in_short(reason: &str) -> String {
    short_reason(reason).unwrap_or_else(|| reason.rsplit(" : FAIL : ").next().unwrap_or_default().to_owned())
}

/// The part of a GPU or `TensorRT` failure that is relevant to the user, such as `CUDA failure 2: out of memory`.
fn short_reason(reason: &str) -> Option<String> {
    if let Some(place) = [FULL, NO_ENGINE].iter().find_map(|words| reason.find(words)) {
        return Some(reason[place..].to_owned());
    }
    let (before, after) = reason.split_once(FAILURE)?;
    let (words, _) = after.split_once(CUDA_FAILED)?;
    Some(format!("{}{FAILURE}{words}", before.split_ascii_whitespace().next_back()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_model_that_is_taken_in_part_is_a_refusal() {
        let raised = "This session contains graph nodes that are assigned to the default CPU EP, but fallback to CPU EP \
                    has been explicitly disabled by the user.";
        let error = refused("coreml", raised).expect("a refusal");
        assert_eq!(error.kind, Kind::ProviderUnavailable);
        assert!(error.message.contains("coreml"));
        assert_eq!(refused("coreml", "Load model failed: Protobuf parsing failed."), None);
    }

    #[test]
    fn a_gpu_that_fails_is_not_the_models_fault() {
        let raised = "cuda_call.cc:121 bool CudaCall() CUDA failure 2: out of memory ; GPU=0 ; hostname=h ; \
                    file=cuda_allocator.cc ; line=54 ; expr=cudaMalloc((void**)&p, size);";
        let error = refused("cuda", raised).expect("a failure");
        assert_eq!(error.kind, Kind::RuntimeFailed);
        assert_eq!(error.message, "settings.provider: 'cuda': CUDA failure 2: out of memory");
        let full = "Exception during initialization: bfc_arena.cc:376 AllocateRawInternal() Failed to allocate memory for \
                    requested buffer of size 67108864";
        let error = refused("tensorrt", full).expect("a failure");
        assert_eq!((error.kind, &*error.hint), (Kind::RuntimeFailed, "see what uses it: nvidia-smi"));
        let detail = "settings.provider: 'tensorrt': Failed to allocate memory for requested buffer of size 67108864";
        assert_eq!(error.message, detail);
        // the host's memory is not the GPU's
        assert_eq!(refused("cpu", full), None);
    }

    #[test]
    fn a_gpu_that_cannot_be_used_is_the_same_whenever_it_fails() {
        let raised = "cuda_call.cc:121 bool CudaCall() CUDNN failure 1001: CUDNN_STATUS_NOT_INITIALIZED ; GPU=0 ; hostname=h ; \
                    file=cuda_execution_provider.cc ; line=179 ; expr=cudnnCreate(&handle);";
        let error = refused("cuda", raised).expect("a failure");
        assert_eq!(error, NVIDIA[0].failed(&in_short(raised)));
        assert_eq!(error.kind, Kind::ProviderUnavailable);
        let detail = "settings.provider: 'cuda' cannot be used: CUDNN failure 1001: CUDNN_STATUS_NOT_INITIALIZED";
        assert_eq!(error.message, detail);
    }

    #[test]
    fn an_engine_that_cannot_be_built_is_not_the_models_fault() {
        for detail in [
            "TensorRT EP failed to create engine from network for fused node: a_0",
            "TensorRT EP could not build execution context for fused node: a_0",
        ] {
            let error =
                refused("tensorrt", &format!("[ONNXRuntimeError] : 11 : EP_FAIL : {detail}")).expect("a failure");
            assert_eq!((error.kind, &*error.hint), (Kind::ProviderUnavailable, "set provider = \"cuda\""));
            assert_eq!(error.message, format!("settings.provider: 'tensorrt' cannot be used: {detail}"));
        }
    }

    #[test]
    fn places_in_onnx_runtimes_own_code_are_left_out() {
        let missing = "/onnxruntime_src/provider_bridge_ort.cc:2043 onnxruntime::Provider& Get() [ONNXRuntimeError] : 1 : \
                       FAIL : Failed to load library libonnxruntime_providers_cuda.so with error: undefined symbol: x";
        let detail = "Failed to load library libonnxruntime_providers_cuda.so with error: undefined symbol: x";
        assert_eq!(in_short(missing), detail);
        let old = "/onnxruntime_src/cuda_execution_provider_info.cc:63 FromProviderOptions(...) [ONNXRuntimeError] : 1 : \
                   FAIL : Failed to parse provider option \"device_id\": CUDA failure 36: API call is not supported in the \
                   installed CUDA driver ; GPU=-1 ; hostname=h ; file=x.cc ; line=70 ; expr=cudaGetDeviceCount(&n);";
        assert_eq!(in_short(old), "CUDA failure 36: API call is not supported in the installed CUDA driver");
        assert_eq!(in_short("anything else"), "anything else");
    }

    #[test]
    fn what_is_lacking_is_said_in_order() {
        let [cuda, tensorrt] = NVIDIA;
        let reason = |provider: Nvidia, built_in: &[&str]| {
            provider.load(&built_in.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).map(drop)
        };
        let none = Err("this build of ONNX Runtime has no TensorRT provider".to_owned());
        assert_eq!(reason(tensorrt, &["CUDAExecutionProvider"]), none);
        // In a build that has it, the driver is queried next.
        if let Err(detail) = cuda::gpu() {
            assert_eq!(reason(cuda, &["CUDAExecutionProvider"]), Err(detail.to_owned()));
        }
    }

    #[test]
    fn a_provider_that_cannot_be_used_is_one_line() {
        let error = NVIDIA[0].unusable("no NVIDIA driver (libcuda.so.1 not found)");
        assert_eq!(error.kind, Kind::ProviderUnavailable);
        assert_eq!(
            error.to_string(),
            "settings.provider: 'cuda' cannot be used: no NVIDIA driver (libcuda.so.1 not found) \
             (docker run --gpus all ..., or set provider = \"cpu\")"
        );
    }
}
