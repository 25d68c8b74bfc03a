//! `runoff-floor`: the least that a native process costs with ONNX Runtime.
//!
//! One image to its best class, by the bare C API. It exists to hold `runoff-ort` against it: only what is done to the
//! image is shared with it.

#![deny(unsafe_code)]

mod api;
mod arguments;
mod session;
mod turns;

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;
use std::thread;

use memmap2::Mmap;
use runoff_core::error::{Error, Kind};
use runoff_core::preprocess::Preprocessor;
use runoff_core::topk;

use api::{Api, Environment};
use arguments::Arguments;
use session::{Input, Options, Session};

fn main() -> ExitCode {
    forbid_telemetry();
    let outcome = arguments::parse(std::env::args_os().skip(1).collect())
        .and_then(|arguments| if arguments.cold { run_cold(arguments) } else { run_default(&arguments) });
    outcome.map_or_else(
        |error| {
            eprintln!("error: {error}");
            ExitCode::from(error.kind.exit_code())
        },
        |()| ExitCode::SUCCESS,
    )
}

/// ONNX Runtime reads this variable when its environment is made; from 1.32 on it reports home unless told not to.
#[allow(unsafe_code)]
fn forbid_telemetry() {
    const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";
    if std::env::var_os(VARIABLE).is_none() {
        // SAFETY: this is the first thing that the program does: it has one thread.
        unsafe { std::env::set_var(VARIABLE, "1") };
    }
}

/// One step after the other, everything at ONNX Runtime's defaults, everything released at the end.
fn run_default(arguments: &Arguments) -> Result<(), Error> {
    let environment = Environment::new(Api::load(&api::library()?)?)?;
    let options = Options::new(environment.api, false)?;
    let session = Session::from_file(&environment, &options, &arguments.model)?;
    let image = Image::load(arguments)?;
    infer(&session, image, environment.api, arguments)
}

/// The model in place, the image in a second thread meanwhile, and no tear-down.
fn run_cold(arguments: Arguments) -> Result<(), Error> {
    let shared = std::sync::Arc::new(arguments);
    let arguments = std::sync::Arc::clone(&shared);
    let image = thread::spawn(move || Image::load(&shared));
    let bytes = map(&arguments.model)?;
    let environment = Environment::new(Api::load(&api::library()?)?)?;
    let options = Options::new(environment.api, true)?;
    let session = Session::from_bytes(&environment, &options, &bytes, &arguments.model)?;
    let image = image.join().map_err(|_| Error::new(Kind::Internal, "preprocessing panicked", "report this"))??;
    infer(&session, image, environment.api, &arguments)?;
    leave_at_once()
}

/// The image as a tensor, and what it takes to make it again.
struct Image {
    preprocessor: Preprocessor,
    elements: Vec<f32>,
    labels: Vec<String>,
}

impl Image {
    fn load(arguments: &Arguments) -> Result<Self, Error> {
        let labels = topk::read_labels(&arguments.labels).map_err(|error| {
            Error::new(Kind::BadRequest, error.message, "LABELS is a text file with a label per line")
        })?;
        let mut preprocessor = Preprocessor::new(&arguments.preprocess)?;
        let mut elements = vec![0.0; preprocessor.tensor_len()];
        preprocessor.load(&arguments.image, &mut elements)?;
        Ok(Self { preprocessor, elements, labels })
    }
}

/// Infers, with `turns` as often as stdin asks, and prints the best class.
fn infer(session: &Session, image: Image, api: Api, arguments: &Arguments) -> Result<(), Error> {
    let Image { mut preprocessor, elements, labels } = image;
    let mut input = Input::new(api, elements, preprocessor.crop())?;
    let output = session.run(&input)?;
    let best = topk::top(output.elements()?, 1, &labels)?;
    drop(output);
    if arguments.turns {
        turns::serve(&mut || {
            preprocessor.load(&arguments.image, input.elements())?;
            turns::timed(|| session.run(&input))
        })?;
    }
    let best = best.first().ok_or_else(|| {
        Error::new(Kind::ModelMismatch, "the model's first output is empty", "use a model that classifies")
    })?;
    turns::say(&format!("{} {}", best.label.as_deref().unwrap_or("?"), best.confidence))
}

#[allow(unsafe_code)]
fn map(path: &Path) -> Result<Mmap, Error> {
    let fail = |error: std::io::Error| {
        let kind =
            if error.kind() == std::io::ErrorKind::NotFound { Kind::ModelMissing } else { Kind::ModelUnreadable };
        Error::new(kind, format!("cannot map the model {}: {error}", path.display()), "check the path")
    };
    let file = File::open(path).map_err(fail)?;
    // SAFETY: a prepared model is written under another name and renamed, so a file that is mapped stays as it is.
    unsafe { Mmap::map(&file) }.map_err(fail)
}

/// Ends the process with exit code 0 without freeing anything.
#[allow(unsafe_code)]
fn leave_at_once() -> ! {
    // SAFETY: `_exit` takes no pointers and does not return; stdout was flushed, the rest is the kernel's to free.
    unsafe { libc::_exit(0) }
}
