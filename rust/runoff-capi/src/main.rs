//! `runoff-capi`: a runner on ONNX Runtime's bare C API.
//!
//! The target `capi-rust` shows the minimum cost of a native process with ONNX Runtime, for comparison with
//! `runoff-ort`: it has a session of its own, and for `classify` also its own preprocessing and measurement, with the
//! crates of `runoff-core`. `tensor` is measured by the code of all runners in Rust, around the bare session.

#![deny(unsafe_code)]

mod api;
mod image;
#[path = "../../runoff-core/src/image/orientation.rs"]
mod orientation;
mod request;
mod runner;
mod session;
mod tensors;

use std::ffi::OsString;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::{self, JoinHandle};

use runoff_core::memory::peak_bytes;
use runoff_core::protocol::{Measure, Request, RunResult, Workload, read_request, write_atomically};
use runoff_core::topk;
use runoff_runner::{MAPPED_MODEL, exit_immediately, ignored, malloc};
use runoff_session::{Error, HELPER_THREAD, Kind, PREPARED, Settings, Teardown, thread_count};
use serde_json::{Value, json};

use api::{Api, Environment};
use image::Images;
use runner::{First, Runner};
use session::{Options, Session};
use tensors::Tensors;

const USAGE: &str = "usage: runoff-capi --request FILE --result FILE | --capabilities";

fn main() -> ExitCode {
    forbid_telemetry();
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let words: Vec<&Path> = words.iter().map(Path::new).collect();
    match words[..] {
        [word] if word == "--capabilities" || word == "--probe" => print_capabilities(),
        [first, request, second, result] if first == "--request" && second == "--result" => {
            match read_request(request) {
                Ok(request) if request.workload == Workload::Classify => respond(&request, result),
                // also reports what is wrong with a request
                _ => runoff_runner::main::<Tensors>(|| ()),
            }
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Disables telemetry, which is on by default since ONNX Runtime 1.32. Creating the environment reads this variable.
#[allow(unsafe_code)]
fn forbid_telemetry() {
    const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";
    if std::env::var_os(VARIABLE).is_none() {
        // SAFETY: the program has only one thread, because this call is its first.
        unsafe { std::env::set_var(VARIABLE, "1") };
    }
}

fn print_capabilities() -> ExitCode {
    let mut fields = json!({
        "protocol": [1], "runner": "runoff-capi", "language": "rust", "runtime": "onnxruntime",
        "workloads": ["classify", "tensor"], "formats": ["onnx", "ort"], "providers": ["cpu"],
        "measures": ["once", "accuracy", "turns"], "settings": settings(), "max_batch": 1,
        "precisions": request::PRECISIONS,
    });
    let code = match library() {
        Ok((api, path)) => {
            fields["version"] = json!(api.version());
            fields["build"] = json!(api.build());
            fields["library"] = json!(path);
            0
        }
        Err(error) => {
            fields["unavailable"] = json!({"kind": error.kind, "message": error.message, "hint": error.hint});
            error.kind.exit_code()
        }
    };
    println!("{fields}");
    ExitCode::from(code)
}

fn settings() -> Vec<&'static str> {
    request::SETTINGS.into_iter().chain(request::OWN_SETTINGS).collect()
}

fn library() -> Result<(Api, PathBuf), Error> {
    let path = api::library()?;
    Ok((Api::load(&path)?, path))
}

/// Executes the request, and writes the result to the file `path`, also of a failure.
fn respond(request: &Request, path: &Path) -> ExitCode {
    match serve(request, path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => runoff_runner::write_result(path, &RunResult::failed(&request.case, &error)),
    }
}

fn serve(request: &Request, result: &Path) -> Result<(), Error> {
    let preprocess = request::check(request)?;
    let (settings, path) = (&request.settings, &request.model.path);
    let in_place = request.model.format == PREPARED;
    let paths = request.inputs.iter().filter_map(|item| item.image.clone()).collect();
    let first = Reading::begin(Images::new(paths, preprocess), settings)?;
    let (api, library) = library()?;
    let environment = Environment::new(api)?;
    let options = Options::new(api, settings, in_place, matches!(request.measure, Measure::Turns(_)))?;
    let before = thread_count();
    let session = Session::open(environment, &options, path, in_place)?;
    let threads = thread_count().zip(before).map(|(after, before)| after.saturating_sub(before) + 1);
    let mut runner = Runner::begin(&session, first.end()?, &request.outputs_dir)?;
    runner.perform(request.measure)?;
    let labels = request.labels.as_deref().map(topk::read_labels).transpose()?.unwrap_or_default();
    let top = topk::top(runner.logits()?, request.top_k.get(), &labels)?;
    let mut fields = runner.fields()?;
    fields["protocol"] = json!(1);
    fields["case"] = json!(request.case);
    fields["status"] = json!("ok");
    fields["top"] = json!([top]);
    fields["memory"] = json!({"peak_bytes": peak_bytes()});
    fields["effective"] = json!({
        "runtime": "onnxruntime", "version": api.version(), "build": api.build(), "language": "rust", "provider": "cpu",
        "library": library, "denormals": denormals(), "allocator": malloc::allocator(), "threads": threads,
        "ignored": ignored(request, &self::settings(), PREPARED),
        "practices": in_place.then_some(MAPPED_MODEL).as_slice(),
    });
    write(result, &fields)?;
    if settings.teardown == Some(Teardown::Skip) {
        exit_immediately(0);
    }
    Ok(())
}

/// The first image, preprocessed later or in a thread while the runtime starts and the model loads.
enum Reading {
    Later(Box<Images>),
    Ahead(JoinHandle<Result<First, Error>>),
}

impl Reading {
    fn begin(images: Images, settings: &Settings) -> Result<Self, Error> {
        if settings.overlap != Some(true) {
            return Ok(Self::Later(Box::new(images)));
        }
        let thread = thread::Builder::new().name(HELPER_THREAD.to_owned()).spawn(move || First::load(images));
        thread.map(Self::Ahead).map_err(|error| internal(format!("cannot start a thread: {error}")))
    }

    fn end(self) -> Result<First, Error> {
        match self {
            Self::Later(images) => First::load(*images),
            Self::Ahead(thread) => thread.join().map_err(|_| internal("preprocessing panicked"))?,
        }
    }
}

fn internal(message: impl AsRef<str>) -> Error {
    Error::new(Kind::Internal, message, "report this")
}

/// Writes the result so that readers never see a partial file.
fn write(path: &Path, fields: &Value) -> Result<(), Error> {
    write_atomically(path, fields.to_string().as_bytes()).map_err(|error| Error::write(path, &error))
}

/// `kept`, or `flushed` to zero; tested with half of the smallest normal float32.
fn denormals() -> &'static str {
    if black_box(f32::MIN_POSITIVE) * black_box(0.5) == 0.0 { "flushed" } else { "kept" }
}
