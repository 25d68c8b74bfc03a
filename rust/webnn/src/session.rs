//! A model in rustnn: its context, its compiled graph, and a tensor for each input and output.

use std::path::Path;

use rustnn::mlcontext::{
    MLContext, MLContextOptions, MLGraph, MLGraphBuilder, MLNamedTensors, MLPowerPreference, MLTensor,
    MLTensorDescriptor,
};
use rustnn::operator_enums::MLOperandDataType::Float32;

use crate::convert::Model;
use crate::failure::Failure;
use crate::request::Tensor;

/// Creates a context on the CPU, which loads ONNX Runtime.
///
/// # Errors
///
/// `runtime-missing`.
pub fn context() -> Result<MLContext<'static>, Failure> {
    // without it, the crate `ort` panics
    let library = std::env::var_os("ORT_DYLIB_PATH").unwrap_or_default();
    if !Path::new(&library).is_file() {
        let message = format!("ORT_DYLIB_PATH: no such file: {:?}", library.display());
        return Err(Failure::new("runtime-missing", message, "run: nox -s ort-python"));
    }
    let options = MLContextOptions::new(MLPowerPreference::Default, false);
    MLContext::create(&options).map_err(|error| failure("runtime-missing", &error))
}

/// A compiled graph with its tensors.
pub struct Session {
    context: MLContext<'static>,
    graph: MLGraph<'static>,
    inputs: Vec<(String, MLTensor)>,
    outputs: Vec<Output>,
}

struct Output {
    name: String,
    tensor: MLTensor,
    shape: Vec<u32>,
}

impl Session {
    /// Builds the graph with the builder, then compiles it; `converted` is called between both.
    ///
    /// # Errors
    ///
    /// `model-unsupported`, or `runtime-failed`.
    pub fn new(
        mut context: MLContext<'static>,
        model: Model,
        inputs: &[(&str, Vec<u32>)],
        outputs: &[&str],
        converted: impl FnOnce(),
    ) -> Result<Self, Failure> {
        let mut builder = MLGraphBuilder::new(&mut context).map_err(|error| failed(&error))?;
        let (operands, shapes) = model.add_to(&mut builder, inputs, outputs)?;
        converted();
        let graph = builder.build(&operands).map_err(|error| failed(&error))?;
        drop(builder);
        let mut tensor = |shape: Vec<u64>, written: bool| {
            let descriptor = MLTensorDescriptor::new(Float32, shape);
            let descriptor = if written { descriptor.to_writable() } else { descriptor.to_readable() };
            context.create_tensor(&descriptor).map_err(|error| failed(&error))
        };
        let given = inputs.iter().map(|(name, shape)| {
            let shape = shape.iter().copied().map(u64::from).collect();
            Ok(((*name).to_owned(), tensor(shape, true)?))
        });
        let given = given.collect::<Result<_, Failure>>()?;
        let wanted = outputs.iter().zip(shapes).map(|(name, shape)| {
            let sides = shape.iter().map(|&side| u32::try_from(side).unwrap_or(u32::MAX)).collect();
            Ok(Output { name: (*name).to_owned(), tensor: tensor(shape, false)?, shape: sides })
        });
        let wanted = wanted.collect::<Result<_, Failure>>()?;
        Ok(Self { context, graph, inputs: given, outputs: wanted })
    }

    /// Names of the outputs.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        self.outputs.iter().map(|output| output.name.as_str())
    }

    /// Writes the inputs, dispatches the graph, and reads the outputs.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn run(&mut self, feed: &[Tensor]) -> Result<Vec<Tensor>, Failure> {
        let Self { context, graph, inputs, outputs } = self;
        for ((_, tensor), given) in inputs.iter().zip(feed) {
            context.write_tensor(tensor, &given.elements).map_err(|error| failed(&error))?;
        }
        let given: MLNamedTensors = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let wanted: MLNamedTensors = outputs.iter().map(|output| (output.name.as_str(), &output.tensor)).collect();
        context.dispatch(graph, &given, &wanted).map_err(|error| failed(&error))?;
        let read = outputs.iter().map(|output| {
            let mut elements = vec![0.0_f32; output.shape.iter().map(|&side| side as usize).product()];
            context.read_tensor(&output.tensor, &mut elements).map_err(|error| failed(&error))?;
            Ok(Tensor { shape: output.shape.clone(), elements })
        });
        read.collect()
    }
}

fn failed(error: &rustnn::error::Error) -> Failure {
    failure("runtime-failed", error)
}

fn failure(kind: &'static str, error: &rustnn::error::Error) -> Failure {
    let text = error.to_string();
    Failure::new(kind, text.lines().next().unwrap_or_default(), "check ORT_DYLIB_PATH and the model")
}
