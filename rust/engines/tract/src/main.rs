//! `runoff-tract`: a runner on tract.

#![forbid(unsafe_code)]

mod profile;

use std::path::PathBuf;
use std::process::ExitCode;

use bytemuck::cast_slice;
use runoff_core::clock::Phases;
use runoff_core::protocol::{Effective, Measure, Request, bad_request};
use runoff_core::tensor_file;
use runoff_runner::{
    Description, Engine, Input, check_inputs, choose_outputs, failed, find_by_shapes, pinned_version, unsupported_model,
};
use runoff_session::{Dtype, Error, Kind, RawTensor, TensorSpec};
use tract_extra::WithTractExtra;
use tract_linalg::multithread::{Executor, current_tract_executor, set_default_executor};
use tract_onnx::WithOnnx;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::plan::SimpleState;
use tract_onnx::tract_hir::infer::Factoid;
use tract_transformers::WithTractTransformers;

use profile::Profile;

/// The format of files that `tract-python` prepares: the simplified model, for fixed shapes.
const NNEF: &str = "nnef";

type State = SimpleState<TypedFact, Box<dyn TypedOp>>;

/// A model and its latest outputs.
struct Tract {
    /// By the shapes of the inputs.
    states: Vec<(Vec<TensorSpec>, State)>,
    inputs: Vec<TensorSpec>,
    /// Names and places of the outputs to report.
    outputs: Vec<(String, usize)>,
    latest: TVec<TValue>,
    /// In the measure `operators`.
    profile: Option<Profile>,
}

impl Engine for Tract {
    const RUNNER: &'static str = "tract-rust";
    const RUNTIME: &'static str = "tract";
    const FORMATS: &'static [&'static str] = &["onnx", NNEF];
    const HAS_PROFILER: bool = true;

    fn describe() -> Result<Description, Error> {
        let version = pinned_version(include_str!("../Cargo.toml"), "tract-onnx");
        Ok(Description { version, ..Description::default() })
    }

    fn open(request: &Request, shapes: &[Vec<TensorSpec>], _phases: &mut Phases) -> Result<Self, Error> {
        let threads = request.settings.threads.get();
        if threads > 1 {
            set_default_executor(Executor::multithread(threads));
        }
        let ((inputs, outputs, states), sources) = if request.model.format == NNEF {
            (load_nnef(request, shapes)?, Vec::new())
        } else {
            load_onnx(request, shapes)?
        };
        let profile = matches!(request.measure, Measure::Operators(_))
            .then(|| Profile::new(request.outputs_dir.join("profile.json"), sources));
        Ok(Self { states, inputs, outputs, latest: TVec::new(), profile })
    }

    fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    fn run(&mut self, inputs: &[Input]) -> Result<(), Error> {
        let values = inputs.iter().map(value).collect::<Result<TVec<_>, _>>()?;
        let state = find_by_shapes(&mut self.states, inputs)?;
        let outputs = match &mut self.profile {
            Some(profile) => profile.run(state, values),
            None => state.run(values),
        };
        self.latest = outputs.map_err(|error| failed(&format!("tract failed: {}", reason(&error))))?;
        Ok(())
    }

    fn outputs(&self) -> Result<Vec<(String, RawTensor)>, Error> {
        self.outputs.iter().map(|(name, place)| Ok((name.clone(), copy(name, &self.latest[*place])?))).collect()
    }

    fn end_profile(&mut self) -> Result<PathBuf, Error> {
        let profile = self.profile.as_ref().ok_or_else(|| bad_request("measure.kind: nothing was profiled"))?;
        profile.write()
    }

    fn effective(&self) -> Effective {
        let threads =
            if let Executor::MultiThread(pool) = current_tract_executor() { pool.current_num_threads() } else { 1 };
        Effective { threads: Some(threads), ..Effective::default() }
    }
}

/// Inputs, outputs with their places, and a state for each set of shapes.
type Loaded = (Vec<TensorSpec>, Vec<(String, usize)>, Vec<(Vec<TensorSpec>, State)>);

/// Loads an ONNX file, and optimises it for each set of shapes; also returns the names of the file's nodes.
fn load_onnx(request: &Request, shapes: &[Vec<TensorSpec>]) -> Result<(Loaded, Vec<String>), Error> {
    let model = tract_onnx::onnx().model_for_path(&request.model.path).map_err(|error| unreadable(request, &error))?;
    let inputs = specs(&model);
    check_inputs(&inputs, &request.model.inputs)?;
    let names: Vec<_> = model.outputs.iter().map(|&outlet| output_name(&model, outlet)).collect();
    let outputs = choose_outputs(&request.model.outputs, &names)?;
    let state = |specs: &Vec<TensorSpec>| Ok((specs.clone(), optimize(model.clone(), specs)?));
    let states = shapes.iter().map(state).collect::<TractResult<_>>().map_err(|error| unsupported(request, &error))?;
    let nodes = model.nodes.into_iter().map(|node| node.name).collect();
    Ok(((inputs, outputs, states), nodes))
}

/// Loads a prepared file, which is for one set of shapes. It has all outputs of the model, in its order, but not always
/// their names: a request that uses others has to name all of them in this order.
fn load_nnef(request: &Request, shapes: &[Vec<TensorSpec>]) -> Result<Loaded, Error> {
    let nnef = tract_nnef::nnef().with_onnx().with_tract_extra().with_tract_transformers();
    let model = nnef.model_for_path(&request.model.path).map_err(|error| unreadable(request, &error))?;
    let mismatch = |message: String| Error::new(Kind::ModelMismatch, message, "set prepared = false");
    let (wanted, found) = (&request.model.outputs, model.outputs.len());
    let label = |&outlet: &OutletId| model.outlet_label(outlet).unwrap_or_default().to_owned();
    let labels: Vec<_> = model.outputs.iter().map(label).collect();
    let outputs = if !wanted.is_empty() && wanted.iter().all(|spec| labels.contains(&spec.name)) {
        choose_outputs(wanted, &labels)?
    } else if wanted.len() == found {
        wanted.iter().map(|spec| spec.name.clone()).zip(0..).collect()
    } else {
        return Err(mismatch(format!("model.outputs: names {}; the prepared file has {found}", wanted.len())));
    };
    let [shapes] = shapes else {
        return Err(mismatch("model.path: was prepared for one set of shapes, and the request has more".to_owned()));
    };
    let inputs = model.inputs.iter().map(|&outlet| typed_spec(&model, outlet)).collect::<Vec<_>>();
    check_inputs(&inputs, shapes)?;
    let state = model.into_optimized().and_then(IntoRunnable::into_runnable).and_then(|plan| plan.spawn());
    Ok((inputs, outputs, vec![(shapes.clone(), state.map_err(|error| unsupported(request, &error))?)]))
}

fn unsupported(request: &Request, error: &TractError) -> Error {
    unsupported_model(request, &format!("tract does not support the model: {}", reason(error)))
}

/// An input of a prepared file.
fn typed_spec(model: &TypedModel, outlet: OutletId) -> TensorSpec {
    let fact = model.outlet_fact(outlet).ok();
    let kind = fact.map(|fact| fact.datum_type);
    let size = |dim: &TDim| dim.to_i64().ok().and_then(|size| usize::try_from(size).ok());
    TensorSpec {
        name: model.node(outlet.node).name.clone(),
        dtype: type_name(kind),
        shape: fact.map(|fact| fact.shape.iter().map(size).collect()).unwrap_or_default(),
    }
}

/// The inputs of the file.
fn specs(model: &InferenceModel) -> Vec<TensorSpec> {
    let spec = |&outlet: &OutletId| {
        let fact = model.outlet_fact(outlet).cloned().unwrap_or_default();
        let kind = fact.datum_type.concretize();
        let size = |dim: &TDim| dim.to_i64().ok().and_then(|size| usize::try_from(size).ok());
        let shape = fact.shape.dims().map(|dim| dim.concretize().as_ref().and_then(size)).collect();
        TensorSpec { name: model.node(outlet.node).name.clone(), dtype: type_name(kind), shape }
    };
    model.inputs.iter().map(spec).collect()
}

/// Optimises the model for inputs of these shapes.
fn optimize(mut model: InferenceModel, inputs: &[TensorSpec]) -> TractResult<State> {
    for place in 0..model.inputs.len() {
        let name = &model.node(model.inputs[place].node).name;
        let Some(spec) = inputs.iter().find(|spec| spec.name == *name) else { continue };
        let Some(kind) = Dtype::parse(&spec.dtype).and_then(datum_type) else { continue };
        let shape: Option<TVec<TDim>> = spec.shape.iter().map(|size| size.as_ref().map(ToDim::to_dim)).collect();
        let Some(shape) = shape else { continue };
        model.set_input_fact(place, InferenceFact::dt_shape(kind, shape))?;
    }
    model.into_optimized()?.into_runnable()?.spawn()
}

/// The tensor's name, which the outlet of the node has if there is one.
fn output_name(model: &InferenceModel, outlet: OutletId) -> String {
    model.outlet_label(outlet).unwrap_or_else(|| &model.node(outlet.node).name).to_owned()
}

/// tract's element types, and those of tensors on disk.
const TYPES: [(DatumType, Dtype); 12] = [
    (DatumType::Bool, Dtype::Bool),
    (DatumType::F16, Dtype::Float16),
    (DatumType::F32, Dtype::Float32),
    (DatumType::F64, Dtype::Float64),
    (DatumType::I8, Dtype::Int8),
    (DatumType::I16, Dtype::Int16),
    (DatumType::I32, Dtype::Int32),
    (DatumType::I64, Dtype::Int64),
    (DatumType::U8, Dtype::Uint8),
    (DatumType::U16, Dtype::Uint16),
    (DatumType::U32, Dtype::Uint32),
    (DatumType::U64, Dtype::Uint64),
];

fn dtype(kind: DatumType) -> Option<Dtype> {
    TYPES.iter().find(|(own, _)| *own == kind).map(|(_, dtype)| *dtype)
}

/// `NumPy`'s name of an element type, or tract's if it has none.
fn type_name(kind: Option<DatumType>) -> String {
    let name = |kind| dtype(kind).map_or_else(|| format!("{kind:?}"), |dtype| dtype.name().to_owned());
    kind.map_or_else(|| "of an unknown type".to_owned(), name)
}

fn datum_type(dtype: Dtype) -> Option<DatumType> {
    TYPES.iter().find(|(_, own)| *own == dtype).map(|(kind, _)| *kind)
}

/// An input as tract takes it: a copy, since its tensors own their elements.
fn value(input: &Input) -> Result<TValue, Error> {
    let (shape, bytes) = (input.shape(), input.bytes());
    let tensor = match input.dtype() {
        Dtype::Bool => Tensor::from_shape(shape, &bytes.iter().map(|&byte| byte != 0).collect::<Vec<_>>()),
        Dtype::Float16 => {
            let numbers: Vec<_> = cast_slice::<u8, u16>(bytes).iter().map(|&bits| f16::from_bits(bits)).collect();
            Tensor::from_shape(shape, &numbers)
        }
        Dtype::Float32 => Tensor::from_shape(shape, cast_slice::<u8, f32>(bytes)),
        Dtype::Float64 => Tensor::from_shape(shape, cast_slice::<u8, f64>(bytes)),
        Dtype::Int8 => Tensor::from_shape(shape, cast_slice::<u8, i8>(bytes)),
        Dtype::Int16 => Tensor::from_shape(shape, cast_slice::<u8, i16>(bytes)),
        Dtype::Int32 => Tensor::from_shape(shape, cast_slice::<u8, i32>(bytes)),
        Dtype::Int64 => Tensor::from_shape(shape, cast_slice::<u8, i64>(bytes)),
        Dtype::Uint8 => Tensor::from_shape(shape, bytes),
        Dtype::Uint16 => Tensor::from_shape(shape, cast_slice::<u8, u16>(bytes)),
        Dtype::Uint32 => Tensor::from_shape(shape, cast_slice::<u8, u32>(bytes)),
        Dtype::Uint64 => Tensor::from_shape(shape, cast_slice::<u8, u64>(bytes)),
        other => return Err(tensor_file::unsupported("input", input.name(), other.name())),
    };
    tensor.map(Tensor::into_tvalue).map_err(|error| failed(&format!("input {}: {error}", input.name())))
}

/// A copy of an output; dimensions, a type of tract's own, are int64 in the model.
fn copy(name: &str, value: &TValue) -> Result<RawTensor, Error> {
    let kind = if value.datum_type() == TDim::datum_type() { DatumType::I64 } else { value.datum_type() };
    let dtype = dtype(kind).ok_or_else(|| tensor_file::unsupported("output", name, &format!("{kind:?}")))?;
    let failed = |error| failed(&format!("output {name}: {error}"));
    let tensor = value.cast_to_dt(kind).map_err(failed)?;
    let bytes = tensor.try_as_plain_ram().map_err(failed)?.as_bytes().to_vec();
    Ok(RawTensor { dtype, shape: tensor.shape().to_vec(), bytes })
}

/// The failure to read a file: an input or output of a type that tract does not have, or an invalid file.
fn unreadable(request: &Request, error: &TractError) -> Error {
    let reason = reason(error);
    let Some((_, kind)) = reason.split_once("Unknown DatumType ") else {
        return runoff_runner::unreadable(request, &reason);
    };
    let message = format!("model.path: {}: tract has no type {kind}", request.model.path.display());
    Error::new(Kind::TypeUnsupported, message, "use the target ort-rust")
}

/// The outermost and the innermost cause.
fn reason(error: &TractError) -> String {
    let (first, last) = (error.to_string(), error.root_cause().to_string());
    if first == last { first } else { format!("{first}: {last}") }
}

fn main() -> ExitCode {
    runoff_runner::main::<Tract>(runoff_allocator::prepare)
}
