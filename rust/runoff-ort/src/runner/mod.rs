//! Executes a request with ONNX Runtime.

mod capabilities;
mod chosen;
mod model;
mod segment;
#[cfg(test)]
mod tests;

use runoff_core::clock::Phases;
use runoff_core::protocol::{Effective, Measure, Request, Workload};
use runoff_runner::{Answer, MAPPED_MODEL, Prefetch, Work, ignored};
use runoff_session::{Buffers, Error, PREPARED, Runtime, Session, Settings, library_from_env};

pub use capabilities::capabilities;
use capabilities::{FORMATS, known_settings};
use chosen::Chosen;
use model::Model;
use segment::Segmentations;

/// The practice of taking ONNX Runtime's code out of memory after the environment was created and after the model was loaded.
const RELEASED_CODE: &str = "released-code";

/// Executes `request`. `entry_ns` is the time of the first line of `main`.
///
/// Failures are reported in the result.
#[must_use]
pub fn execute(request: &Request, entry_ns: u64) -> Answer<'_> {
    runoff_runner::execute(request, entry_ns, &FORMATS, |phases, prefetch| open(request, phases, prefetch))
}

/// Loads ONNX Runtime and the model.
fn open<'a>(
    request: &'a Request,
    phases: &mut Phases,
    prefetch: Option<Prefetch>,
) -> Result<Box<dyn Work + 'a>, Error> {
    let runtime = Runtime::load(&library_from_env()?)?;
    phases.mark("runtime");
    let environment = runtime.make_environment()?;
    runtime.release_code();
    phases.mark("environment");
    let buffers = |session: &Session, chosen: &Chosen| {
        session.is_on_device().then(|| Buffers::of(session, &chosen.inputs, &chosen.outputs)).transpose()
    };
    let opened: Box<dyn Work + '_> = if request.workload == Workload::Segment {
        Box::new(Segmentations::open(request, runtime.clone(), &environment, phases)?)
    } else {
        Box::new(Model::open(request, runtime.clone(), &environment, phases, prefetch, buffers)?)
    };
    runtime.release_code();
    Ok(opened)
}

/// The request's settings. In interleaved runs, a process that waits for its turn must not use the CPU; nor must threads of
/// a session while masks are made.
fn session_settings(request: &Request) -> Settings {
    let force_spinning_stop = matches!(request.measure, Measure::Turns(_)) || request.segment.is_some();
    Settings { force_spinning_stop, ..request.settings.clone() }
}

/// Settings and runtime in effect.
fn effective(request: &Request, runtime: &Runtime, sessions: &[&Session]) -> Effective {
    let is_overlapped = request.workload != Workload::Segment || request.settings.overlap != Some(true);
    let mut ignored = ignored(request, &known_settings(), PREPARED);
    ignored.extend((!is_overlapped).then(|| "overlap".to_owned()));
    Effective {
        runtime: "onnxruntime".into(),
        version: runtime.version.clone(),
        language: "rust".into(),
        provider: Some(request.settings.provider.clone()),
        threads: sessions[0].threads(),
        build: Some(runtime.build.clone()),
        library: Some(runtime.library.clone()),
        device: sessions[0].device(),
        ignored,
        practices: practices(sessions),
        ..Effective::default()
    }
}

/// The practices in effect.
fn practices(sessions: &[&Session]) -> Vec<String> {
    let mapped = sessions.iter().all(|session| session.is_mapped()).then_some(MAPPED_MODEL);
    let released = cfg!(all(target_os = "linux", target_env = "gnu")).then_some(RELEASED_CODE);
    mapped.into_iter().chain(released).map(str::to_owned).collect()
}
