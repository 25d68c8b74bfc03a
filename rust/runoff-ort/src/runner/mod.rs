//! Executes a request with ONNX Runtime.

mod capabilities;
mod chosen;
mod denormals;
mod feed;
mod outputs;
mod prefetch;
mod samples;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::BTreeMap;
use std::ops::Range;

use runoff_core::clock::{Phases, now_ns};
use runoff_core::image::JPEG_DECODER;
use runoff_core::memory;
use runoff_core::protocol::{
    Effective, Latency, Measure, Memory, Once, Request, RunResult, Turns, Workload, WrittenTensor, bad_request,
};
use runoff_session::{
    Buffers, CPU, Environment, Error, Kind, PREPARED, Prepared, Results, Runtime, Session, Settings, Value,
    library_from_env,
};

use crate::malloc::{allocator, keep_memory};
use capabilities::FORMATS;
pub use capabilities::capabilities;
use chosen::Chosen;
use feed::Feed;
use outputs::Captured;
use prefetch::Prefetch;
use samples::{IterationTimes, Samples};
use turns::TurnCommand;

/// The practice of mapping the model's file and using its weights in place: `docs/best-practice.md`.
const MAPPED_MODEL: &str = "mapped-model";

/// The practice of taking ONNX Runtime's code out of memory after the environment was created and after the model was loaded.
const RELEASED_CODE: &str = "released-code";

/// A result, and the session to free after the result is written.
#[derive(Debug)]
pub struct Answer {
    /// The runner's result.
    pub result: RunResult,
    /// The session, which keeps its environment alive; `None` if the case failed.
    pub session: Option<Session>,
}

/// Executes `request`. `entry_ns` is the time of the first line of `main`.
///
/// Failures are reported in the result.
#[must_use]
pub fn execute(request: &Request, entry_ns: u64) -> Answer {
    match measure(request, entry_ns) {
        Ok((result, session)) => Answer { result, session: Some(session) },
        Err(error) => Answer { result: RunResult::failed(&request.case, &error), session: None },
    }
}

/// The measurement in progress.
struct Runner<'a> {
    request: &'a Request,
    phases: Phases,
    /// Tensors in the memory of the session's device, if it has one, and the outputs of the latest inference on it.
    buffers: Option<(Buffers, Results)>,
    session: Session,
    chosen: Chosen,
    feed: Feed<'a>,
    samples: Samples,
    /// Outputs of the latest inference on the host.
    latest: Vec<Value<'static>>,
    outputs: Vec<WrittenTensor>,
    tensors: Vec<WrittenTensor>,
}

fn measure(request: &Request, entry_ns: u64) -> Result<(RunResult, Session), Error> {
    if !FORMATS.contains(&request.model.format.as_str()) {
        let message = format!("model.format is {:?}, this runner reads {}", request.model.format, FORMATS.join(", "));
        return Err(bad_request(message));
    }
    let prefetch =
        if request.settings.overlap == Some(true) { Prefetch::begin(request, first_batch(request))? } else { None };
    let memory = matches!(request.measure, Measure::Once(Once { memory: true }));
    let mut phases = Phases::begin(request.spawn_ns, entry_ns, memory);
    let runtime = Runtime::load(&library_from_env()?)?;
    phases.mark("runtime");
    let environment = runtime.make_environment()?;
    runtime.release_code();
    phases.mark("environment");
    let buffers = |session: &Session, chosen: &Chosen| {
        session.is_on_device().then(|| Buffers::of(session, &chosen.inputs, &chosen.outputs)).transpose()
    };
    let runner = Runner::open(request, &environment, phases, prefetch, buffers)?;
    runtime.release_code();
    runner.carry_out(runtime)
}

/// The request's settings. In interleaved runs, a process that waits for its turn must not use the CPU.
fn session_settings(request: &Request) -> Settings {
    let force_spinning_stop = matches!(request.measure, Measure::Turns(_));
    Settings { force_spinning_stop, keep_batch_free: !rows_are_batch(request), ..request.settings.clone() }
}

/// Whether the first dimension of each input runs over the items of a batch. For `tensor` and one item at a time it is
/// any dimension.
fn rows_are_batch(request: &Request) -> bool {
    let mut files = request.inputs.iter().flat_map(|item| item.tensors.iter().flat_map(BTreeMap::values));
    let is_any = request.workload == Workload::Tensor && request.settings.batch.get() == 1;
    !is_any || files.all(|file| file.shape.first() == Some(&1))
}

/// Checks that all batches are full, for a session with a fixed batch size.
fn check_whole_batches(request: &Request) -> Result<(), Error> {
    let (count, Settings { batch, provider, .. }) = (request.inputs.len(), &request.settings);
    if provider == CPU || !matches!(request.measure, Measure::Accuracy(_)) || count.is_multiple_of(batch.get()) {
        return Ok(());
    }
    let message = format!(
        "settings.batch: {count} items do not fill batches of {batch}, and provider '{provider}' needs whole batches"
    );
    Err(Error::new(Kind::BadRequest, message, "use a multiple of the batch size"))
}

/// Number of items in the first inference.
fn first_batch(request: &Request) -> usize {
    let batch = request.settings.batch.get();
    if matches!(request.measure, Measure::Accuracy(_)) { batch.min(request.inputs.len()) } else { batch }
}

/// A finished iteration: its items and durations.
struct Iteration {
    items: Vec<usize>,
    took: IterationTimes,
}

impl<'a> Runner<'a> {
    /// Loads the model; `buffers` allocates its tensors if it runs on a device.
    fn open(
        request: &'a Request,
        environment: &Environment,
        mut phases: Phases,
        prefetch: Option<Prefetch>,
        buffers: impl FnOnce(&Session, &Chosen) -> Result<Option<Buffers>, Error>,
    ) -> Result<Self, Error> {
        let session = Session::open(environment, &request.model.path, &session_settings(request))?;
        let chosen = Chosen::of(&session, &request.model, session.is_on_device())?;
        check_whole_batches(request)?;
        let buffers = buffers(&session, &chosen)?;
        phases.mark("load");
        Ok(Self {
            feed: Feed::new(request, &session, &chosen.inputs, prefetch)?,
            request,
            chosen,
            phases,
            buffers: buffers.map(|buffers| (buffers, Results::default())),
            session,
            samples: Samples::default(),
            latest: Vec::new(),
            outputs: Vec::new(),
            tensors: Vec::new(),
        })
    }

    fn carry_out(mut self, runtime: Runtime) -> Result<(RunResult, Session), Error> {
        let last = match self.request.measure {
            Measure::Once(_) => self.once()?,
            Measure::Latency(latency) => self.latency(latency)?,
            Measure::Accuracy(_) => self.accuracy()?,
            Measure::Turns(turns) => self.turns(turns)?,
            Measure::Operators(_) => return Err(bad_request("measure.kind: this runner has no profiler")),
        };
        self.finish(&last, runtime)
    }

    fn once(&mut self) -> Result<Captured, Error> {
        let captured = self.first()?;
        self.outputs.extend(captured.write(&self.request.outputs_dir)?);
        Ok(captured)
    }

    /// Runs the first and second iteration, the warm-up, and the warm iterations.
    fn latency(&mut self, latency: Latency) -> Result<Captured, Error> {
        let first = self.first()?;
        let (_, mut next) = self.warm_up(latency.warmup)?;
        let last = self.warm(latency, &mut next)?;
        self.close(&first, last)
    }

    /// As `latency`, but warm iterations are requested on stdin.
    fn turns(&mut self, turns: Turns) -> Result<Captured, Error> {
        let first = self.first()?;
        let (mut latest, _) = self.warm_up(turns.warmup)?;
        turns::serve(self.request.inputs.len(), |command| match command {
            TurnCommand::Turn(firsts) => self.turn(&firsts, &mut latest),
            TurnCommand::Outputs => turns::json(&self.capture(latest.items.clone())?.write(&self.request.outputs_dir)?),
        })?;
        let last = self.capture(latest.items)?;
        self.close(&first, last)
    }

    /// Runs one iteration starting at each item of `firsts`; returns the durations by part, as JSON.
    fn turn(&mut self, firsts: &[usize], latest: &mut Iteration) -> Result<String, Error> {
        let (batch, before) = (self.request.settings.batch.get(), self.samples.warm());
        for &first in firsts {
            *latest = self.iterate(first..first + batch)?;
            self.samples.keep(&latest.took);
        }
        turns::json(&self.samples.since(before))
    }

    /// Runs the second iteration and the warm-up, which is not kept. Returns the last iteration, and the ranges of the
    /// items that follow.
    fn warm_up(&mut self, warmup: u64) -> Result<(Iteration, impl FnMut() -> Range<usize> + use<>), Error> {
        keep_memory();
        let batch = self.request.settings.batch.get();
        let mut ranges = (1..).map(move |iteration| iteration * batch..(iteration + 1) * batch);
        let mut next = move || ranges.next().unwrap_or_default();
        let mut latest = self.iterate(next())?;
        self.samples.keep(&latest.took);
        for _ in 0..warmup {
            latest = self.iterate(next())?;
        }
        Ok((latest, next))
    }

    /// Runs warm iterations until both minima are met; returns the outputs of the last one.
    fn warm(&mut self, latency: Latency, mut next: impl FnMut() -> Range<usize>) -> Result<Captured, Error> {
        self.samples.reserve(latency.min_samples.get())?;
        let begun_ns = now_ns();
        loop {
            self.forget();
            let iteration = self.iterate(next())?;
            self.samples.keep(&iteration.took);
            let enough = self.samples.warm() >= latency.min_samples.get();
            if enough && now_ns() - begun_ns >= latency.min_ns {
                return self.capture(iteration.items);
            }
        }
    }

    /// Ends the warm phase: writes the outputs of the first and the last iteration.
    fn close(&mut self, first: &Captured, last: Captured) -> Result<Captured, Error> {
        self.phases.mark("warm");
        if first.items[0] != last.items[0] {
            self.outputs.extend(first.write(&self.request.outputs_dir)?);
        }
        self.outputs.extend(last.write(&self.request.outputs_dir)?);
        Ok(last)
    }

    /// Runs every item once, and writes inputs and outputs after each iteration.
    fn accuracy(&mut self) -> Result<Captured, Error> {
        let (batch, count) = (first_batch(self.request), self.request.inputs.len());
        let mut last = self.first()?;
        self.record(&last)?;
        for start in (batch..count).step_by(batch) {
            self.forget();
            let iteration = self.iterate(start..count.min(start + batch))?;
            self.samples.keep(&iteration.took);
            last = self.capture(iteration.items)?;
            self.record(&last)?;
        }
        self.phases.mark("warm");
        Ok(last)
    }

    /// Runs the first iteration and marks its phases.
    fn first(&mut self) -> Result<Captured, Error> {
        let range = 0..first_batch(self.request);
        let mut took = self.load(range.clone())?;
        self.phases.mark("preprocess");
        self.infer(&mut took)?;
        self.phases.mark("inference");
        self.samples.first(&took);
        let captured = self.capture(self.feed.items(range)?);
        self.forget();
        captured
    }

    fn iterate(&mut self, range: Range<usize>) -> Result<Iteration, Error> {
        let mut took = self.load(range.clone())?;
        self.infer(&mut took)?;
        Ok(Iteration { items: self.feed.items(range)?, took })
    }

    /// Loads the items in `range` into the input tensors.
    fn load(&mut self, range: Range<usize>) -> Result<IterationTimes, Error> {
        let took_ns = self.feed.load(&self.session, range)?;
        Ok(IterationTimes::preprocessing((self.request.workload == Workload::Classify).then_some(took_ns)))
    }

    /// Runs the model on the loaded items.
    fn infer(&mut self, took: &mut IterationTimes) -> Result<(), Error> {
        let begun_ns = now_ns();
        let values = self.feed.values()?;
        let made_ns = now_ns() - begun_ns;
        if let Some((buffers, results)) = &mut self.buffers {
            took.parts(buffers.run(&values, results)?);
            return Ok(());
        }
        let Chosen { inputs, outputs } = &self.chosen;
        let (outputs, took_ns) = self.session.run_some_timed(inputs, &values, outputs)?;
        self.latest = outputs;
        took.inference(made_ns + took_ns);
        Ok(())
    }

    /// Frees the latest outputs on the host; outputs of a device are overwritten by the next inference.
    fn forget(&mut self) {
        self.latest.clear();
    }

    /// Copies the outputs of the latest inference, on `items`.
    fn capture(&self, items: Vec<usize>) -> Result<Captured, Error> {
        let latest = self.buffers.as_ref().map_or(&*self.latest, |(_, results)| &**results);
        Captured::of(self.chosen.outputs(&self.session), latest, items)
    }

    /// Writes the outputs of an iteration, and for images also the inputs.
    fn record(&mut self, captured: &Captured) -> Result<(), Error> {
        let folder = &self.request.outputs_dir;
        self.outputs.extend(captured.write(folder)?);
        if self.request.workload == Workload::Classify {
            self.tensors.extend(self.feed.capture(&captured.items).write(folder)?);
        }
        Ok(())
    }

    fn finish(mut self, last: &Captured, runtime: Runtime) -> Result<(RunResult, Session), Error> {
        let request = self.request;
        let mut result = RunResult::ok(&request.case);
        if request.workload == Workload::Classify {
            result.top = last.rank(request)?;
        }
        result.samples = self.samples.into_parts();
        self.phases.mark("output");
        let (phases, after) = self.phases.finish();
        result.phases = phases;
        result.outputs = self.outputs;
        result.tensors = self.tensors;
        // The kernel notes the peak before pages are released, from counters that lag behind by some pages.
        let peak_bytes = memory::peak_bytes().max(after.values().max().copied());
        result.memory = Some(Memory { peak_bytes, after });
        result.effective = Some(Effective {
            runtime: "onnxruntime".into(),
            version: runtime.version,
            language: "rust".into(),
            provider: Some(request.settings.provider.clone()),
            threads: self.session.threads(),
            build: Some(runtime.build),
            library: Some(runtime.library),
            denormals: Some(denormals::denormals().into()),
            allocator: allocator(),
            image_decoder: (request.workload == Workload::Classify).then(|| JPEG_DECODER.into()),
            planned: None,
            device: self.session.device(),
            ignored: ignored(request),
            practices: practices(&self.session),
        });
        Ok((result, self.session))
    }
}

/// The practices in effect.
fn practices(session: &Session) -> Vec<String> {
    let mapped = session.is_mapped().then_some(MAPPED_MODEL);
    let released = cfg!(all(target_os = "linux", target_env = "gnu")).then_some(RELEASED_CODE);
    mapped.into_iter().chain(released).map(str::to_owned).collect()
}

/// Requested settings that had no effect.
fn ignored(request: &Request) -> Vec<String> {
    let needed = match request.settings.prepared {
        Some(Prepared::Fastest(true)) => PREPARED,
        Some(Prepared::Optimized(_)) => "onnx",
        Some(Prepared::Fastest(false)) | None => return Vec::new(),
    };
    (request.model.format != needed).then(|| "prepared".to_owned()).into_iter().collect()
}
