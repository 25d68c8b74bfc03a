//! A model that can run.

use std::path::Path;

use ort::environment::Environment;
use ort::ep;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{SessionInputValue, SessionOutputs};
use ort::value::Outlet;

use crate::error::{Error, Kind};
use crate::memory;
use crate::protocol::{Execution, Optimization, Settings, TensorSpec};
use crate::tensor::Dtype;

/// Providers that this build offers.
pub const PROVIDERS: [&str; 1] = ["cpu"];

/// Precisions that they compute in.
pub const PRECISIONS: [&str; 1] = ["fp32"];

/// A model, loaded and ready.
#[derive(Debug)]
pub struct Session {
    inner: ort::session::Session,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    threads: Option<usize>,
}

impl Session {
    /// Makes a session of the model in the file `path`.
    ///
    /// Settings that are `None` are left at ONNX Runtime's own default.
    ///
    /// # Errors
    ///
    /// `provider-unavailable`, `model-missing`, `model-unreadable` or `runtime-failed`.
    pub fn open(environment: &Environment, path: &Path, settings: &Settings) -> Result<Self, Error> {
        check_offered(settings)?;
        check_file(path)?;
        let before = memory::thread_count();
        let mut builder =
            configure(environment, settings).map_err(|error| Error::runtime("applying the settings", &error))?;
        let inner = builder.commit_from_file(path).map_err(|error| unreadable(path, error.message()))?;
        let threads = memory::thread_count().zip(before).map(|(after, before)| after.saturating_sub(before) + 1);
        let inputs = inner.inputs().iter().map(spec).collect();
        let outputs = inner.outputs().iter().map(spec).collect();
        Ok(Self { inner, inputs, outputs, threads })
    }

    /// Inputs, in the order of the graph.
    #[must_use]
    pub fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    /// Outputs, in the order of the graph.
    #[must_use]
    pub fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    /// Threads that compute: those that making the session started, and the caller's. `None` where the system
    /// does not count them.
    #[must_use]
    pub const fn threads(&self) -> Option<usize> {
        self.threads
    }

    /// Checks that the model has exactly the inputs that were `expected`.
    ///
    /// # Errors
    ///
    /// `model-mismatch`, naming the first input that differs.
    pub fn check_inputs(&self, expected: &[TensorSpec]) -> Result<(), Error> {
        for spec in expected {
            let own = self.input(&spec.name)?;
            if own.dtype != spec.dtype {
                return Err(mismatch(&format!("input {:?} is {}, not {}", own.name, own.dtype, spec.dtype)));
            }
            let fits = own.shape.len() == spec.shape.len()
                && own.shape.iter().zip(&spec.shape).all(|(a, b)| a.is_none() || b.is_none() || a == b);
            if !fits {
                return Err(mismatch(&format!(
                    "input {:?} has the shape {}, not {}",
                    own.name,
                    show_shape(&own.shape),
                    show_shape(&spec.shape)
                )));
            }
        }
        let unknown = self.inputs.iter().find(|own| expected.iter().all(|spec| spec.name != own.name));
        unknown.map_or(Ok(()), |own| Err(mismatch(&format!("the model also needs the input {:?}", own.name))))
    }

    /// Checks that a tensor can go into the input `name`; returns the input's place in the graph.
    ///
    /// # Errors
    ///
    /// `model-mismatch`, saying what the model takes.
    pub fn check_tensor(&self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<usize, Error> {
        let own = self.input(name)?;
        let fits = own.shape.len() == shape.len()
            && own.shape.iter().zip(shape).all(|(side, given)| side.is_none_or(|side| side == *given));
        if own.dtype != dtype.name() || !fits {
            return Err(mismatch(&format!(
                "input {name:?} takes {} of shape {}, not {} of shape {shape:?}",
                own.dtype,
                show_shape(&own.shape),
                dtype.name()
            )));
        }
        Ok(self.inputs.iter().position(|input| input.name == name).unwrap_or_default())
    }

    /// Runs the model once. `inputs` stand in the order of `inputs()`.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn run<'s>(&'s mut self, inputs: &[SessionInputValue<'_>]) -> Result<SessionOutputs<'s>, Error> {
        self.inner.run(inputs).map_err(|error| Error::runtime("running the model", &error))
    }

    /// Runs the model once on inputs in any order, checked before.
    ///
    /// # Errors
    ///
    /// `model-mismatch` when an input is missing, unknown or does not fit; `runtime-failed`.
    pub fn run_named<'s>(
        &'s mut self,
        inputs: Vec<(String, SessionInputValue<'_>)>,
    ) -> Result<SessionOutputs<'s>, Error> {
        let mut places = Vec::with_capacity(inputs.len());
        for (name, value) in &inputs {
            let dtype = value.dtype().tensor_type().and_then(Dtype::from_ort);
            let shape = value.dtype().tensor_shape().map(|shape| shape.iter().map(|&side| to_usize(side)).collect());
            let (dtype, shape): (Dtype, Vec<usize>) =
                dtype.zip(shape).ok_or_else(|| mismatch(&format!("input {name:?} is not a tensor of numbers")))?;
            places.push(self.check_tensor(name, dtype, &shape)?);
        }
        if let Some(missing) = (0..self.inputs.len()).find(|place| !places.contains(place)) {
            return Err(mismatch(&format!("the model also needs the input {:?}", self.inputs[missing].name)));
        }
        let mut in_order: Vec<_> = places.into_iter().zip(inputs).collect();
        in_order.sort_by_key(|(place, _)| *place);
        let values: Vec<_> = in_order.into_iter().map(|(_, (_, value))| value).collect();
        self.run(&values)
    }

    fn input(&self, name: &str) -> Result<&TensorSpec, Error> {
        self.inputs.iter().find(|input| input.name == name).ok_or_else(|| {
            let names: Vec<_> = self.inputs.iter().map(|input| input.name.as_str()).collect();
            mismatch(&format!("the model has no input {name:?} (it has: {})", names.join(", ")))
        })
    }
}

fn check_offered(settings: &Settings) -> Result<(), Error> {
    if !PROVIDERS.contains(&settings.provider.as_str()) {
        let message =
            format!("provider {:?} is not in this build (it has: {})", settings.provider, PROVIDERS.join(", "));
        return Err(Error::new(Kind::ProviderUnavailable, message, "set provider = \"cpu\""));
    }
    if !PRECISIONS.contains(&settings.precision.as_str()) {
        let message = format!("provider {:?} computes in fp32, not {:?}", settings.provider, settings.precision);
        return Err(Error::new(Kind::ProviderUnavailable, message, "set precision = \"fp32\""));
    }
    Ok(())
}

fn check_file(path: &Path) -> Result<(), Error> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(unreadable(path, "it is not a file")),
        Ok(found) if found.len() == 0 => Err(unreadable(path, "it is empty")),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let message = format!("the model {} is not there", path.display());
            Err(Error::new(Kind::ModelMissing, message, "check the path, or export the model: runoff export NAME"))
        }
        Err(error) => Err(unreadable(path, &error.to_string())),
    }
}

fn configure(environment: &Environment, settings: &Settings) -> ort::Result<SessionBuilder> {
    let mut builder = ort::session::Session::builder(environment)?.with_intra_threads(settings.threads.get())?;
    if let Some(threads) = settings.inter_threads {
        builder = builder.with_inter_threads(threads.get())?;
    }
    if let Some(level) = settings.optimization {
        builder = builder.with_optimization_level(match level {
            Optimization::Disable => GraphOptimizationLevel::Disable,
            Optimization::Basic => GraphOptimizationLevel::Level1,
            Optimization::Extended => GraphOptimizationLevel::Level2,
            Optimization::All => GraphOptimizationLevel::All,
        })?;
    }
    if let Some(spinning) = settings.spinning {
        builder = builder.with_intra_op_spinning(spinning)?.with_inter_op_spinning(spinning)?;
    }
    if let Some(prepacking) = settings.prepacking {
        builder = builder.with_prepacking(prepacking)?;
    }
    if let Some(execution) = settings.execution {
        builder = builder.with_parallel_execution(execution == Execution::Parallel)?;
    }
    if let Some(arena) = settings.arena {
        // Only then: `ort` takes a CPU provider that says nothing of the arena as a wish to have none.
        let cpu = ep::CPU::default().with_arena_allocator(arena).build().error_on_failure();
        builder = builder.with_execution_providers([cpu])?;
    }
    Ok(builder)
}

fn spec(outlet: &Outlet) -> TensorSpec {
    let dtype = outlet.dtype();
    let name = dtype.tensor_type().and_then(Dtype::from_ort).map_or_else(|| dtype.to_string(), |own| own.name().into());
    let shape = dtype.tensor_shape().map(|shape| shape.iter().map(|&side| usize::try_from(side).ok()).collect());
    TensorSpec { name: outlet.name().to_owned(), dtype: name, shape: shape.unwrap_or_default() }
}

/// Sides of tensors that exist are never negative.
fn to_usize(side: i64) -> usize {
    usize::try_from(side).unwrap_or_default()
}

fn show_shape(shape: &[Option<usize>]) -> String {
    let sides: Vec<_> = shape.iter().map(|side| side.map_or_else(|| "?".to_owned(), |side| side.to_string())).collect();
    format!("[{}]", sides.join(", "))
}

fn mismatch(message: &str) -> Error {
    Error::new(Kind::ModelMismatch, message, "export the model again, or correct the request's model.inputs")
}

fn unreadable(path: &Path, reason: &str) -> Error {
    let message = format!("the model {} cannot be loaded: {reason}", path.display());
    Error::new(Kind::ModelUnreadable, message, "export the model again, or check that it is an ONNX file")
}
