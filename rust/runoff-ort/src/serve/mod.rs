//! `runoff-ort serve`: a model as a service, over HTTP; and the measure `load`, by the same code.

mod http;
mod load;
mod metrics;
mod model;
mod pipe;
mod queue;
mod response;
mod server;

use std::future::poll_fn;
use std::io;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Poll;
use std::thread::available_parallelism;
use std::time::Duration;

use runoff_core::topk;
use runoff_runner::malloc::keep_memory;
use runoff_runner::{exit_immediately, print, report_error};
use runoff_session::{Error, Session, Settings, Source, ValueType};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::bench::inputs::{Dim, check_dims, default_shape};
use crate::{preprocessing, session};
pub use load::measure;
use model::{Inputs, Model};
use queue::{Limits, Queue};
use server::{Labels, Parts, Server};

const EXAMPLES: &str = "\
Examples:
  runoff-ort serve efficientnet-lite0                  # a folder of the model store: images to labels
  curl --data-binary @photo.jpg http://127.0.0.1:8080/infer
  runoff-ort serve model.onnx --dim batch=1            # a model without preprocessing: any tensors
  curl --data-binary @input.bin http://127.0.0.1:8080/infer --output outputs.bin
  runoff-ort serve model.onnx --workers 4 --max-batch 8 --max-wait-us 2000
  curl http://127.0.0.1:8080/metrics

With preprocessing (from the manifest, or all of its flags) POST /infer takes an image file and returns the best classes as
JSON; without, it takes the little-endian elements of the inputs, and returns those of the outputs. GET /health, GET /metrics.
SIGTERM and Ctrl-C: requests in flight are answered, for up to 25 s; the exit code is 0 if all were.";

/// The command line of `serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Model: an ONNX file, an .ort file that `prepare` made, or a folder with model.onnx.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Address or name of this machine to listen on; 0.0.0.0 is all of them.
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    host: String,
    /// Port to listen on; 0 is any that is free.
    #[arg(long, value_name = "PORT", default_value = "8080")]
    port: u16,
    /// Concurrent inferences, which share --threads - 1 more threads [default: cores + 1 - threads].
    #[arg(long, value_name = "N")]
    workers: Option<NonZeroUsize>,
    /// Maximum number of waiting requests per inference.
    #[arg(long, value_name = "N", default_value = "1")]
    max_batch: NonZeroUsize,
    /// How long a request waits for others to fill a batch, in microseconds.
    #[arg(long, value_name = "US", default_value = "0")]
    max_wait_us: u64,
    /// Maximum number of waiting requests; further ones get status 503.
    #[arg(long, value_name = "N", default_value = "1024")]
    max_queue: NonZeroUsize,
    /// Largest body of a request, in bytes.
    #[arg(long, value_name = "BYTES", default_value = "16777216")]
    max_body: NonZeroUsize,
    /// Largest image, in pixels: a worker needs up to 8 bytes for each.
    #[arg(long, value_name = "N", default_value = "50000000")]
    max_pixels: NonZeroU64,
    #[command(flatten)]
    session: session::SessionArgs,
    #[command(flatten)]
    preprocessing: preprocessing::PreprocessingArgs,
    /// Text file with a label per line [default: the manifest's].
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// How many classes of an image are returned.
    #[arg(long, value_name = "K", default_value = "5")]
    top: NonZeroUsize,
    /// Size of a free dimension of a model of tensors [default: 1].
    #[arg(long = "dim", value_name = "NAME=N")]
    dims: Vec<Dim>,
}

/// Serves the model until SIGTERM or Ctrl-C; returns the exit code.
///
/// # Errors
///
/// Those of [`session::open`], `bad-request` for flags that do not suffice or fit and for an address that cannot be had,
/// and those of stdout.
pub fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let is_folder = arguments.model.is_dir();
    let path = if is_folder { arguments.model.join("model.onnx") } else { arguments.model.clone() };
    let images = arguments.preprocessing.resolve_if_any(&path)?;
    let labels = arguments.labels.clone().or_else(|| images.as_ref()?.1.clone());
    let names = labels.map(|labels| topk::read_labels(&labels)).transpose()?.unwrap_or_default();
    let dimensions = arguments.dims.iter().map(|dim| (dim.name.clone(), dim.size)).collect();
    let settings = Settings { dimensions, keep_batch_free: true, ..arguments.session.settings(None)? };
    session::note_unprepared(&settings, &path);
    let source = Source::File(&path);
    let (_, session) = session::open(&arguments.session.library, source, &settings)?;
    keep_memory();
    check_dims(&arguments.dims, [(&session, source)].into_iter())?;
    let inputs = match &images {
        Some((preprocess, _)) => Inputs::Image(preprocess.clone(), arguments.max_pixels.get()),
        None => Inputs::Tensors,
    };
    let model = Model::new(&session, places(&session), inputs, arguments.max_batch.get())?;
    let tensors = model.inputs().iter().filter(|_| images.is_none());
    let shapes = tensors.map(|info| default_shape(info, &arguments.dims)).collect();
    let server = Arc::new(Server {
        queue: Queue::new(limits(arguments.max_batch, arguments.max_wait_us, arguments.max_queue)),
        max_queue: arguments.max_queue.get(),
        labels: images.is_some().then(|| Arc::new(Labels { top: arguments.top.get(), names })),
        inputs: Parts::new(model.inputs(), shapes, arguments.max_body.get())?,
        max_body: arguments.max_body.get(),
        idle_time: Duration::from_secs(10),
        state: server::State::default(),
    });
    let (listener, address) = http::listen(&arguments.host, arguments.port)?;
    let workers = arguments.workers.map_or_else(|| default_workers(settings.threads), NonZeroUsize::get);
    let begin = || {
        let end = shutdown_signal()?;
        print(&format!("listening on http://{address} ({})\n", server.describe()))?;
        Ok(end)
    };
    http::serve(&model, workers, &server, listener, begin, |outcome| leave(outcome))?;
    Ok(0)
}

/// As many as keep every core busy: all of them share the threads of one session.
fn default_workers(threads: NonZeroUsize) -> usize {
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    (cores + 1).saturating_sub(threads.get()).max(1)
}

/// Ends the process, without waiting for the workers: they may compute for long what nobody waits for any more.
fn leave(outcome: &Result<usize, Error>) -> ! {
    let code = match outcome {
        Ok(0) => 0,
        Ok(left) => {
            let were = if *left == 1 { " was" } else { "s were" };
            report_error(&format!("{left} request{were} not answered within {} s", http::END_TIME.as_secs()));
            1
        }
        Err(error) => {
            report_error(&error.to_string());
            error.kind.exit_code()
        }
    };
    exit_immediately(code)
}

/// Places of all inputs that must be given, and of all outputs that are tensors.
fn places(session: &Session) -> (Vec<usize>, Vec<usize>) {
    let is_needed = |place: &usize| !matches!(session.inputs()[*place].value, ValueType::Optional(_));
    let is_tensor = |place: &usize| matches!(session.outputs()[*place].value, ValueType::Tensor(_));
    let inputs = (0..session.inputs().len()).filter(is_needed).collect();
    (inputs, (0..session.outputs().len()).filter(is_tensor).collect())
}

fn limits(batch: NonZeroUsize, wait_us: u64, queue: NonZeroUsize) -> Limits {
    Limits { batch: batch.get(), wait: Duration::from_micros(wait_us), queue: queue.get() }
}

/// Ready at the first SIGTERM or Ctrl-C; the second one ends the process.
fn shutdown_signal() -> io::Result<impl Future<Output = ()>> {
    let mut signals = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
    Ok(async move {
        any_signal(&mut signals).await;
        tokio::spawn(async move {
            any_signal(&mut signals).await;
            exit_immediately(130);
        });
    })
}

async fn any_signal(signals: &mut [Signal]) {
    poll_fn(|context| {
        let is_any = signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
        if is_any { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
