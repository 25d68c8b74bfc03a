//! `runoff-ort bench`: how fast models load and run.

pub mod inputs;
mod npz;
mod report;
mod tensor;
mod turns;

use std::path::{Path, PathBuf};

use runoff_core::clock::now_ns;
use runoff_core::memory;
use runoff_runner::{print, print_json, report_error};
use runoff_session::{Dtype, Error, Kind, RawTensor, Runtime, Session, Settings, Source, Value};

use crate::process::{catch_interrupt, is_interrupted};
use crate::session;
use crate::stdin::{is_stdin, read_stdin};
use inputs::{InputArgs, Item, check_dims};
use report::{Conditions, Exports, Measured};
use tensor::Tensor;
use turns::{Candidate, EffortArgs, measure, show_progress};

/// Exit code after Ctrl-C.
const INTERRUPTED: u8 = 130;

const EXAMPLES: &str = "\
Examples:
  runoff-ort bench model.onnx
  runoff-ort bench a.onnx b.onnx --min-time 5 --export-markdown compared.md
  runoff-ort bench model.onnx --inputs inputs.npz --json | jq .warm.median_ns
  runoff-ort bench model.onnx --dim batch=8 --concurrency 4 --samples 2000
  runoff-ort bench model.onnx --set optimization=basic --set session.intra_op.spin_duration_us=200
  runoff-ort bench efficientnet-lite0/model.onnx --image a.jpg --image b.jpg
  curl -s https://example.org/model.onnx | runoff-ort bench -

Only the inference is timed. Random inputs are from 0 to 1, any byte if they are bytes, and 0 or 1 for other integers.
Percentiles have 95% bounds that hold for any distribution of independent samples, and are omitted if there are too few.
Several models take turns of at least 20 ms in 25 rounds of random order; the ratio to the first is the median over
rounds, with its 95% bounds. `bench a.onnx a.onnx b.onnx` shows how far two measurements of one model differ. One process
on a busy machine proves little: `runoff bench` compares many.

--concurrency N: N threads call one session; each computes with --threads. Throughput is that of all.
--set KEY=VALUE: threads, inter_threads, optimization (disable, basic, extended, all), spinning, arena, prepacking (true,
false), spin_duration_us, spin_backoff_max, execution (sequential, parallel), provider, precision, batch; every key with a dot goes to ONNX Runtime as it is,
which ignores unknown ones.
With --provider cuda or tensorrt, inputs and outputs are in the GPU's memory; an inference is still host to host, and the
copies are shown apart. A free dimension called batch is then fixed: at --dim batch=N, at the first dimension of the first
--shape, or at 1.
Ctrl-C ends the measurement and prints what was measured; the exit code is 130.";

/// The command line of `bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Models: ONNX files, or .ort files that `prepare` made; - is stdin. Several are compared with the first.
    #[arg(value_name = "MODEL", required_unless_present = "named")]
    models: Vec<PathBuf>,
    /// As MODEL.
    #[arg(long = "model", value_name = "FILE")]
    named: Vec<PathBuf>,
    #[command(flatten)]
    session: session::SessionArgs,
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    effort: EffortArgs,
    /// Print JSON, with every sample: one line for each model.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    exports: Exports,
}

/// A model that is loaded, and what it is run on.
struct Model<'a> {
    path: &'a Path,
    session: Session,
    load_ns: u64,
    items: Vec<Item>,
}

/// Measures, and prints what was measured.
///
/// # Errors
///
/// Those of [`Session::of`] and [`Session::run`], those of preprocessing, `bad-request` for flags that do not fit,
/// `tensor-unreadable`, `model-mismatch` for a model that cannot be fed, and those of stdout and of the exported files.
pub fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    arguments.effort.check()?;
    let paths: Vec<&Path> = arguments.named.iter().chain(&arguments.models).map(PathBuf::as_path).collect();
    let named = paths.iter().copied().chain(arguments.inputs.arrays.iter().map(PathBuf::as_path));
    if named.filter(|path| is_stdin(path)).count() > 1 {
        let message = "-: stdin holds one file, a model or inputs";
        return Err(Error::new(Kind::BadRequest, message, "name the others").into());
    }
    arguments.exports.check()?;
    let settings = settings(arguments, paths.len())?;
    for path in &paths {
        session::note_unprepared(&settings, path);
    }
    let runtime = arguments.session.library.load()?;
    let models = load(arguments, &paths, &settings, &runtime)?;
    let conditions = Conditions {
        profile: settings.profile,
        set: arguments.session.set.iter().cloned().collect(),
        concurrency: arguments.effort.concurrency,
        provider: settings.provider,
        runtime: runtime.version,
    };
    let Some(results) = measured(arguments, &models, &conditions)? else {
        report_error("interrupted before every model was measured");
        return Ok(INTERRUPTED);
    };
    arguments.exports.write(&results)?;
    if arguments.json {
        results.iter().try_for_each(print_json)?;
    } else {
        print(&report::tables(&results))?;
    }
    if is_interrupted() {
        report_error("interrupted: the results are of the inferences until then");
        return Ok(INTERRUPTED);
    }
    Ok(0)
}

fn settings(arguments: &Arguments, models: usize) -> Result<Settings, Error> {
    let inputs = &arguments.inputs;
    // Threads of one model that wait for work must not take the CPU from another whose turn it is.
    let force_spinning_stop = models > 1;
    let of_profile = arguments.session.settings(None)?.batch;
    if of_profile > inputs.batch() {
        session::note(&format!("not applied: batch = {of_profile} of the profile: add --dim batch={of_profile}"));
    }
    let settings = arguments.session.settings(Some(inputs.batch()))?;
    Ok(Settings { dimensions: inputs.dimensions(), force_spinning_stop, ..settings })
}

fn load<'a>(
    arguments: &Arguments,
    paths: &[&'a Path],
    settings: &Settings,
    runtime: &Runtime,
) -> Result<Vec<Model<'a>>, Error> {
    let arrays = arguments.inputs.read_arrays()?;
    let environment = runtime.make_environment()?;
    let is_piped = paths.iter().any(|path| is_stdin(path));
    let bytes = is_piped.then(|| read_stdin("MODEL -")).transpose()?;
    let source = |path: &'a Path| match &bytes {
        Some(bytes) if is_stdin(path) => Source::Bytes(bytes),
        _ => Source::File(path),
    };
    let open = |path: &'a Path| {
        let begun_ns = now_ns();
        let session = Session::of(&environment, source(path), settings)?;
        let load_ns = now_ns() - begun_ns;
        let items = arguments.inputs.feed(&session, path, &arrays)?;
        Ok(Model { path, session, load_ns, items })
    };
    let models = paths.iter().copied().map(open).collect::<Result<Vec<_>, Error>>()?;
    check_dims(&arguments.inputs.dims, models.iter().map(|model| (&model.session, source(model.path))))?;
    Ok(models)
}

/// Measures the `models`; the first is what the others are compared with. `None` when Ctrl-C came too early.
fn measured(
    arguments: &Arguments,
    models: &[Model<'_>],
    conditions: &Conditions,
) -> Result<Option<Vec<Measured>>, Error> {
    let values = models.iter().map(|model| model.items.iter().map(values).collect::<Result<Vec<_>, _>>());
    let values = values.collect::<Result<Vec<_>, _>>()?;
    catch_interrupt();
    let candidates = models.iter().zip(&values).map(|(model, items)| {
        show_progress(&format!("warming up {}", model.path.display()));
        Candidate::warmed_up(&model.session, items, &arguments.effort)
    });
    let candidates = candidates.collect::<Result<Vec<_>, _>>();
    show_progress("");
    let mut candidates = candidates?;
    measure(&mut candidates, &arguments.effort, arguments.inputs.seed)?;
    let mut results = Vec::<Measured>::new();
    for ((model, candidate), values) in models.iter().zip(&candidates).zip(&values) {
        let outputs = outputs(&model.session, &values[0])?;
        let Some(mut own) = Measured::of(model, candidate, outputs, conditions) else { return Ok(None) };
        own.peak_bytes = if models.len() == 1 { memory::peak_bytes() } else { None };
        if let Some(first) = results.first() {
            own.compare(first);
        }
        results.push(own);
    }
    Ok(Some(results))
}

fn values(item: &Item) -> Result<Vec<Value<'_>>, Error> {
    item.iter().map(|tensor| Tensor::value(tensor)).collect()
}

/// Runs the model once more; returns the outputs that are tensors of numbers, by name.
fn outputs(session: &Session, values: &[Value<'_>]) -> Result<Vec<(String, RawTensor)>, Error> {
    let outputs = session.run(values)?;
    let copied = session.outputs().iter().zip(&outputs).filter_map(|(info, output)| {
        let is_numbers = info.dtype.is_some_and(|dtype| dtype != Dtype::Str);
        let tensor = is_numbers.then(|| RawTensor::copy_of(output, &info.name).ok()).flatten()?;
        Some((info.name.clone(), tensor))
    });
    Ok(copied.collect())
}
