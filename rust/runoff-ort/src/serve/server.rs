//! What the server responds, whatever the connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, EXPECT, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use runoff_core::clock::now_ns;
use runoff_core::protocol::Guess;
use runoff_core::topk;
use runoff_session::{Dtype, Error, Kind, ValueInfo, show_shape};
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::metrics::Metrics;
use super::model::{Job, Payload, Reply, Row};
use super::queue::{Queue, Ticket};

/// How long the body of a request may take.
pub const BODY_TIME: Duration = Duration::from_secs(10);

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
    /// Of tensors: the size of each input in bytes, its shape, and what messages call it.
    pub inputs: Vec<Part>,
    /// Maximum size of a body in bytes.
    pub max_body: usize,
    /// How long a connection may be idle, and how long the headers of a request may take.
    pub idle_time: Duration,
    pub state: State,
}

/// One input of a model of tensors.
pub struct Part {
    pub bytes: usize,
    pub shape: Vec<usize>,
    pub name: String,
    pub is_bool: bool,
}

/// What changes while the server runs.
#[derive(Default)]
pub struct State {
    metrics: Metrics,
    pub is_ending: AtomicBool,
    /// Requests whose headers were read, and that were not responded to.
    pub in_flight: AtomicUsize,
    /// Bytes of their bodies.
    buffered: AtomicUsize,
}

/// A failed request.
struct Failure(StatusCode, Error);

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
            (&Method::GET, "/health") if self.is_ending() => failed(&ending()),
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
            return Err(ending());
        }
        let mut held = Counted::new(&self.state.buffered, 0);
        let read = timeout(BODY_TIME, self.read(body, is_held_back, &mut held)).await;
        let bytes = read.unwrap_or_else(|_| Err(too_slow()))?;
        let payload = self.split(bytes)?;
        let (sender, receiver) = oneshot::channel();
        let reply = self.reply(now_ns(), sender);
        let ticket = self.queue.push(Job::new(payload, reply)).map_err(|job| {
            job.withdraw();
            unavailable(format!("{} requests wait", self.max_queue))
        })?;
        // a client that goes away drops this, which makes room in the queue
        let place = Place(&self.queue, ticket);
        let answer = receiver.await;
        drop(place);
        let lost = |_| Error::new(Kind::Internal, "the request was not computed", "report this");
        answer.map_err(lost).flatten().map_err(|error| Failure(status(error.kind), error))
    }

    /// Reads a body. One that comes in one piece is not copied. `is_held_back`: the client sends it only on request.
    async fn read(&self, mut body: Incoming, is_held_back: bool, held: &mut Counted<'_>) -> Result<Bytes, Failure> {
        let declared = body.size_hint().lower();
        if declared > self.max_body as u64 {
            if !is_held_back {
                self.skip(body).await;
            }
            return Err(self.too_large());
        }
        let (mut first, mut all) = (Bytes::new(), Vec::new());
        let mut len = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                let message = format!("the body cannot be read: {error}");
                Failure(StatusCode::BAD_REQUEST, bad(message, "send all of it"))
            })?;
            let Ok(data) = frame.into_data() else { continue };
            len += data.len();
            if len > self.max_body {
                return Err(self.too_large());
            }
            held.add(data.len());
            if self.state.buffered.load(Ordering::Relaxed) > self.max_body.saturating_mul(MOST_BODIES) {
                return Err(unavailable("the bodies of the requests that wait are too large".to_owned()));
            }
            if first.is_empty() {
                first = data;
                continue;
            }
            if all.is_empty() {
                all.reserve_exact(usize::try_from(declared).unwrap_or_default().max(len));
                all.extend_from_slice(&first);
            }
            all.extend_from_slice(&data);
        }
        Ok(if all.is_empty() { first } else { all.into() })
    }

    /// Reads a body that is too large and forgets it, up to a limit: most clients read a response only after they have sent
    /// everything.
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
        if self.labels.is_some() {
            return Ok(Payload { parts: vec![bytes], shapes: Vec::new() });
        }
        let refuse = |message| {
            let hint = format!("send {}, in this order", self.elements());
            Err(Failure(StatusCode::BAD_REQUEST, bad(message, hint)))
        };
        let needed: usize = self.inputs.iter().map(|part| part.bytes).sum();
        if bytes.len() != needed {
            return refuse(format!("the body has {} bytes, the inputs have {needed}", bytes.len()));
        }
        let parts: Vec<_> = self.inputs.iter().map(|part| bytes.split_to(part.bytes)).collect();
        let is_wrong = |(part, bytes): (&Part, &Bytes)| part.is_bool && bytes.iter().any(|&byte| byte > 1);
        if self.inputs.iter().zip(&parts).any(is_wrong) {
            return refuse("a bool is 0 or 1".to_owned());
        }
        Ok(Payload { parts, shapes: self.inputs.iter().map(|part| part.shape.clone()).collect() })
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
        let body = if self.labels.is_some() { "an image file".to_owned() } else { self.elements() };
        format!("POST /infer takes {body}")
    }

    fn elements(&self) -> String {
        let inputs: Vec<_> = self.inputs.iter().map(|part| part.name.as_str()).collect();
        format!("the elements of {}", inputs.join(", "))
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

impl Part {
    /// The input `info`, of the shape `shape`.
    pub fn new(info: &ValueInfo, shape: Vec<usize>) -> Result<Self, Error> {
        let name = format!(
            "{} ({} {})",
            info.name,
            info.kind,
            show_shape(&shape.iter().copied().map(Some).collect::<Vec<_>>())
        );
        let size = info.dtype.map_or(0, Dtype::size);
        let bytes = shape.iter().try_fold(size, |bytes, &dim| bytes.checked_mul(dim));
        let bytes = bytes.ok_or_else(|| Error::memory(&format!("input {name}")))?;
        Ok(Self { bytes, shape, name, is_bool: info.dtype == Some(Dtype::Bool) })
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

fn bad(message: impl AsRef<str>, hint: impl Into<String>) -> Error {
    Error::new(Kind::BadRequest, message, hint)
}

fn unavailable(message: String) -> Failure {
    Failure(StatusCode::SERVICE_UNAVAILABLE, bad(message, "try again later"))
}

fn ending() -> Failure {
    unavailable("the server is ending".to_owned())
}

fn too_slow() -> Failure {
    let message = format!("the body did not come within {} s", BODY_TIME.as_secs());
    Failure(StatusCode::REQUEST_TIMEOUT, bad(message, "send it faster"))
}

/// The status for a request that cannot be computed for a reason of `kind`.
const fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::ImageUnreadable | Kind::ImageTooLarge | Kind::BadRequest => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn plain(status: StatusCode, body: Bytes, kind: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn failed(Failure(status, error): &Failure) -> Response<Full<Bytes>> {
    let body = serde_json::json!({"error": error.message, "hint": error.hint});
    let mut response = plain(*status, body.to_string().into(), "application/json");
    if *status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if matches!(*status, StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE) {
        // the rest of the body is not read
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
