//! A measurement: iterations of a model, their durations and outputs.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use runoff_core::clock::{Phases, Reading, now_ns};
use runoff_core::image::JPEG_DECODER;
use runoff_core::protocol::{
    Arena, Effective, Latency, Load, Measure, Memory, Operators, Profile, Request, RunResult, Turns, Workload,
    WrittenTensor, bad_request,
};
use runoff_session::{Error, Prepared};

use crate::denormals::denormals;
use crate::malloc::{allocator, keep_memory};
use crate::outputs::Captured;
use crate::prefetch::Prefetch;
use crate::samples::{IterationTimes, Samples};
use crate::turns::{self, TurnCommand};

/// A result, and what is freed after the result is written.
pub struct Answer<'a> {
    /// The runner's result.
    pub result: RunResult,
    /// The loaded model; `None` if the case failed.
    pub work: Option<Box<dyn Work + 'a>>,
}

/// The failure of a runner without a profiler.
pub(crate) fn no_profiler() -> Error {
    bad_request("measure.kind: this runner has no profiler")
}

/// Executes `request`. `entry_ns` is the time of the first line of `main`, `formats` are those that the runner reads, and
/// `open` loads the model; it gets the phases, of which it marks those up to `load`, and the first batch if a thread is
/// already preparing it.
///
/// Failures are reported in the result.
pub fn execute<'a>(
    request: &'a Request,
    entry_ns: u64,
    formats: &[&str],
    open: impl FnOnce(&mut Phases, Option<Prefetch>) -> Result<Box<dyn Work + 'a>, Error>,
) -> Answer<'a> {
    match measure(request, entry_ns, formats, open) {
        Ok((result, work)) => Answer { result, work: Some(work) },
        Err(error) => Answer { result: RunResult::failed(&request.case, &error), work: None },
    }
}

/// A loaded model: the parts of a measurement that depend on the runtime and the workload.
pub trait Work {
    /// Loads the items in `range`.
    ///
    /// # Errors
    ///
    /// If they cannot be read or do not fit the model.
    fn load(&mut self, range: Range<usize>) -> Result<IterationTimes, Error>;

    /// Computes the outputs of the loaded items.
    ///
    /// # Errors
    ///
    /// If the runtime fails.
    fn infer(&mut self, took: &mut IterationTimes) -> Result<(), Error>;

    /// Indices of the items in `range`, wrapping around.
    ///
    /// # Errors
    ///
    /// `bad-request` if there is not enough memory.
    fn items(&self, range: Range<usize>) -> Result<Vec<usize>, Error>;

    /// Frees the latest outputs, if that saves memory.
    fn forget(&mut self) {}

    /// Copies the latest outputs, of `items`.
    ///
    /// # Errors
    ///
    /// If they are not tensors.
    fn capture(&self, items: Vec<usize>) -> Result<Captured, Error>;

    /// Copies the model's inputs, made of the images `items`, if they are written.
    fn inputs(&self, items: &[usize]) -> Option<Captured>;

    /// Adds to the result what only this workload has; `last` are the outputs of the last iteration.
    ///
    /// # Errors
    ///
    /// If the outputs do not fit the workload.
    fn complete(&mut self, last: &Captured, result: &mut RunResult) -> Result<(), Error>;

    /// Ends the runtime's profile of all inferences, which was begun with the measure `operators`; returns its file.
    ///
    /// # Errors
    ///
    /// If the runtime has no profiler, or cannot write the file.
    fn end_profile(&mut self) -> Result<PathBuf, Error> {
        Err(no_profiler())
    }

    /// The runtime's CPU memory arena now; `None` if there is none, or the runtime does not report it.
    ///
    /// # Errors
    ///
    /// If the runtime fails.
    fn arena(&self) -> Result<Option<Arena>, Error> {
        Ok(None)
    }

    /// Responds to the requests of another process, in the measure `load`.
    ///
    /// # Errors
    ///
    /// If the runner does not have this measure, or a request cannot be carried out.
    fn serve(&mut self, _load: Load) -> Result<Served, Error> {
        Err(bad_request("measure.kind: this runner does not have the measure load"))
    }

    /// Settings and runtime in effect, as read back. Denormals, allocator and image decoder are added by the caller.
    fn effective(&self) -> Effective;
}

/// What is left of the requests of another process.
#[derive(Debug, Default)]
pub struct Served {
    /// Outputs that were to be kept.
    pub kept: Vec<Captured>,
    /// CPU time of the process since it was ready, in nanoseconds.
    pub cpu_ns: u64,
}

/// The measurement in progress.
struct Runner<'a> {
    request: &'a Request,
    phases: Phases,
    work: Box<dyn Work + 'a>,
    samples: Samples,
    outputs: Vec<WrittenTensor>,
    tensors: Vec<WrittenTensor>,
    profile: Option<Profile>,
    arena: BTreeMap<String, Arena>,
    cpu_ns: Option<u64>,
}

fn measure<'a>(
    request: &'a Request,
    entry_ns: u64,
    formats: &[&str],
    open: impl FnOnce(&mut Phases, Option<Prefetch>) -> Result<Box<dyn Work + 'a>, Error>,
) -> Result<(RunResult, Box<dyn Work + 'a>), Error> {
    check_format("model", &request.model.format, formats)?;
    let is_ahead = request.settings.overlap == Some(true);
    let prefetch = if is_ahead { Prefetch::begin(request, first_batch(request))? } else { None };
    let mut phases = Phases::begin(request.spawn_ns, entry_ns, Reading::of(&request.measure));
    let work = open(&mut phases, prefetch)?;
    Runner::new(request, phases, work).carry_out()
}

/// Checks that the format of a model, which messages call `field`, is among `formats`.
///
/// # Errors
///
/// `bad-request`.
pub fn check_format(field: &str, format: &str, formats: &[&str]) -> Result<(), Error> {
    if formats.contains(&format) {
        return Ok(());
    }
    Err(bad_request(format!("{field}.format is {format:?}, this runner reads {}", formats.join(", "))))
}

/// Names of the requested settings without effect: those that are not `known`, and `prepared` if a model's file is not in
/// the format `prepared`.
#[must_use]
pub fn ignored(request: &Request, known: &[&str], prepared: &str) -> Vec<String> {
    const OF_EVERY_RUNNER: [&str; 4] = ["provider", "precision", "batch", "profile"];
    let needed = match request.settings.prepared {
        Some(Prepared::Fastest(true)) => Some(prepared),
        Some(Prepared::Optimized(_)) => Some("onnx"),
        Some(Prepared::Fastest(false)) | None => None,
    };
    let mut models = [Some(&request.model), request.model.decoder.as_deref()].into_iter().flatten();
    let is_prepared = needed.is_none_or(|needed| models.all(|model| model.format == needed));
    let settings = serde_json::to_value(&request.settings).unwrap_or_default();
    let requested = settings.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let is_ignored = |name: &str| !known.contains(&name) && !OF_EVERY_RUNNER.contains(&name);
    let names = requested.map(|(name, _)| name.clone());
    names.filter(|name| is_ignored(name) || name == "prepared" && !is_prepared).collect()
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
    fn new(request: &'a Request, phases: Phases, work: Box<dyn Work + 'a>) -> Self {
        Self {
            request,
            phases,
            work,
            samples: Samples::default(),
            outputs: Vec::new(),
            tensors: Vec::new(),
            profile: None,
            arena: BTreeMap::new(),
            cpu_ns: None,
        }
    }

    fn carry_out(mut self) -> Result<(RunResult, Box<dyn Work + 'a>), Error> {
        let last = match self.request.measure {
            Measure::Once(_) => self.once()?,
            Measure::Mappings(_) => self.mappings()?,
            Measure::Latency(latency) => self.latency(latency)?,
            Measure::Accuracy(_) => self.accuracy()?,
            Measure::Turns(turns) => self.turns(turns)?,
            Measure::Operators(operators) => self.operators(operators)?,
            Measure::Load(load) => self.load(load)?,
        };
        self.finish(&last)
    }

    fn once(&mut self) -> Result<Captured, Error> {
        let captured = self.first()?;
        self.outputs.extend(captured.write(&self.request.outputs_dir)?);
        Ok(captured)
    }

    /// As `once`; also asks the runtime for its arena, before and after the inference.
    fn mappings(&mut self) -> Result<Captured, Error> {
        self.arena.extend(self.work.arena()?.map(|arena| ("load".to_owned(), arena)));
        let captured = self.once()?;
        self.arena.extend(self.work.arena()?.map(|arena| ("inference".to_owned(), arena)));
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
            TurnCommand::Outputs => {
                turns::json(&self.work.capture(latest.items.clone())?.write(&self.request.outputs_dir)?)
            }
        })?;
        let last = self.work.capture(latest.items)?;
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
            self.work.forget();
            let iteration = self.iterate(next())?;
            self.samples.keep(&iteration.took);
            let enough = self.samples.warm() >= latency.min_samples.get();
            if enough && now_ns() - begun_ns >= latency.min_ns {
                return self.work.capture(iteration.items);
            }
        }
    }

    /// Runs the first and second iteration, the warm-up, and those whose nodes are reported.
    fn operators(&mut self, operators: Operators) -> Result<Captured, Error> {
        let first = self.first()?;
        let latency = Latency { min_samples: operators.inferences, min_ns: 0, warmup: operators.warmup };
        let (_, mut next) = self.warm_up(latency.warmup)?;
        let last = self.warm(latency, &mut next)?;
        self.profile = Some(Profile { path: self.work.end_profile()?, format: "chrome-trace".into() });
        self.close(&first, last)
    }

    /// Runs the first and second iteration and the warm-up, then responds to requests.
    fn load(&mut self, load: Load) -> Result<Captured, Error> {
        let first = self.first()?;
        let (latest, _) = self.warm_up(load.warmup)?;
        let last = self.work.capture(latest.items)?;
        self.work.forget();
        let Served { kept, cpu_ns } = self.work.serve(load)?;
        self.cpu_ns = Some(cpu_ns);
        for captured in kept {
            self.outputs.extend(captured.write(&self.request.outputs_dir)?);
        }
        self.close(&first, last)
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
            self.work.forget();
            let iteration = self.iterate(start..count.min(start + batch))?;
            self.samples.keep(&iteration.took);
            last = self.work.capture(iteration.items)?;
            self.record(&last)?;
        }
        self.phases.mark("warm");
        Ok(last)
    }

    /// Runs the first iteration and marks its phases.
    fn first(&mut self) -> Result<Captured, Error> {
        let range = 0..first_batch(self.request);
        let mut took = self.work.load(range.clone())?;
        self.phases.mark("preprocess");
        self.work.infer(&mut took)?;
        self.phases.mark("inference");
        self.samples.first(&took);
        let captured = self.work.capture(self.work.items(range)?);
        self.work.forget();
        captured
    }

    fn iterate(&mut self, range: Range<usize>) -> Result<Iteration, Error> {
        let mut took = self.work.load(range.clone())?;
        self.work.infer(&mut took)?;
        Ok(Iteration { items: self.work.items(range)?, took })
    }

    /// Writes the outputs of an iteration, and inputs made of images.
    fn record(&mut self, captured: &Captured) -> Result<(), Error> {
        let folder = &self.request.outputs_dir;
        self.outputs.extend(captured.write(folder)?);
        let inputs = self.work.inputs(&captured.items).map(|inputs| inputs.write(folder)).transpose()?;
        self.tensors.extend(inputs.into_iter().flatten());
        Ok(())
    }

    fn finish(mut self, last: &Captured) -> Result<(RunResult, Box<dyn Work + 'a>), Error> {
        let request = self.request;
        let mut result = RunResult::ok(&request.case);
        self.work.complete(last, &mut result)?;
        result.samples = self.samples.into_parts();
        self.phases.mark("output");
        let (phases, memory) = self.phases.finish();
        result.phases = phases;
        result.outputs = self.outputs;
        result.tensors = self.tensors;
        result.profile = self.profile;
        result.cpu_ns = self.cpu_ns;
        result.memory = Some(Memory { arena: self.arena, ..memory });
        result.effective = Some(Effective {
            denormals: Some(denormals().into()),
            allocator: allocator(),
            image_decoder: (request.workload != Workload::Tensor).then(|| JPEG_DECODER.into()),
            ..self.work.effective()
        });
        Ok((result, self.work))
    }
}
