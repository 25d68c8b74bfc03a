//! `runoff-ort bench`: how fast a model loads and runs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use runoff_core::clock::now_ns;
use runoff_core::dtype::Dtype;
use runoff_core::error::{Error, Kind};
use runoff_core::preprocess::Preprocessor;
use runoff_core::runtime::{Runtime, library_from_env};
use runoff_core::session::{Buffers, Parts, Results, Session, ValueInfo};
use runoff_core::tensor::Buffer;
use runoff_core::value::Value;
use runoff_core::{classify, memory};
use runoff_runner::{print, print_json};
use serde::Serialize;

use crate::statistics::{FEWEST_FOR_P90, Summary, milliseconds};
use crate::{preprocessing, session};

/// Inferences after the second that are run and not kept.
const WARMUP: usize = 8;

const EXAMPLES: &str = "\
Examples:
  runoff-ort bench --model model.onnx
  runoff-ort bench --model model.onnx --shape input=8,3,224,224 --threads 2 --profile latency
  runoff-ort bench --model model.onnx --provider cuda
  runoff-ort bench --model efficientnet-lite0/model.onnx --image a.jpg --image b.jpg --json | jq .warm.median_ns

Only the inference is timed: images are preprocessed before. With --provider cuda or tensorrt, inputs and outputs lie in
the GPU's memory; an inference is still host to host, and the copies are shown apart. A free dimension called batch is then
fixed at the first dimension of the first --shape, or at 1. Eight inferences after the second are not kept. The 90th
percentile is left out when there are fewer than 64 samples. One process on a busy machine proves little: `runoff bench`
compares many, taking turns.";

/// The command line of `bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    session: session::SessionArgs,
    /// Image to run the model on: JPEG, PNG, WebP, BMP or TIFF; several are used in turn [default: zeros].
    #[arg(long = "image", value_name = "FILE")]
    images: Vec<PathBuf>,
    /// Shape of an input of zeros [default: the model's, with 1 for what is dynamic].
    #[arg(long = "shape", value_name = "NAME=N,N,...", conflicts_with = "images")]
    shapes: Vec<Shape>,
    /// Warm inferences that are kept.
    #[arg(long, value_name = "N", default_value = "100")]
    samples: NonZeroUsize,
    /// Print JSON, with every sample.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    preprocessing: preprocessing::PreprocessingArgs,
}

/// The shape that the input `name` is given.
#[derive(Debug, Clone)]
struct Shape {
    name: String,
    dims: Vec<usize>,
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, dims) = text.split_once('=').ok_or("expected NAME=DIMS, such as input=1,3,224,224")?;
        let dim = |dim: &str| dim.parse().map_err(|_| format!("{dim:?} is not a number"));
        let dims = dims.split(',').filter(|dim| !dim.is_empty()).map(dim).collect::<Result<_, String>>()?;
        Ok(Self { name: name.to_owned(), dims })
    }
}

/// One input of the model, filled.
struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    elements: Buffer,
}

impl Tensor {
    fn value(&self) -> Result<Value<'_>, Error> {
        Value::over(self.dtype, &self.shape, self.elements.bytes())
    }
}

/// What was measured.
#[derive(Serialize)]
struct Measured {
    model: PathBuf,
    profile: String,
    threads: Option<usize>,
    provider: String,
    device: Option<String>,
    runtime: String,
    load_ns: u64,
    first_ns: u64,
    second_ns: u64,
    warm: Summary,
    warm_ns: Vec<u64>,
    /// Of the warm ones, on a device: the parts that they add up from.
    parts: BTreeMap<&'static str, Summary>,
    peak_bytes: Option<u64>,
}

/// How long one inference took, in nanoseconds.
#[derive(Debug, Clone, Copy)]
struct InferenceTimes {
    total_ns: u64,
    /// On a device.
    parts: Option<Parts>,
}

/// Measures, and prints what was measured.
///
/// # Errors
///
/// Those of [`session::open`] and [`Session::run`], those of preprocessing, `bad-request` for a `--shape` that does not
/// fit, `model-mismatch` for a model that cannot be fed, and those of stdout.
pub fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let settings = arguments.session.settings(batch(&arguments.shapes))?;
    let runtime = Runtime::load(&library_from_env()?)?;
    let environment = runtime.make_environment()?;
    let begun_ns = now_ns();
    let session = Session::open(&environment, &arguments.session.model, &settings)?;
    let load_ns = now_ns() - begun_ns;
    let items = feed(arguments, &session)?;
    let all = time(&session, &items, arguments.samples.get())?;
    let warm_ns: Vec<u64> = all[2 + WARMUP..].iter().map(|took| took.total_ns).collect();
    let warm =
        Summary::of(&warm_ns).ok_or_else(|| Error::new(Kind::Internal, "nothing was measured", "report this"))?;
    let measured = Measured {
        model: arguments.session.model.clone(),
        profile: settings.profile,
        threads: session.threads(),
        provider: settings.provider,
        device: session.device(),
        runtime: runtime.version,
        load_ns,
        first_ns: all[0].total_ns,
        second_ns: all[1].total_ns,
        warm,
        warm_ns,
        parts: parts(&all[2 + WARMUP..]),
        peak_bytes: memory::peak_bytes(),
    };
    if arguments.json {
        print_json(&measured)?;
    } else {
        print(&table(&measured))?;
    }
    Ok(0)
}

/// Items in one inference: what a provider that wants to know it fixes.
fn batch(shapes: &[Shape]) -> NonZeroUsize {
    let first = shapes.first().and_then(|shape| shape.dims.first());
    first.and_then(|&dim| NonZeroUsize::new(dim)).unwrap_or(NonZeroUsize::MIN)
}

/// Runs the model on `items` in turns: the first, the second, those that are not kept, and `samples` more.
fn time(session: &Session, items: &[Vec<Tensor>], samples: usize) -> Result<Vec<InferenceTimes>, Error> {
    let values =
        items.iter().map(|item| item.iter().map(Tensor::value).collect()).collect::<Result<Vec<Vec<_>>, _>>()?;
    let mut buffers = session.is_on_device().then(|| Buffers::new(session)).transpose()?;
    let count = samples.saturating_add(2 + WARMUP);
    let (mut all, mut results) = (Vec::new(), Results::default());
    all.try_reserve_exact(count).map_err(|_| Error::memory(&format!("--samples {samples}")))?;
    for values in values.iter().cycle().take(count) {
        all.push(match &mut buffers {
            Some(buffers) => InferenceTimes::on_device(buffers.run(values, &mut results)?),
            None => InferenceTimes::on_host(session, values)?,
        });
    }
    Ok(all)
}

impl InferenceTimes {
    fn on_host(session: &Session, values: &[Value<'_>]) -> Result<Self, Error> {
        let begun_ns = now_ns();
        let outputs = session.run(values)?;
        let total_ns = now_ns() - begun_ns;
        drop(outputs);
        Ok(Self { total_ns, parts: None })
    }

    const fn on_device(parts: Parts) -> Self {
        Self { total_ns: parts.total_ns(), parts: Some(parts) }
    }
}

/// What the inferences add up from, by part; nothing on the host.
fn parts(all: &[InferenceTimes]) -> BTreeMap<&'static str, Summary> {
    let mut durations_ns: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for (part, took_ns) in all.iter().filter_map(|took| took.parts).flat_map(|parts| parts.named()) {
        durations_ns.entry(part).or_default().push(took_ns);
    }
    durations_ns.into_iter().filter_map(|(part, all)| Some((part, Summary::of(&all)?))).collect()
}

/// The tensors of each item, in the order of the model's inputs: one item an image, or one of zeros.
fn feed(arguments: &Arguments, session: &Session) -> Result<Vec<Vec<Tensor>>, Error> {
    if arguments.images.is_empty() {
        return Ok(vec![zeros(&arguments.shapes, session)?]);
    }
    let (preprocess, _) = arguments.preprocessing.resolve(&arguments.session.model)?;
    let mut preprocessor = Preprocessor::new(&preprocess)?;
    classify::check(session, 1, preprocessor.crop())?;
    arguments.images.iter().map(|image| Ok(vec![read(&mut preprocessor, image)?])).collect()
}

fn read(preprocessor: &mut Preprocessor, image: &Path) -> Result<Tensor, Error> {
    let shape = vec![1, 3, preprocessor.crop(), preprocessor.crop()];
    let mut elements = Buffer::for_shape(Dtype::Float32, &shape)?;
    preprocessor.load(image, elements.floats_mut())?;
    Ok(Tensor { dtype: Dtype::Float32, shape, elements })
}

fn zeros(shapes: &[Shape], session: &Session) -> Result<Vec<Tensor>, Error> {
    if let Some(shape) = shapes.iter().find(|shape| session.inputs().iter().all(|input| input.name != shape.name)) {
        let names: Vec<_> = session.inputs().iter().map(|input| input.name.as_str()).collect();
        let message = format!("--shape {}: the model has no such input (it has: {})", shape.name, names.join(", "));
        return Err(Error::new(Kind::BadRequest, message, "correct the name"));
    }
    session.inputs().iter().map(|input| zero(input, shapes)).collect()
}

fn zero(input: &ValueInfo, shapes: &[Shape]) -> Result<Tensor, Error> {
    let Some(dtype) = input.dtype.filter(|dtype| *dtype != Dtype::Str) else {
        let message = format!("input {:?} is {}, which cannot be zeros", input.name, input.kind);
        return Err(Error::new(Kind::ModelMismatch, message, "use a model whose inputs are tensors of numbers"));
    };
    let given = shapes.iter().rfind(|shape| shape.name == input.name);
    let own = || input.shape.iter().map(|dim| dim.unwrap_or(1)).collect();
    let shape: Vec<usize> = given.map_or_else(own, |given| given.dims.clone());
    let unfit = |what: String| {
        let message = format!("--shape {}={shape:?}: {what}", input.name);
        Error::new(Kind::BadRequest, message, "run: runoff-ort info MODEL")
    };
    let dims: Vec<i64> = shape.iter().map(|&dim| i64::try_from(dim).unwrap_or(i64::MAX)).collect();
    if !input.takes(&dims) {
        return Err(unfit("the model takes another shape".to_owned()));
    }
    let elements = Buffer::for_shape(dtype, &shape).map_err(|error| unfit(error.message))?;
    Ok(Tensor { dtype, shape, elements })
}

fn table(measured: &Measured) -> String {
    let Measured { warm, .. } = measured;
    let mut text = String::new();
    // Writing to a string does not fail.
    let mut line = |name: &str, value: &str| _ = writeln!(text, "{name:<12}  {value}");
    let nanoseconds = |value: u64| format!("{:.3} ms", std::time::Duration::from_nanos(value).as_secs_f64() * 1e3);
    line("model", &measured.model.display().to_string());
    if let Some(device) = &measured.device {
        line("device", device);
    }
    line("load", &nanoseconds(measured.load_ns));
    line("first", &nanoseconds(measured.first_ns));
    line("second", &nanoseconds(measured.second_ns));
    line("warm median", &format!("{}  of {} samples", milliseconds(warm.median_ns), warm.count));
    let too_few = || format!("-  needs {FEWEST_FOR_P90} samples");
    line("warm p90", &warm.p90_ns.map_or_else(too_few, milliseconds));
    line("warm min", &nanoseconds(warm.min_ns));
    for (title, part) in [("copy in", "copy_in"), ("compute", "compute"), ("copy out", "copy_out")] {
        if let Some(part) = measured.parts.get(part) {
            line(title, &milliseconds(part.median_ns));
        }
    }
    line("throughput", &format!("{:.1} inferences/s", warm.per_second));
    let mebibytes = |bytes: u64| format!("{}.{} MiB", bytes >> 20, ((bytes & 0xF_FFFF) * 10) >> 20);
    line("peak memory", &measured.peak_bytes.map_or_else(|| "-".to_owned(), mebibytes));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_shown_on_a_device_only() {
        let on_device =
            |compute_ns| InferenceTimes::on_device(Parts { copy_in_ns: 2_000_000, compute_ns, copy_out_ns: 1_000_000 });
        let all = [on_device(5_000_000), on_device(7_000_000)];
        assert_eq!((all[0].total_ns, all[1].total_ns), (8_000_000, 10_000_000));
        let measured = |parts, device: Option<&str>| Measured {
            model: "m.onnx".into(),
            profile: "default".into(),
            threads: None,
            provider: "cuda".into(),
            device: device.map(str::to_owned),
            runtime: "1.31.1".into(),
            load_ns: 1,
            first_ns: 1,
            second_ns: 1,
            warm: Summary::of(&[8_000_000, 10_000_000]).expect("samples"),
            warm_ns: vec![],
            parts,
            peak_bytes: None,
        };
        let table = super::table(&measured(parts(&all), Some("Test GPU (0)")));
        for line in
            ["device        Test GPU (0)", "copy in       2.000 ms", "compute       6.000 ms", "copy out      1.000 ms"]
        {
            assert!(table.lines().any(|own| own == line), "{table}");
        }
        let host = [InferenceTimes { total_ns: 1, parts: None }];
        let table = super::table(&measured(parts(&host), None));
        assert!(!table.contains("copy") && !table.contains("device"), "{table}");
    }

    #[test]
    fn the_batch_is_the_first_side_of_the_first_shape() {
        let shapes = |text: &[&str]| text.iter().map(|text| text.parse().expect("a shape")).collect::<Vec<Shape>>();
        assert_eq!(batch(&shapes(&["a=4,2", "b=8"])).get(), 4);
        assert_eq!(batch(&shapes(&["a=0,2"])).get(), 1);
        assert_eq!(batch(&[]).get(), 1);
    }
}
