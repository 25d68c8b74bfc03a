//! `runoff-rten`: a runner on RTen.

#![deny(unsafe_code)]

use std::env;
use std::process::ExitCode;

use bytemuck::{AnyBitPattern, cast_slice};
use rten::{
    DataType, Dimension, LoadErrorKind, Model, ModelOptions, NodeId, NodeInfo, Value, ValueOrView, ValueType,
    ValueView, thread_pool,
};
use rten_tensor::{AsView, Layout, TensorView};
use runoff_core::clock::Phases;
use runoff_core::protocol::{Effective, Request};
use runoff_core::tensor_file::unsupported;
use runoff_runner::{
    Description, Engine, Input, MAPPED_MODEL, check_inputs, failed, pinned_version, unreadable, unsupported_model,
};
use runoff_session::{Dtype, Error, Kind, RawTensor, TensorSpec, thread_count};

/// `RTen`'s own format, whose weights are used where the file is mapped.
const CONVERTED: &str = "rten";

/// A model and its latest outputs.
struct Rten {
    model: Model,
    ids: Vec<NodeId>,
    inputs: Vec<TensorSpec>,
    /// Names, nodes and types of the outputs to report.
    outputs: Vec<Output>,
    latest: Vec<Value>,
    threads: Option<usize>,
    is_mapped: bool,
}

/// An output to report.
struct Output {
    name: String,
    id: NodeId,
    /// The type in the model; RTen has no int64 and bool, and computes in int32.
    dtype: Option<Dtype>,
}

impl Engine for Rten {
    const RUNNER: &'static str = "rten";
    const RUNTIME: &'static str = "rten";
    const FORMATS: &'static [&'static str] = &["onnx", CONVERTED];
    const SETTINGS: &'static [&'static str] = &["threads", "prepacking"];

    fn describe() -> Result<Description, Error> {
        let version = pinned_version(include_str!("../Cargo.toml"), "rten");
        Ok(Description { version, ..Description::default() })
    }

    /// RTen starts its pool when it packs weights, or at the first inference; without the variable, of all cores.
    #[allow(unsafe_code)]
    fn set_up(request: &Request) {
        // SAFETY: the process has no other thread yet, which could read the environment.
        unsafe { env::set_var("RTEN_NUM_THREADS", request.settings.threads.to_string()) };
    }

    #[allow(unsafe_code)]
    fn open(request: &Request, _shapes: &[Vec<TensorSpec>], _phases: &mut Phases) -> Result<Self, Error> {
        let path = &request.model.path;
        let mut options = ModelOptions::with_all_ops();
        if let Some(prepack) = request.settings.prepacking {
            options.prepack_weights(prepack);
        }
        let is_mapped = request.model.format == CONVERTED;
        // SAFETY: a prepared file is renamed into place and never written to again.
        let loaded = if is_mapped { unsafe { options.load_mmap(path) } } else { options.load_file(path) };
        let model = loaded.map_err(|error| {
            if matches!(error.kind(), LoadErrorKind::OperatorInvalid) {
                return unsupported_model(request, &format!("RTen does not support the model: {error}"));
            }
            unreadable(request, &error.to_string())
        })?;
        if model.output_ids().is_empty() {
            return Err(unreadable(request, "the model has no outputs"));
        }
        thread_pool().run(|| ());
        // this thread waits for those of the pool, and does not compute
        let threads = thread_count().map(|count| count.saturating_sub(1));
        let ids = model.input_ids().to_vec();
        let inputs: Vec<_> = ids.iter().map(|&id| spec(&model, id, request)).collect();
        check_inputs(&inputs, &request.model.inputs)?;
        let outputs = outputs(&model, request)?;
        Ok(Self { model, ids, inputs, outputs, latest: Vec::new(), threads, is_mapped })
    }

    fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    fn run(&mut self, inputs: &[Input]) -> Result<(), Error> {
        let values = self.ids.iter().zip(inputs).map(|(&id, input)| Ok((id, value(input)?)));
        let values = values.collect::<Result<Vec<_>, Error>>()?;
        let ids: Vec<_> = self.outputs.iter().map(|output| output.id).collect();
        let failed = |error| failed(&format!("RTen failed: {error}"));
        self.latest = self.model.run(values, &ids, None).map_err(failed)?;
        Ok(())
    }

    fn outputs(&self) -> Result<Vec<(String, RawTensor)>, Error> {
        let copy = |(output, value): (&Output, &Value)| Ok((output.name.clone(), copy(output, value)?));
        self.outputs.iter().zip(&self.latest).map(copy).collect()
    }

    fn effective(&self) -> Effective {
        let practices = self.is_mapped.then(|| MAPPED_MODEL.to_owned()).into_iter().collect();
        Effective { threads: self.threads, practices, ..Effective::default() }
    }
}

/// An input of the file; int64 and bool are those of the request, as RTen knows them as int32.
fn spec(model: &Model, id: NodeId, request: &Request) -> TensorSpec {
    let info = model.node_info(id);
    let name = info.as_ref().and_then(NodeInfo::name).unwrap_or_default().to_owned();
    let size = |dim: &Dimension| if let Dimension::Fixed(size) = dim { Some(*size) } else { None };
    let shape = info.as_ref().and_then(NodeInfo::shape).unwrap_or_default().iter().map(size).collect();
    let requested = request.model.inputs.iter().find(|spec| spec.name == name).map(|spec| spec.dtype.clone());
    let dtype = match info.and_then(|info| info.dtype()) {
        // RTen replaces float16 and float64 by float32
        Some(ValueType::Tensor(DataType::Float)) => {
            let replaced = requested.filter(|dtype| ["float16", "float64"].contains(&dtype.as_str()));
            replaced.map_or_else(|| "float32".to_owned(), |dtype| format!("{dtype} in the request and float32 in RTen"))
        }
        Some(ValueType::Tensor(DataType::Int8)) => "int8".to_owned(),
        Some(ValueType::Tensor(DataType::UInt8)) => "uint8".to_owned(),
        Some(ValueType::Tensor(DataType::Int32)) => {
            requested.filter(|dtype| ["int64", "bool"].contains(&dtype.as_str())).unwrap_or_else(|| "int32".to_owned())
        }
        Some(other) => format!("{other:?}"),
        None => "of a type that RTen does not have".to_owned(),
    };
    TensorSpec { name, dtype, shape }
}

/// The outputs that the request names, or all.
fn outputs(model: &Model, request: &Request) -> Result<Vec<Output>, Error> {
    let ids = model.output_ids();
    let infos = ids.iter().map(|&id| model.node_info(id));
    let names: Vec<_> = infos.map(|info| info.and_then(|info| info.name()).unwrap_or_default().to_owned()).collect();
    let dtype = |name: &str| {
        request.model.outputs.iter().find(|spec| spec.name == name).and_then(|spec| Dtype::parse(&spec.dtype))
    };
    let chosen = runoff_runner::choose_outputs(&request.model.outputs, &names)?;
    Ok(chosen.into_iter().map(|(name, place)| Output { dtype: dtype(&name), name, id: ids[place] }).collect())
}

/// An input as RTen takes it: in place, except int64 and bool, which become int32.
fn value(input: &Input) -> Result<ValueOrView<'_>, Error> {
    let (shape, bytes) = (input.shape(), input.bytes());
    let value = match input.dtype() {
        Dtype::Float32 => view::<f32>(shape, bytes),
        Dtype::Int32 => view::<i32>(shape, bytes),
        Dtype::Int8 => view::<i8>(shape, bytes),
        Dtype::Uint8 => view::<u8>(shape, bytes),
        Dtype::Int64 => {
            let numbers = cast_slice::<u8, i64>(bytes).iter().map(|&number| i32::try_from(number));
            owned(shape, numbers.collect::<Result<_, _>>().map_err(|_| outside(input.name()))?)
        }
        Dtype::Bool => owned(shape, bytes.iter().map(|&byte| i32::from(byte != 0)).collect()),
        other => return Err(unsupported("input", input.name(), other.name())),
    };
    value.map_err(|reason| failed(&format!("input {}: {reason}", input.name())))
}

fn outside(name: &str) -> Error {
    let message = format!("input {name:?} has values outside int32, which RTen computes in");
    Error::new(Kind::TypeUnsupported, message, "use the target ort-rust")
}

fn view<'a, T: AnyBitPattern>(shape: &[usize], bytes: &'a [u8]) -> Result<ValueOrView<'a>, String>
where
    ValueView<'a>: From<TensorView<'a, T>>,
{
    ValueView::from_shape::<T>(shape, cast_slice(bytes)).map(Into::into).map_err(|error| error.to_string())
}

fn owned(shape: &[usize], numbers: Vec<i32>) -> Result<ValueOrView<'static>, String> {
    Value::from_shape(shape, numbers).map(Into::into).map_err(|error| error.to_string())
}

/// A copy of an output, in the type of the model.
fn copy(output: &Output, value: &Value) -> Result<RawTensor, Error> {
    let (dtype, shape, bytes) = match value {
        Value::FloatTensor(tensor) => (Dtype::Float32, tensor.shape().to_vec(), bytes(&tensor.to_vec())),
        Value::Int8Tensor(tensor) => (Dtype::Int8, tensor.shape().to_vec(), bytes(&tensor.to_vec())),
        Value::UInt8Tensor(tensor) => (Dtype::Uint8, tensor.shape().to_vec(), tensor.to_vec()),
        Value::Int32Tensor(tensor) => {
            let (shape, numbers) = (tensor.shape().to_vec(), tensor.to_vec());
            match output.dtype {
                Some(Dtype::Int64) => {
                    (Dtype::Int64, shape, bytes(&numbers.iter().map(|&number| i64::from(number)).collect::<Vec<_>>()))
                }
                Some(Dtype::Bool) => {
                    (Dtype::Bool, shape, numbers.iter().map(|&number| u8::from(number != 0)).collect())
                }
                _ => (Dtype::Int32, shape, bytes(&numbers)),
            }
        }
        _ => return Err(unsupported("output", &output.name, "a sequence")),
    };
    Ok(RawTensor { dtype, shape, bytes })
}

fn bytes<T: bytemuck::NoUninit>(numbers: &[T]) -> Vec<u8> {
    cast_slice(numbers).to_vec()
}

fn main() -> ExitCode {
    runoff_runner::main::<Rten>(runoff_allocator::prepare)
}
