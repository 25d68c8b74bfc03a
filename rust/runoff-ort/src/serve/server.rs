//! What the server responds, whatever the connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, EXPECT, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use runoff_core::clock::now_ns;
use runoff_core::protocol::Guess;
use runoff_core::topk;
use runoff_session::{Dtype, Error, Kind, ValueInfo, show_shape};
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::metrics::Metrics;
use super::model::{Job, Payload, Reply, Row, not_computed};
use super::queue::{Queue, Ticket};
use super::response::{Failure, bad, failed, plain, status, unavailable};

/// How long the body of a request may take.
pub const BODY_TIME: Duration = Duration::from_secs(10);

/// How long the rest of a body that is refused may take.
const SKIP_TIME: Duration = Duration::from_secs(5);

/// The bodies that are being read and those that wait have together at most as many bytes as so many of the largest size.
const MOST_BODIES: usize = 16;

/// What a response to an image has.
pub struct Labels {
    pub top: usize,
    pub names: Vec<String>,
}

/// What is the same for all connections.
pub struct Server {
    pub queue: Queue<Job>,
    /// Maximum number of requests that wait.
    pub max_queue: usize,
    /// Of images; `None` for a model of tensors.
    pub labels: Option<Arc<Labels>>,
    /// Of tensors; none for a model of images.
    pub inputs: Parts,
    /// Maximum size of a body in bytes.
    pub max_body: usize,
    /// How long a connection may be idle, and how long the headers of a request may take.
    pub idle_time: Duration,
    pub state: State,
}

/// The inputs of a model of tensors.
pub struct Parts {
    each: Vec<Part>,
    shapes: Arc<[Vec<usize>]>,
    /// Size of all, in bytes.
    bytes: usize,
}

/// One input of a model of tensors.
struct Part {
    bytes: usize,
    /// What messages call it.
    name: String,
}

/// What changes while the server runs.
#[derive(Default)]
pub struct State {
    metrics: Metrics,
    pub is_ending: AtomicBool,
    /// Requests whose headers were read, and whose response was not made.
    pub in_flight: AtomicUsize,
    /// Bytes of their bodies.
    buffered: AtomicUsize,
}

type Answer = (Bytes, [u64; 3]);

/// The response to an image.
#[derive(Serialize)]
struct Classes {
    top: Vec<Class>,
}

#[derive(Serialize)]
struct Class {
    index: usize,
    /// The model's output.
    score: f32,
    /// Softmax over all classes.
    confidence: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
}

impl Server {
    /// Responds to a request.
    pub async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        match (request.method(), request.uri().path()) {
            (&Method::POST, "/infer") => self.infer(request).await,
            (&Method::GET, "/health") if self.is_ending() => failed(&shutting_down()),
            (&Method::GET, "/health") => plain(StatusCode::OK, "ok".into(), "text/plain"),
            (&Method::GET, "/metrics") => {
                let text = self.state.metrics.text(self.queue.len());
                plain(StatusCode::OK, text.into(), "text/plain; version=0.0.4")
            }
            (method, path @ ("/infer" | "/health" | "/metrics")) => {
                let allowed = if path == "/infer" { "POST" } else { "GET" };
                let error = bad(format!("{method} {path}: no such method"), format!("use {allowed} {path}"));
                let mut response = failed(&Failure(StatusCode::METHOD_NOT_ALLOWED, error));
                response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
                response
            }
            (_, path) => {
                let message = format!("{}: no such path", path.chars().take(80).collect::<String>());
                failed(&Failure(StatusCode::NOT_FOUND, bad(message, "use /infer, /health or /metrics")))
            }
        }
    }

    async fn infer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let begun = Instant::now();
        let counted = Counted::new(&self.state.in_flight, 1);
        let is_held_back = request.headers().contains_key(EXPECT);
        let answer = self.compute(request.into_body(), is_held_back).await;
        drop(counted);
        let batch = answer.as_ref().ok().map(|(_, [.., batch])| u32::try_from(*batch).unwrap_or(u32::MAX));
        let response = match answer {
            Ok((body, numbers)) => {
                let kind = if self.labels.is_some() { "application/json" } else { "application/octet-stream" };
                let mut response = plain(StatusCode::OK, body, kind);
                for (name, number) in ["x-queue-ns", "x-compute-ns", "x-batch"].into_iter().zip(numbers) {
                    response.headers_mut().insert(HeaderName::from_static(name), number.into());
                }
                response
            }
            Err(failure) => failed(&failure),
        };
        self.state.metrics.count(response.status().as_u16(), begun.elapsed(), batch);
        response
    }

    async fn compute(&self, body: Incoming, is_held_back: bool) -> Result<Answer, Failure> {
        if self.is_ending() {
            return Err(shutting_down());
        }
        let (bytes, _held) = self.read(body, is_held_back).await?;
        let payload = self.split(bytes)?;
        let (sender, receiver) = oneshot::channel();
        let reply = self.reply(now_ns(), sender);
        let ticket = self.queue.push(Job::new(payload, reply)).map_err(|job| {
            job.withdraw();
            unavailable(format!("the queue is full: {} waiting", self.max_queue))
        })?;
        // a client that goes away drops this, which makes room in the queue
        let place = Place(&self.queue, ticket);
        let answer = receiver.await;
        drop(place);
        answer.map_err(|_| not_computed()).flatten().map_err(|error| Failure(status(error.kind), error))
    }

    /// Reads a body, which counts as buffered until the second value is dropped. `is_held_back`: the client sends it only on
    /// request.
    async fn read(&self, mut body: Incoming, is_held_back: bool) -> Result<(Bytes, Counted<'_>), Failure> {
        let declared = body.size_hint().lower();
        let is_large = declared > self.max_body as u64;
        if is_large && is_held_back {
            return Err(self.too_large());
        }
        let read = if is_large {
            Err(self.too_large())
        } else {
            timeout(BODY_TIME, self.collect(&mut body, declared)).await.unwrap_or_else(|_| Err(too_slow()))
        };
        if matches!(&read, Err(Failure(status, _)) if *status != StatusCode::REQUEST_TIMEOUT) {
            // not within the time of the body, and without the memory of what was read
            let _ = timeout(SKIP_TIME, self.skip(body)).await;
        }
        read
    }

    /// Collects the parts of a body. One that comes in one piece is not copied.
    async fn collect(&self, body: &mut Incoming, declared: u64) -> Result<(Bytes, Counted<'_>), Failure> {
        let mut held = Counted::new(&self.state.buffered, 0);
        let (mut first, mut all) = (Bytes::new(), Vec::new());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                let message = format!("the body cannot be read: {error}");
                Failure(StatusCode::BAD_REQUEST, bad(message, "send all of it"))
            })?;
            let Ok(data) = frame.into_data() else { continue };
            held.add(data.len());
            if held.1 > self.max_body {
                return Err(self.too_large());
            }
            if self.state.buffered.load(Ordering::Relaxed) > self.max_body.saturating_mul(MOST_BODIES) {
                return Err(unavailable("too many bytes of request bodies are waiting"));
            }
            if first.is_empty() {
                first = data;
                continue;
            }
            if all.is_empty() {
                let len = usize::try_from(declared).unwrap_or_default().max(held.1);
                all.try_reserve_exact(len).map_err(|_| unavailable("not enough memory for the body"))?;
                all.extend_from_slice(&first);
            }
            all.extend_from_slice(&data);
        }
        Ok((if all.is_empty() { first } else { all.into() }, held))
    }

    /// Reads the rest of a body that is refused and forgets it, up to a limit: most clients read a response only after they
    /// have sent everything.
    async fn skip(&self, mut body: Incoming) {
        let mut left = self.max_body.saturating_mul(MOST_BODIES);
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    }

    /// Divides a body into the elements of each input.
    fn split(&self, mut bytes: Bytes) -> Result<Payload, Failure> {
        let Parts { each, shapes, bytes: needed } = &self.inputs;
        let shapes = Arc::clone(shapes);
        if self.labels.is_some() {
            return Ok(Payload { parts: vec![bytes], shapes });
        }
        if bytes.len() != *needed {
            let message = format!("the body has {} bytes, the inputs have {needed}", bytes.len());
            let hint = format!("send {}, in this order", self.inputs.describe());
            return Err(Failure(StatusCode::BAD_REQUEST, bad(message, hint)));
        }
        Ok(Payload { parts: each.iter().map(|part| bytes.split_to(part.bytes)).collect(), shapes })
    }

    /// The function that makes the answer, in a worker.
    fn reply(&self, arrived_ns: u64, sender: oneshot::Sender<Result<Answer, Error>>) -> Reply {
        let labels = self.labels.clone();
        Box::new(move |outputs: Result<Row<'_>, Error>| {
            let answer = outputs.and_then(|row| {
                let body = labels.map_or_else(|| row.bytes(), |labels| labels.classify(row))?;
                let batch = row.batch;
                let queue_ns = batch.started_ns.saturating_sub(arrived_ns);
                Ok((body.into(), [queue_ns, batch.ended_ns - batch.started_ns, batch.count as u64]))
            });
            // the client may have gone
            let _ = sender.send(answer);
        })
    }

    /// What the body of a request is, for people.
    pub fn describe(&self) -> String {
        let body = if self.labels.is_some() { "an image file".to_owned() } else { self.inputs.describe() };
        format!("POST /infer takes {body}")
    }

    fn is_ending(&self) -> bool {
        self.state.is_ending.load(Ordering::Relaxed)
    }

    fn too_large(&self) -> Failure {
        let message = format!("the body has more than {} bytes", self.max_body);
        Failure(StatusCode::PAYLOAD_TOO_LARGE, bad(message, "send less, or raise the limit"))
    }
}

impl Labels {
    /// The best classes, as JSON.
    fn classify(&self, row: Row<'_>) -> Result<Vec<u8>, Error> {
        let logits = row.logits()?;
        let guesses = topk::top(logits, self.top, &self.names)?;
        let class = |Guess { index, confidence, label }| Class { index, score: logits[index], confidence, label };
        let classes = Classes { top: guesses.into_iter().map(class).collect() };
        serde_json::to_vec(&classes).map_err(|error| Error::new(Kind::Internal, error.to_string(), "report this"))
    }
}

impl Parts {
    /// The inputs `infos`, of the `shapes`.
    ///
    /// # Errors
    ///
    /// `bad-request` if they have more than `max_body` bytes.
    pub fn new(infos: &[&ValueInfo], shapes: Vec<Vec<usize>>, max_body: usize) -> Result<Self, Error> {
        let each: Vec<_> =
            infos.iter().zip(&shapes).map(|(info, shape)| Part::new(info, shape)).collect::<Result<_, _>>()?;
        let needed: u128 = each.iter().map(|part| part.bytes as u128).sum();
        let bytes = usize::try_from(needed).ok().filter(|&bytes| bytes <= max_body).ok_or_else(|| {
            let message = format!("the inputs have {needed} bytes, more than --max-body {max_body}");
            bad(message, "raise it; the measure load has the transport pipe")
        })?;
        Ok(Self { each, shapes: shapes.into(), bytes })
    }

    fn describe(&self) -> String {
        let names: Vec<_> = self.each.iter().map(|part| part.name.as_str()).collect();
        format!("the elements of {}", names.join(", "))
    }
}

impl Part {
    fn new(info: &ValueInfo, shape: &[usize]) -> Result<Self, Error> {
        let dims: Vec<_> = shape.iter().copied().map(Some).collect();
        let name = format!("{} ({} {})", info.name, info.kind, show_shape(&dims));
        let size = info.dtype.map_or(0, Dtype::size);
        let bytes = shape.iter().try_fold(size, |bytes, &dim| bytes.checked_mul(dim));
        let bytes = bytes.ok_or_else(|| Error::memory(&format!("input {name}")))?;
        Ok(Self { bytes, name })
    }
}

/// An amount that is part of a sum until it is dropped.
struct Counted<'s>(&'s AtomicUsize, usize);

impl<'s> Counted<'s> {
    fn new(sum: &'s AtomicUsize, amount: usize) -> Self {
        let mut counted = Self(sum, 0);
        counted.add(amount);
        counted
    }

    fn add(&mut self, amount: usize) {
        self.0.fetch_add(amount, Ordering::Relaxed);
        self.1 += amount;
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

/// A place in the queue, which is given up when this is dropped.
struct Place<'s>(&'s Queue<Job>, Ticket);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.cancel(self.1);
    }
}

fn shutting_down() -> Failure {
    unavailable("the server is shutting down")
}

fn too_slow() -> Failure {
    let message = format!("the body did not arrive within {} s", BODY_TIME.as_secs());
    Failure(StatusCode::REQUEST_TIMEOUT, bad(message, "send it faster"))
}
