//! Runners of runtimes that load a model and compute tensors: the workloads `classify` and `tensor`.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use runoff_core::clock::{Phases, now_ns};
use runoff_core::image::JPEG_DECODER;
use runoff_core::protocol::{
    Capabilities, Effective, Item, Measure, Request, RunResult, Unavailable, VERSION, Workload, bad_request,
};
use runoff_session::{CPU, Error, Kind, RawTensor, TensorSpec};

use crate::checks::{check_file, failed, name_file};
use crate::feed::{Feed, Input, check_items};
use crate::outputs::Captured;
use crate::prefetch::Prefetch;
use crate::run::{Answer, Work, execute, ignored, no_profiler};
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

    /// Whether it has the measure `operators`.
    const HAS_PROFILER: bool = false;

    /// Version, build and library of the runtime.
    ///
    /// # Errors
    ///
    /// `runtime-missing`.
    fn describe() -> Result<Description, Error>;

    /// Called with the request before the process has another thread.
    fn set_up(_request: &Request) {}

    /// Loads the request's model for its inputs, in each set of shapes that they have in batches of the request; checks the
    /// file's inputs with [`check_inputs`](crate::check_inputs).
    ///
    /// # Errors
    ///
    /// `model-unreadable`, `model-mismatch`, `model-unsupported`, `type-unsupported`, `runtime-missing`.
    fn open(request: &Request, shapes: &[Vec<TensorSpec>], phases: &mut Phases) -> Result<Self, Error>;

    /// The model's inputs, in the file's order.
    fn inputs(&self) -> &[TensorSpec];

    /// Computes the outputs; `inputs` are in the order of [`Self::inputs`].
    ///
    /// # Errors
    ///
    /// `runtime-failed`, `type-unsupported`.
    fn run(&mut self, inputs: &[Input]) -> Result<(), Error>;

    /// Copies the outputs of the latest run: those that the request names, in its order, or if it names none, all.
    ///
    /// # Errors
    ///
    /// `type-unsupported`, `model-mismatch`, `runtime-failed`.
    fn outputs(&self) -> Result<Vec<(String, RawTensor)>, Error>;

    /// Writes the profile of all runs, in the measure `operators`; returns its file, a Chrome trace.
    ///
    /// # Errors
    ///
    /// If it has no profiler, or cannot write the file.
    fn end_profile(&mut self) -> Result<PathBuf, Error> {
        Err(no_profiler())
    }

    /// What the runtime computes with, as it reports it; [`Self::describe`] and the settings are added by the caller.
    fn effective(&self) -> Effective;
}

/// Description of a runtime.
#[derive(Debug, Clone, Default)]
pub struct Description {
    /// Its version.
    pub version: String,
    /// Its description of its build.
    pub build: Option<String>,
    /// Its shared library, if it is not linked into the program.
    pub library: Option<PathBuf>,
}

/// The version that `manifest` (a `Cargo.toml`) pins the crate `name` to, for a runtime that does not report its own.
///
/// # Panics
///
/// If it is not pinned.
#[must_use]
pub fn pinned_version(manifest: &str, name: &str) -> String {
    let line = manifest.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
    let version = line.and_then(|line| line.split_once("\"=")?.1.split('"').next());
    version.unwrap_or_else(|| panic!("Cargo.toml does not pin {name}")).to_owned()
}

/// Runs the program of the engine `E`; `prepare` is called before anything else.
pub fn main<E: Engine>(prepare: fn()) -> ExitCode {
    let entry_ns = now_ns();
    prepare();
    let runner = Arguments::parse().runner;
    let printed = match (runner.request, runner.result) {
        (Some(request), Some(result)) => {
            return carry_out_request(&request, &result, |request| {
                E::set_up(request);
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

fn measures<E: Engine>() -> &'static [&'static str] {
    let all = &["once", "latency", "accuracy", "turns", "mappings", "operators"];
    &all[..all.len() - usize::from(!E::HAS_PROFILER)]
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
        measures: strings(measures::<E>()),
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
    let error = failed(&format!("{} panicked: {}", E::RUNTIME, text.unwrap_or("no message")));
    let error = name_file(request, error);
    Answer { result: RunResult::failed(&request.case, &error), work: None }
}

/// The request's inputs, with the shapes of each batch that it runs.
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
    // the items of a batch have the same shapes, and `once` and `mappings` run the first batch only
    let is_one = batch > 1 || side.is_some() || matches!(request.measure, Measure::Once(_) | Measure::Mappings(_));
    let mut all = Vec::new();
    for size in sizes {
        for item in request.inputs.iter().take(if is_one { 1 } else { count }) {
            let inputs: Vec<_> = request.model.inputs.iter().map(|spec| shape(spec, item, size)).collect();
            if !all.contains(&inputs) {
                all.push(inputs);
            }
        }
    }
    all
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
        check_items(request, &request.model.inputs)?;
        let engine = E::open(request, &input_shapes(request), phases)?;
        phases.mark("load");
        let feed = Feed::new(request, engine.inputs(), prefetch)?;
        Ok(Self { request, engine, feed })
    }

    fn is_of_images(&self) -> bool {
        self.request.workload == Workload::Classify
    }
}

impl<E: Engine> Work for EngineModel<'_, E> {
    fn load(&mut self, range: Range<usize>) -> Result<IterationTimes, Error> {
        let took_ns = self.feed.load(range)?;
        Ok(IterationTimes::preprocessing(self.is_of_images().then_some(took_ns)))
    }

    fn infer(&mut self, took: &mut IterationTimes) -> Result<(), Error> {
        let begun_ns = now_ns();
        self.engine.run(self.feed.inputs()).map_err(|error| name_file(self.request, error))?;
        took.inference(now_ns() - begun_ns);
        Ok(())
    }

    fn items(&self, range: Range<usize>) -> Result<Vec<usize>, Error> {
        self.feed.items(range)
    }

    fn capture(&self, items: Vec<usize>) -> Result<Captured, Error> {
        let outputs = self.engine.outputs().map_err(|error| name_file(self.request, error))?;
        Ok(Captured::outputs(items, outputs))
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

    fn end_profile(&mut self) -> Result<PathBuf, Error> {
        self.engine.end_profile()
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pinned_version_is_found_in_the_manifest() {
        let manifest =
            "[dependencies]\nrten-tensor = \"=0.2.0\"\nrten = { version = \"=0.1.0\", features = [\"a\"] }\n";
        assert_eq!(pinned_version(manifest, "rten"), "0.1.0");
        assert_eq!(pinned_version(manifest, "rten-tensor"), "0.2.0");
    }

    /// The first dimensions of the shapes that a model is loaded for; three items have 1, 1 and 2 rows.
    fn loaded_rows(measure: &serde_json::Value, batch: usize) -> Vec<Option<usize>> {
        let item = |rows: usize| json!({"tensors": {"x": {"path": "x.bin", "dtype": "float32", "shape": [rows, 4]}}});
        let request: Request = serde_json::from_value(json!({
            "case": "c", "workload": "tensor", "outputs_dir": "/out", "measure": measure,
            "inputs": [item(1), item(1), item(2)], "settings": {"batch": batch},
            "model": {
                "name": "m", "path": "m.onnx", "format": "onnx", "sha256": "0", "outputs": [],
                "inputs": [{"name": "x", "dtype": "float32", "shape": [null, 4]}],
            },
        }))
        .expect("a request");
        input_shapes(&request).iter().map(|specs| specs[0].shape[0]).collect()
    }

    #[test]
    fn a_model_is_loaded_for_the_shapes_that_run() {
        let (once, accuracy) = (json!({"kind": "once"}), json!({"kind": "accuracy"}));
        assert_eq!(loaded_rows(&accuracy, 1), [Some(1), Some(2)]);
        assert_eq!(loaded_rows(&once, 1), [Some(1)]);
        assert_eq!(loaded_rows(&accuracy, 2), [Some(2), Some(1)]);
        assert_eq!(loaded_rows(&once, 2), [Some(2)]);
        assert_eq!(loaded_rows(&accuracy, 5), [Some(3)]);
    }
}
