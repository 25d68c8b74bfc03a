//! `runoff-capi`: a runner on ONNX Runtime's bare C API.
//!
//! The target `capi-rust` shows the minimum cost of a native process with ONNX Runtime, for comparison with
//! `runoff-ort`. It shares no code with `runoff-core` except the EXIF orientation, but both use the same crates for
//! images. Its time includes reading the request and writing the result: well under a millisecond.

#![deny(unsafe_code)]

mod api;
mod failure;
mod image;
mod labels;
#[path = "../../runoff-core/src/image/orientation.rs"]
mod orientation;
mod request;
mod runner;
mod session;

use std::ffi::OsString;
use std::fs;
use std::fs::File;
use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::thread::{self, JoinHandle};

use memmap2::Mmap;
use serde_json::{Value, json};

use api::{Api, Environment};
use failure::Failure;
use image::Images;
use request::{Measure, Request, Settings, Teardown};
use runner::{First, Runner};
use session::{Options, Session};

const USAGE: &str = "usage: runoff-capi --request FILE --result FILE | --capabilities";
/// Name of the thread that preprocesses the first image.
const READER: &str = "runoff-reader";

fn main() -> ExitCode {
    forbid_telemetry();
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let words: Vec<&Path> = words.iter().map(Path::new).collect();
    match words[..] {
        [word] if word == "--capabilities" || word == "--probe" => print_capabilities(),
        [first, request, second, result] if first == "--request" && second == "--result" => respond(request, result),
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
        "workloads": ["classify"], "formats": ["onnx", "ort"], "providers": ["cpu"],
        "measures": ["once", "accuracy", "turns"], "settings": request::SETTINGS, "max_batch": 1,
        "precisions": request::PRECISIONS,
    });
    let code = match library() {
        Ok((api, path)) => {
            fields["version"] = json!(api.version());
            fields["build"] = json!(api.build());
            fields["library"] = json!(path);
            0
        }
        Err(failure) => {
            let Failure { kind, message, hint } = &failure;
            fields["unavailable"] = json!({"kind": kind, "message": message, "hint": hint});
            failure.exit_code()
        }
    };
    println!("{fields}");
    ExitCode::from(code)
}

fn library() -> Result<(Api, String), Failure> {
    let path = api::library()?;
    Ok((Api::load(&path)?, path.display().to_string()))
}

/// Executes the request in the file `path` and writes the result, also of a failure.
fn respond(path: &Path, result: &Path) -> ExitCode {
    let Err(failure) = request::read(path).and_then(|request| serve(request, result)) else {
        return ExitCode::SUCCESS;
    };
    let Failure { kind, message, hint } = &failure;
    eprintln!("runoff-capi: {kind}: {message}");
    let document = fs::read(path).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let case = document.as_ref().and_then(|document| document["case"].as_str()).unwrap_or("");
    let fields = json!({
        "protocol": 1, "case": case, "status": failure.status(), "kind": kind, "message": message, "hint": hint,
    });
    if let Err(failure) = write(result, &fields) {
        eprintln!("runoff-capi: {}", failure.message);
    }
    ExitCode::from(failure.exit_code())
}

fn serve(request: Request, result: &Path) -> Result<(), Failure> {
    let Request { case, model, inputs, preprocess, labels, settings, measure, top_k, outputs_dir, .. } = request;
    let in_place = model.format == "ort";
    let first =
        Reading::begin(Images::new(inputs.into_iter().map(|item| item.image).collect(), preprocess), &settings)?;
    let bytes = map(&model.path)?;
    let (api, library) = library()?;
    let environment = Environment::new(api)?;
    let options = Options::new(api, &settings, in_place, matches!(measure, Measure::Turns { .. }))?;
    let before = thread_count();
    let session = if in_place {
        Session::from_bytes(&environment, &options, &bytes, &model.path)?
    } else {
        Session::from_file(&environment, &options, &model.path)?
    };
    let threads = thread_count().zip(before).map(|(after, before)| after.saturating_sub(before) + 1);
    let mut runner = Runner::begin(api, &session, first.end()?, &outputs_dir)?;
    runner.perform(measure)?;
    let top = labels::top(runner.logits()?, top_k.get(), &labels::read(labels.as_deref())?)?;
    let mut fields = runner.fields()?;
    fields["protocol"] = json!(1);
    fields["case"] = json!(case);
    fields["status"] = json!("ok");
    fields["top"] = json!([top]);
    fields["memory"] = json!({"peak_bytes": peak_bytes()});
    fields["effective"] = json!({
        "runtime": "onnxruntime", "version": api.version(), "build": api.build(), "language": "rust", "provider": "cpu",
        "library": library, "denormals": denormals(), "allocator": allocator(), "threads": threads,
        "ignored": settings.ignored(&model.format),
        "practices": in_place.then_some("mapped-model").as_slice(),
    });
    write(result, &fields)?;
    if settings.teardown == Some(Teardown::Skip) {
        exit_immediately();
    }
    Ok(())
}

/// The first image, preprocessed later or in a thread while the runtime starts and the model loads.
enum Reading {
    Later(Images),
    Ahead(JoinHandle<Result<First, Failure>>),
}

impl Reading {
    fn begin(images: Images, settings: &Settings) -> Result<Self, Failure> {
        if settings.overlap != Some(true) {
            return Ok(Self::Later(images));
        }
        let thread = thread::Builder::new().name(READER.to_owned()).spawn(move || First::load(images));
        thread.map(Self::Ahead).map_err(|error| internal(format!("cannot start a thread: {error}")))
    }

    fn end(self) -> Result<First, Failure> {
        match self {
            Self::Later(images) => First::load(images),
            Self::Ahead(thread) => thread.join().map_err(|_| internal("preprocessing panicked"))?,
        }
    }
}

fn internal(message: impl Into<String>) -> Failure {
    Failure::new("internal", message, "report this")
}

/// Writes the result to a temporary file, then renames it, so readers never see a partial file.
fn write(path: &Path, fields: &Value) -> Result<(), Failure> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    fs::write(&temporary, fields.to_string()).and_then(|()| fs::rename(&temporary, path)).map_err(|error| {
        Failure::new("internal", format!("cannot write --result {}: {error}", path.display()), "check the folder")
    })
}

#[allow(unsafe_code)]
fn map(path: &Path) -> Result<Mmap, Failure> {
    let fail = |error: std::io::Error| {
        let is_missing = error.kind() == std::io::ErrorKind::NotFound;
        let kind = if is_missing { "model-missing" } else { "model-unreadable" };
        Failure::new(kind, format!("cannot map the model {}: {error}", path.display()), "check model.path")
    };
    let file = File::open(path).map_err(fail)?;
    // SAFETY: a prepared model is written to another file and renamed, so a mapped file does not change.
    unsafe { Mmap::map(&file) }.map_err(fail)
}

/// Peak resident set size in bytes; `None` without `/proc`.
fn peak_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Number of threads of this process, without the one that preprocesses the first image; `None` without `/proc`.
fn thread_count() -> Option<usize> {
    let tasks = fs::read_dir("/proc/self/task").ok()?.filter_map(Result::ok);
    let is_reader = |name: String| name.trim_end() == READER;
    Some(tasks.filter(|task| !fs::read_to_string(task.path().join("comm")).is_ok_and(is_reader)).count())
}

/// `kept`, or `flushed` to zero; tested with half of the smallest normal float32.
fn denormals() -> &'static str {
    if black_box(f32::MIN_POSITIVE) * black_box(0.5) == 0.0 { "flushed" } else { "kept" }
}

/// Name of the C library's allocator; `None` if another one may be preloaded.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
fn allocator() -> Option<String> {
    // SAFETY: the function returns a static string terminated by NUL.
    let version = unsafe { std::ffi::CStr::from_ptr(libc::gnu_get_libc_version()) };
    std::env::var_os("LD_PRELOAD").is_none().then(|| format!("glibc {}", version.to_string_lossy()))
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn allocator() -> Option<String> {
    None
}

/// Exits the process with code 0 without freeing anything.
#[allow(unsafe_code)]
fn exit_immediately() -> ! {
    // SAFETY: `_exit` takes no pointers and does not return. Nothing is buffered, and the kernel frees all resources.
    unsafe { libc::_exit(0) }
}
