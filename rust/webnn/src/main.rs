//! `runoff-webnn`: the runner of the target `webnn-rust`, WebNN's graph builder and dispatch of the crate rustnn.
//!
//! It shares no crate with the other programs: `runoff-core` needs another release of the crate `ort`. Tensors of float32 only.

#![deny(unsafe_code)]

mod convert;
#[path = "../../runoff-capi/src/failure.rs"]
mod failure;
mod measure;
mod phases;
mod request;
mod session;

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use convert::Model;
use failure::Failure;
use measure::Loop;
use phases::Phases;
use request::Request;
use session::Session;

const USAGE: &str = "usage: runoff-webnn --request FILE --result FILE | --capabilities";
/// The release in Cargo.toml.
const VERSION: &str = "0.6.0";

fn main() -> ExitCode {
    let phases = Phases::begin();
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let words: Vec<&Path> = words.iter().map(Path::new).collect();
    match words[..] {
        [word] if word == "--capabilities" || word == "--probe" => print_capabilities(),
        [first, request, second, result] if first == "--request" && second == "--result" => {
            respond(request, result, phases)
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn print_capabilities() -> ExitCode {
    let mut fields = json!({
        "protocol": [1], "runner": "webnn-rust", "language": "rust", "runtime": "rustnn", "version": VERSION,
        "workloads": ["tensor"], "formats": ["onnx"], "providers": ["cpu"], "precisions": ["fp32"], "max_batch": 1,
        "measures": ["once", "accuracy", "turns"], "settings": ["threads"], "library": library(),
    });
    let code = match session::context() {
        Ok(context) => {
            fields["build"] = json!(build(&context));
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

/// The backend as the context reports it, and how it computes.
fn build(context: &rustnn::mlcontext::MLContext) -> String {
    let (backend, device) = (context.rustnn_backend(), context.rustnn_device_type());
    format!("backend {backend:?} on {device:?}: ONNX Runtime without graph optimisation, one session")
}

fn library() -> Option<String> {
    std::env::var("ORT_DYLIB_PATH").ok()
}

/// Executes the request in the file `path` and writes the result, also of a failure.
fn respond(path: &Path, result: &Path, mut phases: Phases) -> ExitCode {
    let (fields, code) = match Request::read(path).and_then(|request| serve(&request, &mut phases)) {
        Ok(fields) => (fields, 0),
        Err(failure) => {
            let Failure { kind, message, hint } = &failure;
            eprintln!("webnn-rust: {kind}: {message}");
            let document = fs::read(path).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
            let case = document.as_ref().and_then(|document| document["case"].as_str()).unwrap_or("");
            let fields = json!({
                "protocol": 1, "case": case, "status": failure.status(), "kind": kind, "message": message,
                "hint": hint, "phases": phases.done(),
            });
            (fields, failure.exit_code())
        }
    };
    // to a temporary file, then renamed, so readers never see a partial one
    let temporary = result.with_extension(format!("{}.tmp", std::process::id()));
    if let Err(error) = fs::write(&temporary, fields.to_string()).and_then(|()| fs::rename(&temporary, result)) {
        eprintln!("webnn-rust: cannot write --result {}: {error}", result.display());
        return ExitCode::FAILURE;
    }
    ExitCode::from(code)
}

fn serve(request: &Request, phases: &mut Phases) -> Result<Value, Failure> {
    phases.spawned(request.spawn_ns);
    size_pool(request.threads()?.get());
    let context = session::context()?;
    let build = build(&context);
    phases.end("runtime");
    let model = read(&request.model.path)?;
    let wanted: Vec<&str> = request.model.inputs.iter().map(|spec| spec.name.as_str()).collect();
    let outputs: Vec<String> = outputs(request, &model, &wanted)?;
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let inputs: Vec<_> = wanted.into_iter().zip(request.shapes()?).collect();
    let before = thread_count();
    let session = Session::new(context, model, &inputs, &outputs, || phases.end("convert"))?;
    let threads = thread_count().zip(before).map(|(after, before)| after.saturating_sub(before) + 1);
    phases.end("load");
    let items = (0..request.inputs.len()).map(|number| request.item(number)).collect::<Result<Vec<_>, _>>()?;
    if items.iter().flatten().zip(inputs.iter().cycle()).any(|(tensor, (_, shape))| &tensor.shape != shape) {
        return Err(Failure::new("model-mismatch", "items differ in their shapes", "WebNN's shapes are static"));
    }
    phases.end("preprocess");
    let mut measured = Loop::new(session, items, &request.outputs_dir);
    measured.perform(&request.measure, phases)?;
    let mut fields = measured.fields()?;
    phases.end("output");
    fields["protocol"] = json!(1);
    fields["case"] = json!(request.case);
    fields["status"] = json!("ok");
    fields["phases"] = json!(phases.done());
    fields["memory"] = json!({"peak_bytes": peak_bytes()});
    fields["effective"] = json!({
        "runtime": "rustnn", "version": VERSION, "build": build, "language": "rust", "provider": "cpu",
        "library": library(), "threads": threads, "ignored": request.ignored(),
    });
    Ok(fields)
}

fn read(path: &Path) -> Result<Model, Failure> {
    const HINT: &str = "export or add the model again (runoff list models)";
    let bytes = fs::read(path).map_err(|error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let kind = if missing { "model-missing" } else { "model-unreadable" };
        Failure::new(kind, format!("model.path: {}: {error}", path.display()), HINT)
    })?;
    Model::decode(&bytes).map_err(|reason| {
        let message = format!("model.path: {} cannot be loaded: {reason}", path.display());
        Failure::new("model-unreadable", message, HINT)
    })
}

/// Names of the outputs to compute: those of the request, else all.
fn outputs(request: &Request, model: &Model, wanted: &[&str]) -> Result<Vec<String>, Failure> {
    let (inputs, outputs) = model.names();
    let named: Vec<&str> = request.model.outputs.iter().map(|spec| spec.name.as_str()).collect();
    let known = named.iter().all(|name| outputs.contains(name));
    if !known || inputs.len() != wanted.len() || !inputs.iter().all(|name| wanted.contains(name)) {
        let message = format!("model: the file has inputs {} and outputs {}", inputs.join(", "), outputs.join(", "));
        return Err(Failure::new("model-mismatch", message, "compare the request with the model's manifest"));
    }
    Ok((if named.is_empty() { outputs } else { named }).into_iter().map(str::to_owned).collect())
}

/// Sizes the pool of threads of ONNX Runtime's sessions, which rustnn has no setting for.
#[allow(unsafe_code)]
fn size_pool(threads: u16) {
    // SAFETY: the program has only one thread until the context is created.
    unsafe { std::env::set_var("ORT_INTRA_OP_NUM_THREADS", threads.to_string()) };
}

/// Number of threads of this process; `None` without `/proc`.
fn thread_count() -> Option<usize> {
    Some(fs::read_dir("/proc/self/task").ok()?.count())
}

/// Peak resident set size in bytes; `None` without `/proc`.
fn peak_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
