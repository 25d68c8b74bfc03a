//! Runners of runtimes that load a model and compute tensors: the workloads `classify` and `tensor`.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use runoff_core::clock::{Phases, now_ns};
use runoff_core::image::JPEG_DECODER;
use runoff_core::protocol::{
    Capabilities, Effective, Item, Measure, Request, RunResult, Unavailable, VERSION, Workload, bad_request,
};
use runoff_session::{CPU, Error, Kind, RawTensor, TensorSpec};

use crate::feed::{Feed, Input};
use crate::outputs::Captured;
use crate::prefetch::Prefetch;
use crate::run::{Answer, Work, execute, ignored};
use crate::samples::IterationTimes;
use crate::{RunnerArgs, carry_out_request, is_reader_gone, print, print_json, report_error};

/// Settings of every runner that this module makes.
const OWN_SETTINGS: [&str; 2] = ["teardown", "overlap"];

/// A model in a runtime on the CPU.
pub trait Engine: Sized + 'static {
    /// Name of the target.
    const RUNNER: &'static str;
    /// Name of the runtime.
    const RUNTIME: &'static str;
    /// Model formats that it reads: `onnx`, and the one of files that are prepared for it, if there is one.
    const FORMATS: &'static [&'static str];
    /// Precisions that it computes in.
    const PRECISIONS: &'static [&'static str] = &["fp32"];
    /// Settings that have an effect, besides `teardown`, `overlap` and, if it reads prepared files, `prepared`.
    const SETTINGS: &'static [&'static str] = &["threads"];

    /// Version, build and library of the runtime.
    ///
    /// # Errors
    ///
    /// `runtime-missing`.
    fn describe() -> Result<Description, Error>;

    /// Loads the request's model for its inputs, in each set of shapes that they have in batches of the request.
    ///
    /// # Errors
    ///
    /// `model-missing`, `model-unreadable`, `model-mismatch`, `model-unsupported`, `runtime-missing`.
    fn open(request: &Request, shapes: &[Vec<TensorSpec>], phases: &mut Phases) -> Result<Self, Error>;

    /// The model's inputs, in the file's order.
    fn inputs(&self) -> &[TensorSpec];

    /// Computes the outputs; `inputs` are in the order of [`Self::inputs`].
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    fn run(&mut self, inputs: &[Input]) -> Result<(), Error>;

    /// Copies the outputs of the latest run: those that the request names, in its order, or if it names none, all.
    ///
    /// # Errors
    ///
    /// `type-unsupported`, `model-mismatch`.
    fn outputs(&self) -> Result<Vec<(String, RawTensor)>, Error>;

    /// What the runtime computes with, as it reports it; [`Self::describe`] and the settings are added by the caller.
    fn effective(&self) -> Effective;
}

/// What a runtime says of itself.
#[derive(Debug, Clone, Default)]
pub struct Description {
    /// Its version.
    pub version: String,
    /// Its description of its build.
    pub build: Option<String>,
    /// Its shared library, if it is not linked into the program.
    pub library: Option<std::path::PathBuf>,
}

/// Runs the program of the engine `E`; `prepare` and `populate` are called before anything else, and before the model
/// is loaded.
pub fn main<E: Engine>(prepare: fn(), populate: fn()) -> ExitCode {
    let entry_ns = now_ns();
    prepare();
    let runner = Arguments::parse().runner;
    let printed = match (runner.request, runner.result) {
        (Some(request), Some(result)) => {
            return carry_out_request(&request, &result, |request| {
                populate();
                let carry_out = || carry_out::<E>(request, entry_ns);
                catch_unwind(AssertUnwindSafe(carry_out)).unwrap_or_else(|panic| panicked::<E>(request, &*panic))
            });
        }
        _ if runner.capabilities => {
            let capabilities = capabilities::<E>();
            print_json(&capabilities).map(|()| capabilities.unavailable.map_or(0, |reason| reason.kind.exit_code()))
        }
        _ => print(&Arguments::command().render_help().to_string()).map(|()| 0),
    };
    match printed {
        Ok(code) => ExitCode::from(code),
        Err(error) if is_reader_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            report_error(&format!("cannot write to stdout: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// A runner of runoff's protocol.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    runner: RunnerArgs,
}

/// Format of files that are prepared for the engine; empty if there is none.
fn prepared<E: Engine>() -> &'static str {
    E::FORMATS.get(1).copied().unwrap_or_default()
}

fn settings<E: Engine>() -> Vec<&'static str> {
    let prepared = (E::FORMATS.len() > 1).then_some("prepared");
    E::SETTINGS.iter().copied().chain(OWN_SETTINGS).chain(prepared).collect()
}

fn capabilities<E: Engine>() -> Capabilities {
    let strings = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let mut capabilities = Capabilities {
        protocol: vec![VERSION],
        runner: E::RUNNER.into(),
        language: "rust".into(),
        runtime: E::RUNTIME.into(),
        workloads: strings(&["classify", "tensor"]),
        formats: strings(E::FORMATS),
        providers: strings(&[CPU]),
        precisions: strings(E::PRECISIONS),
        measures: strings(&["once", "latency", "accuracy", "turns"]),
        settings: strings(&settings::<E>()),
        image_decoder: Some(JPEG_DECODER.into()),
        computes: true,
        ..Capabilities::default()
    };
    match E::describe() {
        Ok(Description { version, build, library }) => {
            (capabilities.version, capabilities.build, capabilities.library) = (version, build, library);
        }
        Err(Error { kind, message, hint, .. }) => capabilities.unavailable = Some(Unavailable { kind, message, hint }),
    }
    capabilities
}

fn carry_out<E: Engine>(request: &Request, entry_ns: u64) -> Answer<'_> {
    execute(request, entry_ns, E::FORMATS, |phases, prefetch| {
        let (workload, provider) = (request.workload, &request.settings.provider);
        if workload == Workload::Segment {
            return Err(bad_request(format!("workload: {} does not segment", E::RUNNER)));
        }
        if provider != CPU {
            let message = format!("settings.provider: {provider:?} cannot be used: {} computes on the CPU", E::RUNNER);
            return Err(Error::new(Kind::ProviderUnavailable, message, "set provider = \"cpu\""));
        }
        if !E::PRECISIONS.contains(&&*request.settings.precision) {
            let (precision, known) = (&request.settings.precision, E::PRECISIONS.join(" or "));
            let message = format!("settings.precision: {} computes in {known}, not {precision:?}", E::RUNNER);
            return Err(Error::new(Kind::ProviderUnavailable, message, "set precision = \"fp32\""));
        }
        Ok(Box::new(EngineModel::<E>::open(request, phases, prefetch)?))
    })
}

/// The failure of an engine that panicked, as some do on models that they do not support.
fn panicked<E: Engine>(request: &Request, panic: &(dyn Any + Send)) -> Answer<'static> {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
    let message = format!("{} panicked: {}", E::RUNTIME, text.unwrap_or("no message"));
    let error = Error::new(Kind::RuntimeFailed, message, "use another target for this model");
    Answer { result: RunResult::failed(&request.case, &error), work: None }
}

/// The request's inputs, with the shapes of each kind of batch in the request.
fn input_shapes(request: &Request) -> Vec<Vec<TensorSpec>> {
    let (batch, count) = (request.settings.batch.get(), request.inputs.len());
    let rest = if matches!(request.measure, Measure::Accuracy(_)) { count % batch } else { 0 };
    let sizes = [batch, rest].into_iter().filter(|&size| size > 0 && (size < batch || count >= batch || rest == 0));
    let image = request.preprocess.as_ref().filter(|_| request.workload == Workload::Classify);
    let side = image.and_then(|preprocess| usize::try_from(preprocess.crop.get()).ok());
    let shape = |spec: &TensorSpec, item: &Item, size: usize| {
        let file = item.tensors.as_ref().and_then(|tensors| tensors.get(&spec.name));
        let mut shape = side.map_or_else(
            || file.map_or_else(|| spec.shape.clone(), |file| file.shape.iter().copied().map(Some).collect()),
            |side| vec![Some(size), Some(3), Some(side), Some(side)],
        );
        if let (Some(first), 2..) = (shape.first_mut(), batch) {
            *first = Some(size);
        }
        TensorSpec { shape, ..spec.clone() }
    };
    let mut all = Vec::new();
    for size in sizes {
        // the items of a batch have the same shapes
        for item in request.inputs.iter().take(if batch > 1 || side.is_some() { 1 } else { count }) {
            let inputs: Vec<_> = request.model.inputs.iter().map(|spec| shape(spec, item, size)).collect();
            if !all.contains(&inputs) {
                all.push(inputs);
            }
        }
    }
    all
}

/// Checks that a model, whose inputs were `found` in its file, has exactly the `expected` ones of the request.
///
/// # Errors
///
/// `model-mismatch`.
pub fn check_inputs(found: &[TensorSpec], expected: &[TensorSpec]) -> Result<(), Error> {
    let mismatch =
        |message| Err(Error::new(Kind::ModelMismatch, message, "compare the request with the model's inputs"));
    let names = |specs: &[TensorSpec]| specs.iter().map(|spec| spec.name.clone()).collect::<Vec<_>>().join(", ");
    for spec in expected {
        let Some(own) = found.iter().find(|own| own.name == spec.name) else {
            return mismatch(format!("the model has no input {:?} (it has: {})", spec.name, names(found)));
        };
        if own.dtype != spec.dtype || !own.agrees_with(spec) {
            let (own, name) = (format!("{} {:?}", own.dtype, own.shape), &spec.name);
            return mismatch(format!("input {name:?} is {own} in the file, not {} {:?}", spec.dtype, spec.shape));
        }
    }
    if found.len() > expected.len() {
        return mismatch(format!(
            "the model also needs other inputs than {} (it has: {})",
            names(expected),
            names(found)
        ));
    }
    Ok(())
}

/// What was made for inputs of the shapes that `inputs` have now.
///
/// # Errors
///
/// `model-mismatch`.
pub fn of_shapes<'m, T>(made: &'m mut [(Vec<TensorSpec>, T)], inputs: &[Input]) -> Result<&'m mut T, Error> {
    let is_same = |spec: &TensorSpec, input: &Input| spec.shape.iter().flatten().eq(input.shape());
    let fits = |specs: &[TensorSpec]| {
        inputs.iter().all(|input| specs.iter().any(|spec| spec.name == input.name() && is_same(spec, input)))
    };
    made.iter_mut().find(|(specs, _)| fits(specs)).map(|(_, made)| made).ok_or_else(|| {
        let shapes: Vec<_> = inputs.iter().map(|input| format!("{} {:?}", input.name(), input.shape())).collect();
        let message = format!("the model was loaded for other shapes than {}", shapes.join(", "));
        Error::new(Kind::ModelMismatch, message, "compare the request with the model's inputs")
    })
}

/// Names and places of the outputs that a request names, or if it names none, of all: `names` are those of the file.
///
/// # Errors
///
/// `model-mismatch`.
pub fn choose_outputs(wanted: &[TensorSpec], names: &[String]) -> Result<Vec<(String, usize)>, Error> {
    if wanted.is_empty() {
        return Ok(names.iter().cloned().zip(0..).collect());
    }
    let place = |spec: &TensorSpec| {
        let place = names.iter().position(|name| *name == spec.name);
        place.map(|place| (spec.name.clone(), place)).ok_or_else(|| {
            let message = format!("the model has no output {:?} (it has: {})", spec.name, names.join(", "));
            Error::new(Kind::ModelMismatch, message, "compare the request with the model's outputs")
        })
    };
    wanted.iter().map(place).collect()
}

/// A model in the engine, its inputs and its latest outputs.
struct EngineModel<'a, E> {
    request: &'a Request,
    engine: E,
    feed: Feed<'a>,
}

impl<'a, E: Engine> EngineModel<'a, E> {
    fn open(request: &'a Request, phases: &mut Phases, prefetch: Option<Prefetch>) -> Result<Self, Error> {
        check_file(&request.model.path)?;
        let engine = E::open(request, &input_shapes(request), phases)?;
        check_inputs(engine.inputs(), &request.model.inputs)?;
        phases.mark("load");
        let feed = Feed::new(request, engine.inputs(), prefetch)?;
        Ok(Self { request, engine, feed })
    }

    fn is_of_images(&self) -> bool {
        self.request.workload == Workload::Classify
    }
}

/// The failure for a model's file that the engine cannot load.
#[must_use]
pub fn unreadable(request: &Request, reason: &str) -> Error {
    let message = format!("model.path: {} cannot be loaded: {reason}", request.model.path.display());
    Error::new(Kind::ModelUnreadable, message, "export or add the model again (runoff list models)")
}

/// Checks that the model's file exists.
fn check_file(path: &Path) -> Result<(), Error> {
    if path.exists() {
        return Ok(());
    }
    let message = format!("model.path: no such file: {}", path.display());
    Err(Error::new(Kind::ModelMissing, message, "export or add the model again (runoff list models)"))
}

impl<E: Engine> Work for EngineModel<'_, E> {
    fn load(&mut self, range: Range<usize>) -> Result<IterationTimes, Error> {
        let took_ns = self.feed.load(range)?;
        Ok(IterationTimes::preprocessing(self.is_of_images().then_some(took_ns)))
    }

    fn infer(&mut self, took: &mut IterationTimes) -> Result<(), Error> {
        let begun_ns = now_ns();
        self.engine.run(self.feed.inputs())?;
        took.inference(now_ns() - begun_ns);
        Ok(())
    }

    fn items(&self, range: Range<usize>) -> Result<Vec<usize>, Error> {
        self.feed.items(range)
    }

    fn capture(&self, items: Vec<usize>) -> Result<Captured, Error> {
        Ok(Captured::outputs(items, self.engine.outputs()?))
    }

    fn inputs(&self, items: &[usize]) -> Option<Captured> {
        self.is_of_images().then(|| self.feed.capture(items))
    }

    fn complete(&mut self, last: &Captured, result: &mut RunResult) -> Result<(), Error> {
        if self.is_of_images() {
            result.top = last.rank(self.request)?;
        }
        Ok(())
    }

    fn effective(&self) -> Effective {
        let Description { version, build, library } = E::describe().unwrap_or_default();
        Effective {
            runtime: E::RUNTIME.into(),
            version,
            language: "rust".into(),
            provider: Some(CPU.into()),
            build,
            library,
            ignored: ignored(self.request, &settings::<E>(), prepared::<E>()),
            ..self.engine.effective()
        }
    }
}
