//! The model that is served, and the workers that compute batches of requests with it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread::{Builder, Scope};

use bytes::Bytes;
use flate2::Crc;
use runoff_core::clock::now_ns;
use runoff_core::preprocess::Preprocessor;
use runoff_core::protocol::Preprocess;
use runoff_core::tensor_file;
use runoff_session::{Buffer, Dtype, Error, Kind, RawTensor, Session, TensorView, Value, ValueInfo, show_shape};

use super::queue::{Joinable, Queue};
use crate::session::note;

/// Buffers for images larger than this are freed after the batch, in bytes.
const KEPT_BYTES: usize = 16 << 20;

/// How requests become inputs.
#[derive(Debug, Clone)]
pub enum Inputs {
    /// An image file, of at most so many pixels.
    Image(Preprocess, u64),
    /// The elements of each input.
    Tensors,
}

/// A model that many workers run.
pub struct Model<'s> {
    session: &'s Session,
    /// Places of the inputs and outputs that are used.
    places: (Vec<usize>, Vec<usize>),
    /// What the model has there.
    infos: (Vec<&'s ValueInfo>, Vec<&'s ValueInfo>),
    inputs: Inputs,
}

/// The inputs of one request: the bytes of an image file, or the elements of each input and their shapes.
#[derive(Debug, Clone)]
pub struct Payload {
    pub parts: Vec<Bytes>,
    pub shapes: Arc<[Vec<usize>]>,
}

/// A request, and the function that gets its outputs, or the reason why there are none.
pub struct Job {
    payload: Payload,
    reply: Option<Reply>,
}

pub type Reply = Box<dyn FnOnce(Result<Row<'_>, Error>) + Send>;

/// The outputs of a batch.
pub struct Batch<'m> {
    /// When a worker began with it, and when its outputs could be read, in nanoseconds on the monotonic clock.
    pub started_ns: u64,
    pub ended_ns: u64,
    /// Number of requests.
    pub count: usize,
    infos: &'m [&'m ValueInfo],
    values: Vec<Value<'static>>,
}

/// The outputs of a request, in its batch.
#[derive(Clone, Copy)]
pub struct Row<'b> {
    pub batch: &'b Batch<'b>,
    index: usize,
}

impl<'s> Model<'s> {
    /// Checks that requests can be served in batches of up to `max_batch`.
    ///
    /// # Errors
    ///
    /// `type-unsupported` for strings; `bad-request` if the model fixes the size of a batch; those of [`Preprocessor::new`].
    pub fn new(
        session: &'s Session,
        places: (Vec<usize>, Vec<usize>),
        inputs: Inputs,
        max_batch: usize,
    ) -> Result<Self, Error> {
        let infos = (
            places.0.iter().map(|&place| session.input_at(place)).collect(),
            places.1.iter().map(|&place| &session.outputs()[place]).collect(),
        );
        let model = Self { session, places, infos, inputs };
        for (what, infos) in [("input", &model.infos.0), ("output", &model.infos.1)] {
            for info in infos {
                if info.dtype.is_none_or(|dtype| dtype == Dtype::Str || !tensor_file::has(dtype)) {
                    return Err(tensor_file::unsupported(what, &info.name, &info.kind));
                }
                if max_batch > 1 && info.shape.first().is_some_and(Option::is_some) {
                    let message = format!(
                        "batches of up to {max_batch}: the first dimension of {what} {:?} is fixed: {}",
                        info.name,
                        show_shape(&info.shape)
                    );
                    return Err(Error::new(Kind::BadRequest, message, "set the largest batch to 1"));
                }
            }
        }
        if let Some(preprocessor) = model.preprocessor()? {
            runoff_core::classify::check(session, 1, preprocessor.crop())?;
        }
        Ok(model)
    }

    /// The inputs that are used, in graph order.
    pub fn inputs(&self) -> &[&'s ValueInfo] {
        &self.infos.0
    }

    fn preprocessor(&self) -> Result<Option<Preprocessor>, Error> {
        let Inputs::Image(preprocess, most) = &self.inputs else { return Ok(None) };
        Ok(Some(Preprocessor::new(preprocess)?.with_limit(*most)))
    }

    /// Starts `count` threads in `scope`, which compute batches from `queue` until it is closed and empty; `fail` gets the error
    /// of one that cannot continue.
    ///
    /// # Errors
    ///
    /// `bad-request` if the system does not start so many.
    pub fn start<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        count: usize,
        queue: &'scope Queue<Job>,
        fail: impl Fn(Error) + Copy + Send + 'scope,
    ) -> Result<(), Error> {
        for _ in 0..count {
            let work = move || self.work(queue).unwrap_or_else(fail);
            Builder::new().spawn_scoped(scope, work).map_err(|error| no_thread(&error))?;
        }
        Ok(())
    }

    fn work(&self, queue: &Queue<Job>) -> Result<(), Error> {
        let mut worker = Worker::new(self, queue)?;
        while let Some(jobs) = queue.take() {
            if catch_unwind(AssertUnwindSafe(|| worker.compute(jobs))).is_err() {
                worker = Worker::new(self, queue)?;
            }
        }
        Ok(())
    }
}

impl Job {
    pub fn new(payload: Payload, reply: Reply) -> Self {
        Self { payload, reply: Some(reply) }
    }

    /// Drops the request without a reply.
    pub fn withdraw(mut self) {
        self.reply = None;
    }

    fn reply(mut self, outputs: Result<Row<'_>, Error>) {
        if let Some(reply) = self.reply.take() {
            reply(outputs);
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(reply) = self.reply.take() {
            reply(Err(not_computed()));
        }
    }
}

impl Joinable for Job {
    /// Whether the shapes are the same and the first dimension of each input is 1.
    fn joins(&self, first: &Self) -> bool {
        let shapes = &self.payload.shapes;
        *shapes == first.payload.shapes && shapes.iter().all(|shape| shape.first() == Some(&1))
    }
}

/// A thread's buffers.
struct Worker<'m> {
    model: &'m Model<'m>,
    queue: &'m Queue<Job>,
    preprocessor: Option<Preprocessor>,
    /// For each input, elements that are not used where they are; they may be longer than the current batch.
    buffers: Vec<Buffer>,
}

impl<'m> Worker<'m> {
    fn new(model: &'m Model<'m>, queue: &'m Queue<Job>) -> Result<Self, Error> {
        let buffers = vec![Buffer::default(); model.places.0.len()];
        Ok(Self { model, queue, preprocessor: model.preprocessor()?, buffers })
    }

    /// Computes the outputs of `jobs`. If that fails, each is computed alone: one request does not fail the others.
    fn compute(&mut self, jobs: Vec<Job>) {
        let started_ns = now_ns();
        let jobs = self.load_images(jobs);
        if jobs.is_empty() {
            return;
        }
        match self.run(&jobs, started_ns) {
            Ok(batch) => {
                for (index, job) in jobs.into_iter().enumerate() {
                    job.reply(Ok(Row { batch: &batch, index }));
                }
            }
            Err(_) if jobs.len() > 1 => {
                for job in jobs {
                    self.compute(vec![job]);
                }
            }
            Err(error) => fail(jobs, &error),
        }
    }

    /// Preprocesses the images, if there are any; returns the jobs whose image could be read.
    fn load_images(&mut self, jobs: Vec<Job>) -> Vec<Job> {
        let Some(preprocessor) = &mut self.preprocessor else { return jobs };
        let len = preprocessor.tensor_len();
        if let Err(error) = make_room(&mut self.buffers[0], jobs.len() * len * size_of::<f32>()) {
            fail(jobs, &error);
            return Vec::new();
        }
        let mut loaded = Vec::with_capacity(jobs.len());
        for job in jobs {
            let row = &mut self.buffers[0].floats_mut()[loaded.len() * len..][..len];
            let load = || preprocessor.load_bytes(&job.payload.parts[0], Path::new(""), row);
            match catch_unwind(AssertUnwindSafe(load)) {
                Ok(Ok(())) => loaded.push(job),
                Ok(Err(error)) => job.reply(Err(error)),
                // the decoder failed on this image, whose job is dropped
                Err(panic) => match self.model.preprocessor() {
                    Ok(Some(fresh)) => *preprocessor = fresh,
                    _ => resume_unwind(panic),
                },
            }
        }
        if preprocessor.buffered_bytes() > KEPT_BYTES
            && let Ok(fresh) = self.model.preprocessor()
        {
            self.preprocessor = fresh;
        }
        loaded
    }

    fn run(&mut self, jobs: &[Job], started_ns: u64) -> Result<Batch<'m>, Error> {
        let Model { session, places: (inputs, outputs), .. } = self.model;
        let count = jobs.len();
        let values: Vec<Value<'_>> = if let Some(preprocessor) = &self.preprocessor {
            let (side, len) = (preprocessor.crop(), count * preprocessor.tensor_len() * size_of::<f32>());
            vec![Value::over(Dtype::Float32, &[count, 3, side, side], &self.buffers[0].bytes()[..len])?]
        } else {
            let each = self.model.infos.0.iter().zip(&mut self.buffers).enumerate();
            each.map(|(index, (info, buffer))| join(jobs, index, info, buffer)).collect::<Result<_, _>>()?
        };
        let (values, _) = session.run_some_timed(inputs, &values, outputs)?;
        let batch = Batch { started_ns, ended_ns: now_ns(), count, infos: &self.model.infos.1, values };
        if let Err(error) = batch.check() {
            if self.queue.stop_batching() {
                note(&format!("requests are computed one by one from now on: {error}"));
            }
            return Err(error);
        }
        Ok(batch)
    }
}

/// A request that no worker has replied to.
pub fn not_computed() -> Error {
    Error::new(Kind::Internal, "the request was not computed", "report this")
}

/// A thread that the system does not start.
pub fn no_thread(error: &io::Error) -> Error {
    Error::new(Kind::BadRequest, format!("cannot start a thread: {error}"), "use fewer workers")
}

fn fail(jobs: Vec<Job>, error: &Error) {
    for job in jobs {
        job.reply(Err(error.clone()));
    }
}

/// The elements of the input `index` of all `jobs`: where they are if possible, else copied to `buffer`.
fn join<'v>(jobs: &'v [Job], index: usize, info: &ValueInfo, buffer: &'v mut Buffer) -> Result<Value<'v>, Error> {
    let dtype = info.dtype.unwrap_or(Dtype::Float32);
    let (bytes, mut shape) = (&jobs[0].payload.parts[index], jobs[0].payload.shapes[index].clone());
    if jobs.len() == 1 && bytes.as_ptr().addr().is_multiple_of(dtype.alignment()) {
        return over(dtype, &shape, bytes);
    }
    if jobs.len() > 1 {
        shape[0] = jobs.len();
    }
    let len = jobs.len() * bytes.len();
    make_room(buffer, len)?;
    let rows = buffer.bytes_mut()[..len].chunks_exact_mut(bytes.len().max(1));
    for (row, job) in rows.zip(jobs) {
        row.copy_from_slice(&job.payload.parts[index]);
    }
    over(dtype, &shape, &buffer.bytes()[..len])
}

/// A tensor of a request, whose elements nothing has checked yet.
fn over<'v>(dtype: Dtype, shape: &[usize], bytes: &'v [u8]) -> Result<Value<'v>, Error> {
    Value::over(dtype, shape, bytes).map_err(|error| {
        if dtype != Dtype::Bool || error.kind != Kind::Internal {
            return error;
        }
        Error::new(Kind::BadRequest, "a bool is 0 or 1", "send a byte of 0 or 1 for each")
    })
}

fn make_room(buffer: &mut Buffer, len: usize) -> Result<(), Error> {
    if buffer.bytes().len() < len {
        *buffer = Buffer::try_zeros(len)?;
    }
    Ok(())
}

impl Batch<'_> {
    /// Checks that the outputs have a row for each request.
    fn check(&self) -> Result<(), Error> {
        for (info, value) in self.infos.iter().zip(&self.values) {
            let shape = value.tensor(&info.name)?.dims();
            if self.count > 1 && shape.first() != Some(&self.count) {
                let message =
                    format!("output {:?} of shape {shape:?} has no row for each of {}", info.name, self.count);
                return Err(Error::new(Kind::ModelMismatch, message, "set the largest batch to 1"));
            }
        }
        Ok(())
    }
}

impl<'b> Row<'b> {
    /// Name, view and elements of each output; in a batch of several, the view is that of all of them.
    fn outputs(self) -> impl Iterator<Item = Result<(&'b str, TensorView<'b>, &'b [u8]), Error>> {
        let Batch { infos, values, count, .. } = self.batch;
        infos.iter().zip(values).map(move |(info, value)| {
            let view = value.tensor(&info.name)?;
            let len = view.bytes().len() / count;
            let elements = &view.bytes()[self.index * len..][..len];
            Ok((info.name.as_str(), view, elements))
        })
    }

    /// Copies the outputs, with their names.
    pub fn tensors(self) -> Result<Vec<(String, RawTensor)>, Error> {
        let copy = |output: Result<(&str, TensorView<'_>, &[u8]), Error>| {
            let (name, view, elements) = output?;
            let mut shape = view.dims();
            if self.batch.count > 1 {
                shape[0] = 1;
            }
            Ok((name.to_owned(), RawTensor { dtype: view.dtype, shape, bytes: elements.to_vec() }))
        };
        self.outputs().map(copy).collect()
    }

    /// The CRC-32 of the elements of all outputs, one after the other.
    pub fn digest(self) -> Result<u32, Error> {
        let mut digest = Crc::new();
        for output in self.outputs() {
            digest.update(output?.2);
        }
        Ok(digest.sum())
    }

    /// The elements of all outputs, one after the other.
    pub fn bytes(self) -> Result<Vec<u8>, Error> {
        let parts = self.outputs().map(|output| Ok(output?.2)).collect::<Result<Vec<_>, Error>>()?;
        Ok(parts.concat())
    }

    /// The elements of the first output.
    ///
    /// # Errors
    ///
    /// `model-mismatch` if it is not a row of float32.
    pub fn logits(self) -> Result<&'b [f32], Error> {
        let unfit = || {
            let message = "the model does not classify images: the first output is not a row of float32 per image";
            Error::new(Kind::ModelMismatch, message, "use a model from one image tensor to float32 logits")
        };
        let (_, view, _) = self.outputs().next().ok_or_else(unfit)??;
        let floats = view.floats().filter(|floats| !floats.is_empty()).ok_or_else(unfit)?;
        let len = floats.len() / self.batch.count;
        Ok(&floats[self.index * len..][..len])
    }
}
