//! `runoff-rten`: a runner on RTen.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::sync::Arc;

use bytemuck::{AnyBitPattern, cast_slice};
use rten::{
    DataType, Dimension, LoadErrorKind, Model, ModelOptions, NodeId, NodeInfo, RunOptions, ThreadPool, Value,
    ValueOrView, ValueType, ValueView,
};
use rten_tensor::{AsView, Layout, TensorView};
use runoff_core::clock::Phases;
use runoff_core::protocol::{Effective, Request};
use runoff_core::tensor_file::unsupported;
use runoff_runner::{Description, Engine, Input, unreadable};
use runoff_session::{Dtype, Error, Kind, RawTensor, TensorSpec, thread_count};

/// RTen's version, which it does not report.
const VERSION: &str = "0.27.0";

/// A model and its latest outputs.
struct Rten {
    model: Model,
    options: RunOptions,
    ids: Vec<NodeId>,
    inputs: Vec<TensorSpec>,
    /// Names, nodes and types of the outputs to report.
    outputs: Vec<Output>,
    latest: Vec<Value>,
    threads: Option<usize>,
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
    const FORMATS: &'static [&'static str] = &["onnx"];
    const SETTINGS: &'static [&'static str] = &["threads", "prepacking"];

    fn describe() -> Result<Description, Error> {
        Ok(Description { version: VERSION.to_owned(), ..Description::default() })
    }

    fn open(request: &Request, _shapes: &[Vec<TensorSpec>], _phases: &mut Phases) -> Result<Self, Error> {
        let path = &request.model.path;
        let mut options = ModelOptions::with_all_ops();
        if let Some(prepack) = request.settings.prepacking {
            options.prepack_weights(prepack);
        }
        let model = options.load_file(path).map_err(|error| {
            let failure = unreadable(request, &error.to_string());
            if matches!(error.kind(), LoadErrorKind::OperatorInvalid) {
                return Error::new(Kind::ModelUnsupported, failure.message, "use another target for this model");
            }
            failure
        })?;
        if model.output_ids().is_empty() {
            return Err(unreadable(request, "it has no outputs"));
        }
        let before = thread_count();
        let pool = ThreadPool::with_num_threads(request.settings.threads.get());
        pool.run(|| ());
        // the thread that waits for those of the pool does not compute
        let threads = thread_count().zip(before).map(|(now, before)| now.saturating_sub(before));
        let ids = model.input_ids().to_vec();
        let inputs = ids.iter().map(|&id| spec(&model, id, request)).collect();
        let outputs = outputs(&model, request)?;
        let options = RunOptions::default().with_thread_pool(Some(Arc::new(pool)));
        Ok(Self { model, options, ids, inputs, outputs, latest: Vec::new(), threads })
    }

    fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    fn run(&mut self, inputs: &[Input]) -> Result<(), Error> {
        let values = self.ids.iter().zip(inputs).map(|(&id, input)| Ok((id, value(input)?)));
        let values = values.collect::<Result<Vec<_>, Error>>()?;
        let ids: Vec<_> = self.outputs.iter().map(|output| output.id).collect();
        let failed = |error| Error::new(Kind::RuntimeFailed, format!("RTen failed: {error}"), "use another target");
        self.latest = self.model.run(values, &ids, Some(self.options.clone())).map_err(failed)?;
        Ok(())
    }

    fn outputs(&self) -> Result<Vec<(String, RawTensor)>, Error> {
        let copy = |(output, value): (&Output, &Value)| Ok((output.name.clone(), copy(output, value)?));
        self.outputs.iter().zip(&self.latest).map(copy).collect()
    }

    fn effective(&self) -> Effective {
        Effective { threads: self.threads, ..Effective::default() }
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
        Some(ValueType::Tensor(DataType::Float)) => "float32".to_owned(),
        Some(ValueType::Tensor(DataType::Int8)) => "int8".to_owned(),
        Some(ValueType::Tensor(DataType::UInt8)) => "uint8".to_owned(),
        Some(ValueType::Tensor(DataType::Int32)) => {
            requested.filter(|dtype| ["int64", "bool"].contains(&dtype.as_str())).unwrap_or_else(|| "int32".to_owned())
        }
        other => requested.unwrap_or_else(|| format!("{other:?}")),
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
            let clamp = |&value: &i64| i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX });
            owned(shape, cast_slice::<u8, i64>(bytes).iter().map(clamp).collect())
        }
        Dtype::Bool => owned(shape, bytes.iter().map(|&byte| i32::from(byte != 0)).collect()),
        other => return Err(unsupported("input", input.name(), other.name())),
    };
    let failed =
        |reason| Error::new(Kind::RuntimeFailed, format!("input {}: {reason}", input.name()), "use another target");
    value.map_err(failed)
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
    runoff_runner::main::<Rten>(runoff_allocator::prepare, runoff_allocator::populate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_manifest() {
        let manifest = include_str!("../Cargo.toml");
        assert!(manifest.lines().any(|line| line.starts_with("rten = ") && line.contains(&format!("\"={VERSION}\""))));
    }
}
