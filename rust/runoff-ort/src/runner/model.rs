//! The workloads `classify` and `tensor`: one model, from items to outputs.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use runoff_core::clock::{Phases, now_ns};
use runoff_core::protocol::{Arena, Effective, Load, Measure, Request, RunResult, Workload};
use runoff_runner::{Captured, Feed, Input, IterationTimes, Prefetch, Served, Work};
use runoff_session::{
    Buffers, Builder, CPU, Dimensions, Dtype, Environment, Error, Kind, RawTensor, Results, Runtime, Session, Settings,
    Source, Value,
};

use super::chosen::Chosen;
use super::{effective, session_settings};
use crate::serve;

/// A model, its inputs and its latest outputs.
pub struct Model<'a> {
    request: &'a Request,
    runtime: Runtime,
    /// Tensors in the memory of the session's device, if it has one, and the outputs of the latest inference on it.
    buffers: Option<(Buffers, Results)>,
    session: Session,
    chosen: Chosen,
    feed: Feed<'a>,
    /// Outputs of the latest inference on the host.
    latest: Vec<Value<'static>>,
}

impl<'a> Model<'a> {
    /// Loads the model; `buffers` allocates its tensors if it runs on a device.
    pub fn open(
        request: &'a Request,
        runtime: Runtime,
        environment: &Environment,
        phases: &mut Phases,
        prefetch: Option<Prefetch>,
        buffers: impl FnOnce(&Session, &Chosen) -> Result<Option<Buffers>, Error>,
    ) -> Result<Self, Error> {
        let is_free = !rows_are_batch(request) || is_joined(request);
        let settings = Settings { keep_batch_free: is_free, ..session_settings(request) };
        let mut builder = Builder::new(environment, &settings)?;
        if matches!(request.measure, Measure::Operators(_)) {
            builder = builder.with_profiling(&request.outputs_dir.join("profile"))?;
        }
        let session = builder.open(Source::File(&request.model.path))?;
        let chosen = Chosen::of(&session, &request.model, session.is_on_device())?;
        check_whole_batches(request)?;
        let buffers = buffers(&session, &chosen)?;
        phases.mark("load");
        Ok(Self {
            feed: Feed::new(request, &chosen.inputs(&session), prefetch)?,
            request,
            runtime,
            chosen,
            buffers: buffers.map(|buffers| (buffers, Results::default())),
            session,
            latest: Vec::new(),
        })
    }

    fn is_of_images(&self) -> bool {
        self.request.workload == Workload::Classify
    }
}

impl Work for Model<'_> {
    fn load(&mut self, range: Range<usize>) -> Result<IterationTimes, Error> {
        let took_ns = self.feed.load(range)?;
        Ok(IterationTimes::preprocessing(self.is_of_images().then_some(took_ns)))
    }

    fn infer(&mut self, took: &mut IterationTimes) -> Result<(), Error> {
        let begun_ns = now_ns();
        let values = self.feed.inputs().iter().map(value).collect::<Result<Vec<_>, _>>()?;
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

    fn items(&self, range: Range<usize>) -> Result<Vec<usize>, Error> {
        self.feed.items(range)
    }

    /// Frees the latest outputs on the host; outputs of a device are overwritten by the next inference.
    fn forget(&mut self) {
        self.latest.clear();
    }

    fn capture(&self, items: Vec<usize>) -> Result<Captured, Error> {
        let latest = self.buffers.as_ref().map_or(&*self.latest, |(_, results)| &**results);
        let named = self.chosen.outputs(&self.session).zip(latest);
        let tensors = named.map(|(info, value)| Ok((info.name.clone(), RawTensor::copy_of(value, &info.name)?)));
        Ok(Captured::outputs(items, tensors.collect::<Result<_, Error>>()?))
    }

    fn inputs(&self, items: &[usize]) -> Option<Captured> {
        self.is_of_images().then(|| self.feed.capture(items))
    }

    fn complete(&mut self, last: &Captured, result: &mut RunResult) -> Result<(), Error> {
        if self.is_of_images() {
            result.top = last.rank(self.request)?;
        }
        Ok(())
    }

    fn end_profile(&mut self) -> Result<PathBuf, Error> {
        self.session.end_profiling().map(PathBuf::from)
    }

    fn arena(&self) -> Result<Option<Arena>, Error> {
        Ok(self.session.arena()?.map(|found| Arena {
            in_use_bytes: found.in_use_bytes,
            most_in_use_bytes: found.most_in_use_bytes,
            reserved_bytes: found.reserved_bytes,
        }))
    }

    fn serve(&mut self, load: Load) -> Result<Served, Error> {
        let places = (self.chosen.inputs.clone(), self.chosen.outputs.clone());
        serve::measure(self.request, load, &self.session, places, self.feed.take_items())
    }

    fn effective(&self) -> Effective {
        effective(self.request, &self.runtime, &[&self.session])
    }
}

/// The current elements of an input, in place.
fn value(input: &Input) -> Result<Value<'_>, Error> {
    match input.dtype() {
        Dtype::Str => {
            let dims: Dimensions = input.shape().iter().map(|&dim| i64::try_from(dim).unwrap_or(i64::MAX)).collect();
            Value::strings(&dims, input.texts())
        }
        dtype => Value::over(dtype, input.shape(), input.bytes()),
    }
}

/// Whether requests are joined to batches of any size.
fn is_joined(request: &Request) -> bool {
    matches!(request.measure, Measure::Load(load) if load.max_batch.get() > 1)
}

/// Whether the first dimension of each input runs over the items of a batch. For `tensor` and one item at a time it is
/// any dimension.
fn rows_are_batch(request: &Request) -> bool {
    let mut files = request.inputs.iter().flat_map(|item| item.tensors.iter().flat_map(BTreeMap::values));
    let is_any = request.workload == Workload::Tensor && request.settings.batch.get() == 1;
    !is_any || files.all(|file| file.shape.first() == Some(&1))
}

/// Checks that all batches are full, for a session with a fixed batch size.
pub fn check_whole_batches(request: &Request) -> Result<(), Error> {
    let (count, Settings { batch, provider, .. }) = (request.inputs.len(), &request.settings);
    if provider == CPU || !matches!(request.measure, Measure::Accuracy(_)) || count.is_multiple_of(batch.get()) {
        return Ok(());
    }
    let message = format!(
        "settings.batch: {count} items do not fill batches of {batch}, and provider '{provider}' needs whole batches"
    );
    Err(Error::new(Kind::BadRequest, message, "use a multiple of the batch size"))
}
