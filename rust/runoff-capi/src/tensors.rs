//! The workload `tensor`: the frame that all runners in Rust share, around a session of the bare C API.

use runoff_core::clock::Phases;
use runoff_core::protocol::{Effective, Measure, Request};
use runoff_core::tensor_file::unsupported;
use runoff_runner::{Description, Engine, Input, MAPPED_MODEL, check_inputs, choose_outputs};
use runoff_session::{Dtype, Error, PREPARED, RawTensor, TensorSpec, thread_count};

use crate::api::{self, Api, Environment};
use crate::request;
use crate::session::{Options, Session, Value};

/// A model and its latest outputs.
pub struct Tensors {
    latest: Vec<Value<'static>>,
    session: Session,
    inputs: Vec<TensorSpec>,
    /// Names and places of the outputs to fetch.
    outputs: Vec<(String, usize)>,
    threads: Option<usize>,
    is_mapped: bool,
}

impl Engine for Tensors {
    const RUNNER: &'static str = "capi-rust";
    const RUNTIME: &'static str = "onnxruntime";
    const FORMATS: &'static [&'static str] = &["onnx", PREPARED];
    const PRECISIONS: &'static [&'static str] = &request::PRECISIONS;
    const SETTINGS: &'static [&'static str] = &request::SETTINGS;

    fn describe() -> Result<Description, Error> {
        let path = api::library()?;
        let api = Api::load(&path)?;
        Ok(Description { version: api.version(), build: Some(api.build()), library: Some(path) })
    }

    fn open(request: &Request, _shapes: &[Vec<TensorSpec>], phases: &mut Phases) -> Result<Self, Error> {
        let api = Api::load(&api::library()?)?;
        phases.mark("runtime");
        let environment = Environment::new(api)?;
        phases.mark("environment");
        let is_mapped = request.model.format == PREPARED;
        let turns = matches!(request.measure, Measure::Turns(_));
        let options = Options::new(api, &request.settings, is_mapped, turns)?;
        let before = thread_count();
        let session = Session::open(environment, &options, &request.model.path, is_mapped)?;
        let threads = thread_count().zip(before).map(|(after, before)| after.saturating_sub(before) + 1);
        let inputs = session.inputs()?;
        check_inputs(&inputs, &request.model.inputs)?;
        if let Some(spec) = inputs.iter().find(|spec| !is_number(&spec.dtype)) {
            return Err(unsupported("input", &spec.name, &spec.dtype));
        }
        let outputs = outputs(&session.outputs()?, request)?;
        Ok(Self { latest: Vec::new(), session, inputs, outputs, threads, is_mapped })
    }

    fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    fn run(&mut self, inputs: &[Input]) -> Result<(), Error> {
        let values = inputs.iter().map(|input| self.session.value(input.dtype(), input.shape(), input.bytes()));
        let values = values.collect::<Result<Vec<_>, _>>()?;
        let places: Vec<_> = self.outputs.iter().map(|(_, place)| *place).collect();
        self.latest = self.session.run(&values, &places)?;
        Ok(())
    }

    fn outputs(&self) -> Result<Vec<(String, RawTensor)>, Error> {
        let copy = |((name, _), value): (&(String, usize), &Value)| Ok((name.clone(), value.copy(name)?));
        self.outputs.iter().zip(&self.latest).map(copy).collect()
    }

    fn effective(&self) -> Effective {
        let practices = self.is_mapped.then(|| MAPPED_MODEL.to_owned()).into_iter().collect();
        Effective { threads: self.threads, practices, ..Effective::default() }
    }
}

/// The outputs that the request names, or all that are tensors of numbers.
fn outputs(found: &[TensorSpec], request: &Request) -> Result<Vec<(String, usize)>, Error> {
    let names: Vec<_> = found.iter().map(|spec| spec.name.clone()).collect();
    let mut chosen = choose_outputs(&request.model.outputs, &names)?;
    let is_tensor = |(_, place): &(String, usize)| found[*place].dtype != Session::NO_TENSOR;
    if request.model.outputs.is_empty() && chosen.iter().any(is_tensor) {
        chosen.retain(is_tensor);
    }
    match chosen.iter().find(|(_, place)| !is_number(&found[*place].dtype)) {
        Some((name, place)) => Err(unsupported("output", name, &found[*place].dtype)),
        None => Ok(chosen),
    }
}

fn is_number(dtype: &str) -> bool {
    Dtype::parse(dtype).is_some_and(|dtype| dtype != Dtype::Str)
}
