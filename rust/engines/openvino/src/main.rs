//! `runoff-openvino`: a runner on OpenVINO, whose library is loaded from the wheel of `openvino-python`.

#![deny(unsafe_code)]

mod import;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use memmap2::Mmap;
use openvino::{
    CompiledModel, Core, DeviceType, Dimension, ElementType, InferRequest, InferenceError, InferenceErrorKind, Model,
    Node, PartialShape, PropertyKey, RwPropertyKey, Tensor,
};
use runoff_core::clock::Phases;
use runoff_core::protocol::{Effective, Request};
use runoff_core::tensor_file::unsupported;
use runoff_runner::{
    Description, Engine, Input, MAPPED_MODEL, check_inputs, find_by_shapes, no_output, unreadable, unsupported_model,
};
use runoff_session::{Dtype, Error, Kind, RawTensor, TensorSpec};

/// The variable with the path of OpenVINO's C library.
const LIBRARY: &str = "RUNOFF_OPENVINO_DYLIB";

/// The format of files that `openvino-python` prepares: the compiled model, for fixed shapes.
const COMPILED: &str = "openvino";

/// Words of OpenVINO's messages that name operators which it does not have.
const UNSUPPORTED: [&str; 3] = [
    "does not support the following ONNX operations",
    "No conversion rule found for operations",
    "Model wasn't fully converted",
];

/// A model, compiled for each set of shapes.
struct OpenVino {
    inputs: Vec<TensorSpec>,
    /// Names of the outputs to report.
    outputs: Vec<String>,
    compiled: Vec<(Vec<TensorSpec>, Compiled)>,
    /// Index of the one that computed last.
    latest: usize,
    _core: Core,
    /// The file that a prepared model uses in place.
    mapped: Option<Mmap>,
}

struct Compiled {
    request: InferRequest,
    model: CompiledModel,
    place: usize,
}

impl Engine for OpenVino {
    const RUNNER: &'static str = "openvino-rust";
    const RUNTIME: &'static str = "openvino";
    const FORMATS: &'static [&'static str] = &["onnx", COMPILED];

    fn describe() -> Result<Description, Error> {
        let library = load_library()?;
        let version = openvino::version().build_number;
        // 2026.4.1-22070-0f1f0ab5a0f-releases/2026/4
        let number = version.split('-').next().unwrap_or_default().to_owned();
        Ok(Description { version: number, build: Some(version), library: Some(library) })
    }

    fn open(request: &Request, shapes: &[Vec<TensorSpec>], phases: &mut Phases) -> Result<Self, Error> {
        load_library()?;
        phases.mark("runtime");
        let mut core = Core::new().map_err(|error| {
            let hint = "create its environment again: nox -s openvino";
            Error::new(Kind::RuntimeMissing, format!("OpenVINO does not start: {error}"), hint)
        })?;
        phases.mark("environment");
        set_properties(&mut core, request).map_err(|error| {
            let message = format!("settings.threads: OpenVINO rejected the properties: {}", reason(&error));
            Error::new(Kind::RuntimeFailed, message, "use fewer threads")
        })?;
        if request.model.format == COMPILED {
            open_compiled(core, request, shapes)
        } else {
            compile(core, request, shapes)
        }
    }

    fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    fn run(&mut self, inputs: &[Input]) -> Result<(), Error> {
        let Compiled { request, place, .. } = find_by_shapes(&mut self.compiled, inputs)?;
        for input in inputs {
            let mut tensor = request.get_tensor(input.name()).map_err(|error| failed(&error))?;
            tensor.get_raw_data_mut().map_err(|error| failed(&error))?.copy_from_slice(input.bytes());
        }
        let done = request.infer().map_err(|error| failed(&error));
        self.latest = *place;
        done
    }

    fn outputs(&self) -> Result<Vec<(String, RawTensor)>, Error> {
        let request = &self.compiled[self.latest].1.request;
        let copy = |name: &String| {
            let tensor = request.get_tensor(name).map_err(|error| failed(&error))?;
            let kind = tensor.get_element_type().map_err(|error| failed(&error))?;
            let dtype = dtype(kind).ok_or_else(|| unsupported("output", name, &format!("{kind:?}")))?;
            let bytes = tensor.get_raw_data().map_err(|error| failed(&error))?.to_vec();
            Ok((name.clone(), RawTensor { dtype, shape: dims(&tensor)?, bytes }))
        };
        self.outputs.iter().map(copy).collect()
    }

    fn effective(&self) -> Effective {
        let model = &self.compiled[self.latest].1.model;
        let property = |key| model.get_property(&PropertyKey::Rw(key)).ok();
        let precision = property(RwPropertyKey::HintInferencePrecision).map(|hint| match &*hint {
            "f32" => "fp32".to_owned(),
            "f16" => "fp16".to_owned(),
            other => other.to_owned(),
        });
        // two more threads wait: the caller, and one that would call back
        let threads = property(RwPropertyKey::InferenceNumThreads).and_then(|threads| threads.parse().ok());
        let practices = self.mapped.iter().map(|_| MAPPED_MODEL.to_owned()).collect();
        Effective { precision, threads, practices, ..Effective::default() }
    }
}

/// Reads an ONNX file, and compiles it for each set of shapes.
fn compile(mut core: Core, request: &Request, shapes: &[Vec<TensorSpec>]) -> Result<OpenVino, Error> {
    let failure = |error: InferenceError| failure(request, &error);
    let mut model = core.read_model_from_file(&request.model.path.to_string_lossy(), "").map_err(failure)?;
    let inputs = (0..model.get_inputs_len().map_err(failure)?)
        .map(|place| spec(&model.get_input_by_index(place)?, request, |name| import::input_by_name(&model, name)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failure)?;
    check_inputs(&inputs, &request.model.inputs)?;
    let mut compiled = Vec::with_capacity(shapes.len());
    for (place, specs) in shapes.iter().enumerate() {
        // as its users do: a model of fixed shapes is optimised further
        fix_shapes(&mut model, specs).map_err(failure)?;
        let mut model = core.compile_model(&model, DeviceType::CPU).map_err(failure)?;
        let request = model.create_infer_request().map_err(failure)?;
        compiled.push((specs.clone(), Compiled { request, model, place }));
    }
    let outputs = outputs(&compiled[0].1.model, request)?;
    Ok(OpenVino { inputs, outputs, compiled, latest: 0, _core: core, mapped: None })
}

/// Loads a compiled model, which is for one set of shapes.
fn open_compiled(core: Core, request: &Request, shapes: &[Vec<TensorSpec>]) -> Result<OpenVino, Error> {
    let failure = |error: InferenceError| failure(request, &error);
    let [shapes] = shapes else {
        let message = "model.path: was compiled for one set of shapes, and the request has more";
        return Err(Error::new(Kind::ModelMismatch, message, "set prepared = false"));
    };
    let (mapped, mut model) = import::import(&core, &request.model.path).map_err(failure)?;
    let inputs = (0..model.get_input_size().map_err(failure)?)
        .map(|place| spec(&model.get_input_by_index(place)?, request, |name| model.get_input_by_name(name)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failure)?;
    check_inputs(&inputs, shapes)?;
    let outputs = outputs(&model, request)?;
    let compiled = Compiled { request: model.create_infer_request().map_err(failure)?, model, place: 0 };
    let compiled = vec![(shapes.clone(), compiled)];
    Ok(OpenVino { inputs, outputs, compiled, latest: 0, _core: core, mapped: Some(mapped) })
}

/// Names of the outputs that the request names, or all. An output may have several names, and is found by any of them.
fn outputs(model: &CompiledModel, request: &Request) -> Result<Vec<String>, Error> {
    let names = || -> Result<Vec<_>, InferenceError> {
        (0..model.get_output_size()?).map(|place| model.get_output_by_index(place)?.get_name()).collect()
    };
    let names = names().map_err(|error| failure(request, &error))?;
    let wanted = &request.model.outputs;
    if let Some(unknown) = wanted.iter().find(|spec| model.get_output_by_name(&spec.name).is_err()) {
        return Err(no_output(&unknown.name, &names));
    }
    Ok(if wanted.is_empty() { names } else { wanted.iter().map(|spec| spec.name.clone()).collect() })
}

/// Loads OpenVINO's C library; returns its path.
fn load_library() -> Result<PathBuf, Error> {
    let missing =
        |message: String| Error::new(Kind::RuntimeMissing, message, "create its environment: nox -s openvino");
    let path = env::var_os(LIBRARY).map(PathBuf::from).ok_or_else(|| missing(format!("{LIBRARY} is not set")))?;
    openvino_sys::library::load_from(&path).map_err(|error| missing(format!("{LIBRARY}: {error}")))?;
    Ok(path)
}

/// One stream on as many threads as requested, in float32 products: on CPUs with AMX or AVX-512 BF16 the default is
/// bfloat16. `LATENCY` is OpenVINO's hint for one inference at a time.
fn set_properties(core: &mut Core, request: &Request) -> Result<(), InferenceError> {
    let threads = request.settings.threads.to_string();
    core.set_properties(
        &DeviceType::CPU,
        [
            (RwPropertyKey::HintPerformanceMode, "LATENCY"),
            (RwPropertyKey::HintInferencePrecision, "f32"),
            (RwPropertyKey::NumStreams, "1"),
            (RwPropertyKey::InferenceNumThreads, &threads),
            // as in all other runtimes
            (RwPropertyKey::Other("CPU_DENORMALS_OPTIMIZATION".into()), "NO"),
        ],
    )
}

/// Fixes the dimensions of the inputs. Scalars have none, and OpenVINO's C API makes no shape of rank 0 (`InvalidCParam`).
fn fix_shapes(model: &mut Model, inputs: &[TensorSpec]) -> Result<(), InferenceError> {
    let inputs: Vec<_> = inputs.iter().filter(|spec| !spec.shape.is_empty()).collect();
    if inputs.is_empty() {
        return Ok(());
    }
    let shape = |spec: &&TensorSpec| {
        // from -1 to -1: any size
        let sizes = spec.shape.iter().map(|size| size.and_then(|size| i64::try_from(size).ok()).unwrap_or(-1));
        let sizes: Vec<_> = sizes.map(|size| Dimension::new(size, size)).collect();
        PartialShape::new(i64::try_from(sizes.len()).unwrap_or_default(), &sizes)
    };
    let shapes = inputs.iter().map(shape).collect::<Result<Vec<_>, _>>()?;
    let named: Vec<_> = inputs.iter().map(|spec| spec.name.as_str()).zip(&shapes).collect();
    model.reshape(&named)
}

/// An input of a model. Of several names it has the one that the request uses, which `find` finds the same input by.
fn spec(
    node: &Node,
    request: &Request,
    find: impl Fn(&str) -> Result<Node, InferenceError>,
) -> Result<TensorSpec, InferenceError> {
    let own = node.get_name()?;
    let is_own = |name: &&String| find(name).and_then(|node| node.get_name()).is_ok_and(|name| name == own);
    let name = request.model.inputs.iter().map(|spec| &spec.name).find(is_own).unwrap_or(&own).clone();
    let kind = node.get_element_type()?;
    let size = |dim: &Dimension| if dim.is_dynamic() { None } else { usize::try_from(dim.get_min()).ok() };
    Ok(TensorSpec {
        name,
        dtype: dtype(kind).map_or_else(|| format!("{kind:?}"), |dtype| dtype.name().to_owned()),
        shape: node.get_partial_shape()?.get_dimensions().iter().map(size).collect(),
    })
}

fn dims(tensor: &Tensor) -> Result<Vec<usize>, Error> {
    let shape = match tensor.get_shape() {
        // a scalar: the C API makes no shape of rank 0
        Err(error) if error.kind == InferenceErrorKind::InvalidCParam => return Ok(Vec::new()),
        shape => shape.map_err(|error| failed(&error))?,
    };
    Ok(shape.get_dimensions().iter().map(|&size| usize::try_from(size).unwrap_or_default()).collect())
}

/// OpenVINO's element types, and those of tensors on disk.
const TYPES: [(ElementType, Dtype); 12] = [
    (ElementType::Boolean, Dtype::Bool),
    (ElementType::F16, Dtype::Float16),
    (ElementType::F32, Dtype::Float32),
    (ElementType::F64, Dtype::Float64),
    (ElementType::I8, Dtype::Int8),
    (ElementType::I16, Dtype::Int16),
    (ElementType::I32, Dtype::Int32),
    (ElementType::I64, Dtype::Int64),
    (ElementType::U8, Dtype::Uint8),
    (ElementType::U16, Dtype::Uint16),
    (ElementType::U32, Dtype::Uint32),
    (ElementType::U64, Dtype::Uint64),
];

fn dtype(kind: ElementType) -> Option<Dtype> {
    TYPES.iter().find(|(own, _)| *own == kind).map(|(_, dtype)| *dtype)
}

/// The failure to load a model: an operator that OpenVINO does not have, or an invalid file.
fn failure(request: &Request, error: &InferenceError) -> Error {
    let reason = reason(error);
    if UNSUPPORTED.iter().any(|words| reason.contains(words)) {
        return unsupported_model(request, &format!("OpenVINO {reason}"));
    }
    unreadable(request, &reason)
}

fn failed(error: &InferenceError) -> Error {
    runoff_runner::failed(&format!("OpenVINO failed: {}", reason(error)))
}

/// OpenVINO's message in one line, without the places in its source.
fn reason(error: &InferenceError) -> String {
    let text = error.message.clone().unwrap_or_else(|| format!("{:?}", error.kind));
    let is_place = |line: &&str| ["Exception from ", "Check '", "[ "].iter().any(|start| line.starts_with(start));
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let reasons: Vec<_> = lines.iter().copied().filter(|line| !is_place(line)).collect();
    let text = if reasons.is_empty() { lines.join(" ") } else { reasons.join(" ") };
    text.chars().take(500).collect()
}

// With mimalloc behind `malloc`, OpenVINO 2026.4.1 ends with "free(): invalid pointer": this program has the system's
// allocator.
fn main() -> ExitCode {
    runoff_runner::main::<OpenVino>(|| ())
}
