//! Carries a request out with ONNX Runtime.

mod feed;
mod outputs;

use std::ops::Range;

use ort::session::{SessionInputValue, SessionOutputs};

use crate::clock::{Phases, now_ns};
use crate::error::Error;
use crate::memory;
use crate::protocol::{
    Capabilities, Effective, Guess, Latency, Measure, Memory, Once, Request, RunResult, Timings, Unavailable, VERSION,
    Workload, WrittenTensor,
};
use crate::runtime::{self, Runtime};
use crate::session::{PRECISIONS, PROVIDERS, Session};
use crate::topk;
use feed::Feed;
use outputs::Captured;

/// The only model format that this runner reads.
const FORMAT: &str = "onnx";

const SETTINGS: [&str; 11] = [
    "threads",
    "inter_threads",
    "optimization",
    "spinning",
    "arena",
    "prepacking",
    "execution",
    "provider",
    "precision",
    "batch",
    "teardown",
];

/// A result, and what must be freed after it was written.
#[derive(Debug)]
pub struct Answer {
    /// What the runner answers.
    pub result: RunResult,
    /// The session, which keeps its environment alive; none when the case failed.
    pub session: Option<Session>,
}

/// Carries `request` out. `entry_ns` is the time of the first line of `main`.
///
/// Failures are part of the answer.
#[must_use]
pub fn execute(request: &Request, entry_ns: u64) -> Answer {
    match measure(request, entry_ns) {
        Ok((result, session)) => Answer { result, session: Some(session) },
        Err(error) => Answer { result: RunResult::failed(&request.case, &error), session: None },
    }
}

/// Says what the runner `name` can do on this machine.
#[must_use]
pub fn capabilities(name: &str) -> Capabilities {
    let strings = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let mut capabilities = Capabilities {
        protocol: vec![VERSION],
        runner: name.into(),
        language: "rust".into(),
        runtime: "onnxruntime".into(),
        workloads: strings(&["classify", "tensor"]),
        formats: strings(&[FORMAT]),
        providers: strings(&PROVIDERS),
        precisions: strings(&PRECISIONS),
        measures: strings(&["once", "latency", "accuracy"]),
        settings: strings(&SETTINGS),
        computes: true,
        ..Capabilities::default()
    };
    match runtime::library_from_env().and_then(|library| Runtime::load(&library)) {
        Ok(runtime) => {
            capabilities.version = runtime.version;
            capabilities.build = Some(runtime.build);
            capabilities.library = Some(runtime.library);
        }
        Err(Error { kind, message, hint }) => capabilities.unavailable = Some(Unavailable { kind, message, hint }),
    }
    capabilities
}

/// The measurement under way.
struct Runner<'a> {
    request: &'a Request,
    phases: Phases,
    session: Session,
    feed: Feed<'a>,
    preprocess: Timings,
    inference: Timings,
    outputs: Vec<WrittenTensor>,
    tensors: Vec<WrittenTensor>,
}

fn measure(request: &Request, entry_ns: u64) -> Result<(RunResult, Session), Error> {
    if request.model.format != FORMAT {
        let message = format!("model.format is {:?}, this runner reads {FORMAT:?}", request.model.format);
        return Err(Error::bad_request(message));
    }
    let memory = matches!(request.measure, Measure::Once(Once { memory: true }));
    let mut phases = Phases::begin(request.spawn_ns, entry_ns, memory);
    let runtime = Runtime::load(&runtime::library_from_env()?)?;
    phases.mark("runtime");
    let environment = runtime.make_environment()?;
    phases.mark("environment");
    let session = Session::open(&environment, &request.model.path, &request.settings)?;
    session.check_inputs(&request.model.inputs)?;
    phases.mark("load");
    let feed = Feed::new(request, &session)?;
    let mut runner = Runner {
        request,
        phases,
        session,
        feed,
        preprocess: Timings::default(),
        inference: Timings::default(),
        outputs: Vec::new(),
        tensors: Vec::new(),
    };
    let last = match request.measure {
        Measure::Once(_) => runner.once()?,
        Measure::Latency(latency) => runner.latency(latency)?,
        Measure::Accuracy(_) => runner.accuracy()?,
    };
    runner.finish(&last, runtime)
}

/// Runs the model on what was fed last; returns how long that took, in nanoseconds, too.
fn infer<'s>(session: &'s mut Session, feed: &Feed) -> Result<(SessionOutputs<'s>, u64), Error> {
    let values: Vec<SessionInputValue> = feed.tensors().iter().map(SessionInputValue::from).collect();
    let begun_ns = now_ns();
    let outputs = session.run(&values)?;
    Ok((outputs, now_ns() - begun_ns))
}

impl Runner<'_> {
    fn once(&mut self) -> Result<Captured, Error> {
        let captured = self.first(self.request.settings.batch.get())?;
        self.outputs.extend(captured.write(&self.request.outputs_dir)?);
        Ok(captured)
    }

    /// The first, the second, those that are not kept, and the warm ones.
    fn latency(&mut self, latency: Latency) -> Result<Captured, Error> {
        let batch = self.request.settings.batch.get();
        let first = self.first(batch)?;
        let mut ranges = (1..).map(|iteration| iteration * batch..(iteration + 1) * batch);
        let mut next = || ranges.next().unwrap_or_default();
        let (preprocess_ns, inference_ns) = self.iterate(next())?;
        self.preprocess.second_ns = Some(preprocess_ns);
        self.inference.second_ns = Some(inference_ns);
        for _ in 0..latency.warmup {
            self.iterate(next())?;
        }
        let last = self.warm(latency, next)?;
        self.phases.mark("warm");
        if first.items[0] != last.items[0] {
            self.outputs.extend(first.write(&self.request.outputs_dir)?);
        }
        self.outputs.extend(last.write(&self.request.outputs_dir)?);
        Ok(last)
    }

    /// Iterations that are kept, until both minima are met; returns the outputs of the last.
    fn warm(&mut self, latency: Latency, mut next: impl FnMut() -> Range<usize>) -> Result<Captured, Error> {
        self.preprocess.warm_ns.reserve(latency.min_samples.get());
        self.inference.warm_ns.reserve(latency.min_samples.get());
        let begun_ns = now_ns();
        loop {
            let range = next();
            let items = self.feed.items(range.clone());
            self.preprocess.warm_ns.push(self.feed.load(&self.session, range)?);
            let (outputs, inference_ns) = infer(&mut self.session, &self.feed)?;
            self.inference.warm_ns.push(inference_ns);
            let enough = self.inference.warm_ns.len() >= latency.min_samples.get();
            if enough && now_ns() - begun_ns >= latency.min_ns {
                return Captured::of(&outputs, items);
            }
        }
    }

    /// Every item once; what goes in and what comes out is written as it comes.
    fn accuracy(&mut self) -> Result<Captured, Error> {
        let count = self.request.inputs.len();
        let batch = self.request.settings.batch.get().min(count);
        let mut last = self.first(batch)?;
        self.record(&last)?;
        for start in (batch..count).step_by(batch) {
            let range = start..count.min(start + batch);
            let items = self.feed.items(range.clone());
            let preprocess_ns = self.feed.load(&self.session, range)?;
            let (outputs, inference_ns) = infer(&mut self.session, &self.feed)?;
            last = Captured::of(&outputs, items)?;
            drop(outputs);
            self.keep(preprocess_ns, inference_ns);
            self.record(&last)?;
        }
        self.phases.mark("warm");
        Ok(last)
    }

    /// The first iteration, of `count` items, with its phases.
    fn first(&mut self, count: usize) -> Result<Captured, Error> {
        let items = self.feed.items(0..count);
        self.preprocess.first_ns = self.feed.load(&self.session, 0..count)?;
        self.phases.mark("preprocess");
        let (outputs, inference_ns) = infer(&mut self.session, &self.feed)?;
        self.phases.mark("inference");
        self.inference.first_ns = inference_ns;
        Captured::of(&outputs, items)
    }

    /// An iteration of which only the durations matter: preprocessing and inference, in nanoseconds.
    fn iterate(&mut self, range: Range<usize>) -> Result<(u64, u64), Error> {
        let preprocess_ns = self.feed.load(&self.session, range)?;
        let (_, inference_ns) = infer(&mut self.session, &self.feed)?;
        Ok((preprocess_ns, inference_ns))
    }

    /// Files an iteration after the first as the second or as a warm one.
    fn keep(&mut self, preprocess_ns: u64, inference_ns: u64) {
        if self.inference.second_ns.is_none() {
            self.preprocess.second_ns = Some(preprocess_ns);
            self.inference.second_ns = Some(inference_ns);
        } else {
            self.preprocess.warm_ns.push(preprocess_ns);
            self.inference.warm_ns.push(inference_ns);
        }
    }

    /// Writes the outputs of an iteration, and for images what went in.
    fn record(&mut self, captured: &Captured) -> Result<(), Error> {
        let folder = &self.request.outputs_dir;
        self.outputs.extend(captured.write(folder)?);
        if self.request.workload == Workload::Classify {
            self.tensors.extend(self.feed.capture(&captured.items)?.write(folder)?);
        }
        Ok(())
    }

    fn finish(mut self, last: &Captured, runtime: Runtime) -> Result<(RunResult, Session), Error> {
        let request = self.request;
        let mut result = RunResult::ok(&request.case);
        if request.workload == Workload::Classify {
            result.top = rank(request, last)?;
            result.samples.insert("preprocess".into(), self.preprocess);
        }
        result.samples.insert("inference".into(), self.inference);
        self.phases.mark("output");
        let (phases, after) = self.phases.finish();
        result.phases = phases;
        result.outputs = self.outputs;
        result.tensors = self.tensors;
        result.memory = Some(Memory { peak_bytes: memory::peak_bytes(), after });
        result.effective = Some(Effective {
            runtime: "onnxruntime".into(),
            version: runtime.version,
            language: "rust".into(),
            provider: Some(request.settings.provider.clone()),
            threads: self.session.threads(),
            build: Some(runtime.build),
            library: Some(runtime.library),
            ignored: Vec::new(),
        });
        Ok((result, self.session))
    }
}

/// The best classes of each item of the last batch.
fn rank(request: &Request, last: &Captured) -> Result<Vec<Vec<Guess>>, Error> {
    let labels = request.labels.as_deref().map(topk::read_labels).transpose()?.unwrap_or_default();
    let name = request.model.outputs.first().map(|output| output.name.as_str());
    last.rows(name)?.iter().map(|row| topk::top(row, request.top_k.get(), &labels)).collect()
}
