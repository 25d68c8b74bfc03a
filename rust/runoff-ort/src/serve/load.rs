//! The measure `load` of the runner protocol.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use runoff_core::clock::cpu_ns;
use runoff_core::image::MAX_PIXELS;
use runoff_core::protocol::{Load, Request, Transport};
use runoff_core::topk;
use runoff_runner::{Input, Served, print};
use runoff_session::{Error, Kind, Session};
use tokio::sync::oneshot;

use super::model::{Inputs, Model, Payload};
use super::queue::Queue;
use super::server::{Labels, Parts, Server, State};
use super::{http, limits, pipe};

/// Maximum size of a body, as the protocol has it.
const MAX_BODY: usize = 16 << 20;

/// How long a connection may be idle: the client waits for its turn.
const IDLE_TIME: Duration = Duration::from_hours(1);

/// Responds to requests as `load` says. `places` are those of the session's inputs and outputs that the request uses;
/// `items` are the inputs of each item of tensors.
///
/// # Errors
///
/// Those of [`Model::new`], of reading images, and of the requests.
pub fn measure(
    request: &Request,
    load: Load,
    session: &Session,
    places: (Vec<usize>, Vec<usize>),
    items: Vec<Vec<Input>>,
) -> Result<Served, Error> {
    let inputs = request.preprocess.clone().filter(|_| items.is_empty());
    let inputs = inputs.map_or(Inputs::Tensors, |preprocess| Inputs::Image(preprocess, MAX_PIXELS));
    let model = Model::new(session, places, inputs, load.max_batch.get())?;
    let limits = limits(load.max_batch, load.max_wait_us, load.max_queue);
    let workers = load.workers.get();
    if load.transport == Transport::Pipe {
        let images = request.inputs.iter().filter_map(|item| item.image.as_deref());
        let payloads = if items.is_empty() {
            images.map(read).collect::<Result<_, _>>()?
        } else {
            items.into_iter().map(tensors).collect()
        };
        return pipe::serve(&model, workers, limits, payloads);
    }
    let names = request.labels.as_deref().map(topk::read_labels).transpose()?.unwrap_or_default();
    let labels = items.is_empty().then(|| Arc::new(Labels { top: request.top_k.get(), names }));
    let shapes = items.first().into_iter().flatten().map(|input| input.shape().to_vec()).collect();
    let server = Arc::new(Server {
        queue: Queue::new(limits),
        max_queue: limits.queue,
        labels,
        inputs: Parts::new(model.inputs(), shapes, MAX_BODY)?,
        max_body: MAX_BODY,
        idle_time: IDLE_TIME,
        state: State::default(),
    });
    drop(items);
    serve_http(&model, workers, &server)
}

fn serve_http(model: &Model<'_>, workers: usize, server: &Arc<Server>) -> Result<Served, Error> {
    let (listener, address) = http::listen("127.0.0.1", 0)?;
    let mut before_ns = 0;
    let begin = || {
        let end = stdin_ends()?;
        print(&format!("ready {}\n", address.port()))?;
        before_ns = cpu_ns();
        Ok(end)
    };
    http::serve(model, workers, server, listener, begin, |_| ())?;
    Ok(Served { kept: Vec::new(), cpu_ns: cpu_ns() - before_ns })
}

/// Ready at the end of stdin.
fn stdin_ends() -> io::Result<impl Future<Output = ()>> {
    let (sender, receiver) = oneshot::channel::<()>();
    thread::Builder::new().spawn(move || {
        // a failure to read is an end too
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        drop(sender);
    })?;
    Ok(async move {
        let _ = receiver.await;
    })
}

/// The file of an image.
fn read(path: &Path) -> Result<Payload, Error> {
    let bytes = std::fs::read(path).map_err(|error| {
        Error::new(Kind::ImageMissing, format!("image {}: {error}", path.display()), "check the path")
    })?;
    Ok(Payload { parts: vec![bytes.into()], shapes: Arc::default() })
}

/// The inputs of an item, where they are.
fn tensors(inputs: Vec<Input>) -> Payload {
    let shapes = inputs.iter().map(|input| input.shape().to_vec()).collect();
    Payload { parts: inputs.into_iter().map(|input| Bytes::from_owner(Elements(input))).collect(), shapes }
}

struct Elements(Input);

impl AsRef<[u8]> for Elements {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}
