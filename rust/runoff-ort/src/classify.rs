//! `runoff-ort classify`: images to their best classes.

use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::slice::Iter;
use std::thread;

use runoff_core::preprocess::Preprocessor;
use runoff_core::protocol::Guess;
use runoff_core::{classify, topk};
use runoff_runner::{exit_immediately, fail, print, print_json};
use runoff_session::{Buffer, Dtype, Error, HELPER_THREAD, Kind, Session, Settings, Source, Teardown};
use serde::Serialize;

use crate::{preprocessing, session};

const EXAMPLES: &str = "\
Examples:
  runoff-ort classify --model efficientnet-lite0/model.onnx photo.jpg
  runoff-ort classify --model model.onnx --batch 8 --json photos/*.jpg | jq -r '[.image, .top[0].label] | @tsv'
  runoff-ort classify --model \"$(runoff-ort prepare --model model.onnx)\" --manifest manifest.json \\
      --profile cold photo.jpg
  runoff-ort classify --model model.onnx --labels labels.txt --resize 256 --crop 224 --interpolation bicubic \\
      --mean 123.675,116.28,103.53 --std 58.395,57.12,57.375 photo.jpg

With --profile cold the first images are read while the runtime starts, and the process ends without tidying up; the
model is best one that `prepare` made. --profile FILE.toml takes what `runoff tune --write FILE.toml` found. An image that cannot be read is one line on stderr: the others are still
classified, and the exit code is 1.";

/// The command line of `classify`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Images: JPEG, PNG, WebP, BMP or TIFF files.
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// Model: an ONNX file, or an .ort file that `prepare` made.
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    #[command(flatten)]
    session: session::SessionArgs,
    #[command(flatten)]
    preprocessing: preprocessing::PreprocessingArgs,
    /// Text file with a label per line [default: the manifest's].
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Images per inference; the last may have fewer [default: what the model is made for, else 1].
    #[arg(long, value_name = "N")]
    batch: Option<NonZeroUsize>,
    /// How many classes are printed of each image.
    #[arg(long, value_name = "K", default_value = "5")]
    top: NonZeroUsize,
    /// Print one JSON object a line for each image: {"image": FILE, "top": [{"index", "confidence", "label"}, ...]}.
    #[arg(long)]
    json: bool,
}

/// An image and its best classes, as `--json` prints them.
#[derive(Serialize)]
struct Classified<'a> {
    image: &'a Path,
    top: Vec<Guess>,
}

/// Images of which some are read.
struct Images<'a> {
    left: Iter<'a, PathBuf>,
    preprocessor: Preprocessor,
    /// The batch: images that could be read, and room for as many as requested last, float32 NCHW.
    read: Vec<&'a Path>,
    elements: Buffer,
    /// Whether one could not be read.
    failed: bool,
}

impl<'a> Images<'a> {
    fn new(images: &'a [PathBuf], preprocessor: Preprocessor) -> Self {
        Self { left: images.iter(), preprocessor, read: Vec::new(), elements: Buffer::default(), failed: false }
    }

    /// Makes room for a batch of `rows` images; what was read into it stays.
    fn make_room(&mut self, rows: usize) -> Result<(), Error> {
        let (side, kept) = (self.preprocessor.crop(), self.read.len() * self.preprocessor.tensor_len());
        if self.elements.floats_mut().len() / self.preprocessor.tensor_len() != rows {
            let mut elements = Buffer::for_shape(Dtype::Float32, &[rows, 3, side, side])?;
            elements.floats_mut()[..kept].copy_from_slice(&self.elements.floats_mut()[..kept]);
            self.elements = elements;
        }
        Ok(())
    }

    /// Reads on until the batch holds `size` images, or none is left. What cannot be read is reported and left out.
    fn fill(&mut self, size: usize) -> Result<(), Error> {
        let len = self.preprocessor.tensor_len();
        let size = size.min(self.read.len() + self.left.len());
        self.make_room(size)?;
        while self.read.len() < size
            && let Some(image) = self.left.next()
        {
            let row = self.read.len() * len;
            match self.preprocessor.load(image, &mut self.elements.floats_mut()[row..row + len]) {
                Ok(()) => self.read.push(image),
                Err(error) => {
                    let _ = fail(&error);
                    self.failed = true;
                }
            }
        }
        Ok(())
    }
}

/// Classifies the images and prints their best classes, a batch as soon as it is done; returns the exit code.
///
/// # Errors
///
/// Those of [`session::open`], [`classify::check`] and [`classify::rank`], `bad-request` for flags that do not suffice
/// or fit, and those of stdout.
pub fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let (preprocess, stored) = arguments.preprocessing.resolve(&arguments.model)?;
    let labels = arguments.labels.clone().or(stored).map(|path| topk::read_labels(&path)).transpose()?;
    let labels = labels.unwrap_or_default();
    let images = Images::new(&arguments.images, Preprocessor::new(&preprocess)?);
    let settings = arguments.session.settings(arguments.batch)?;
    session::note_unprepared(&settings, &arguments.model);
    let of_profile = Some(settings.batch).filter(|batch| batch.get() > 1);
    let (session, mut images) = open(arguments, &settings, images)?;
    let batch = batch_size(arguments.batch.or(of_profile), &session)?;
    let (side, top) = (images.preprocessor.crop(), arguments.top.get());
    classify::check(&session, batch, side)?;
    let mut first = true;
    loop {
        images.fill(batch)?;
        if images.read.is_empty() {
            break;
        }
        // The rows that a model of a fixed size has too many are zeros.
        let rows = fixed_batch(&session).unwrap_or(images.read.len());
        images.make_room(rows)?;
        let guesses = classify::rank(&session, &images.elements, rows, side, top, &labels)?;
        for (image, top) in images.read.drain(..).zip(guesses) {
            show(arguments, &Classified { image, top }, first)?;
            first = false;
        }
    }
    let code = u8::from(images.failed);
    if settings.teardown == Some(Teardown::Skip) {
        exit_immediately(code);
    }
    Ok(code)
}

/// Opens the session; with the setting `overlap`, another thread reads the first batch meanwhile.
fn open<'a>(
    arguments: &Arguments,
    settings: &Settings,
    mut images: Images<'a>,
) -> Result<(Session, Images<'a>), Error> {
    let (library, model) = (&arguments.session.library, Source::File(&arguments.model));
    if settings.overlap != Some(true) {
        return Ok((session::open(library, model, settings)?.1, images));
    }
    let size = settings.batch.get();
    thread::scope(|scope| {
        let prefetch = thread::Builder::new()
            .name(HELPER_THREAD.to_owned())
            .spawn_scoped(scope, move || images.fill(size).map(|()| images));
        let failed = |error| Error::new(Kind::Internal, format!("cannot start a thread: {error}"), "remove --profile");
        let prefetch = prefetch.map_err(failed)?;
        let (_, session) = session::open(library, model, settings)?;
        let images = prefetch.join().map_err(|_| Error::new(Kind::Internal, "reading images failed", "report this"))?;
        Ok((session, images?))
    })
}

/// How many images the model takes at a time, where it is made for one number.
fn fixed_batch(session: &Session) -> Option<usize> {
    session.inputs().first().and_then(|input| input.shape.first().copied().flatten())
}

fn batch_size(requested: Option<NonZeroUsize>, session: &Session) -> Result<usize, Error> {
    match (requested.map(NonZeroUsize::get), fixed_batch(session)) {
        (Some(requested), Some(fixed)) if requested != fixed => {
            let message = format!("--batch {requested}: the model takes {fixed} at a time");
            Err(Error::new(Kind::BadRequest, message, "remove --batch"))
        }
        (requested, fixed) => Ok(requested.or(fixed).unwrap_or(1)),
    }
}

fn show(arguments: &Arguments, classified: &Classified<'_>, first: bool) -> anyhow::Result<()> {
    if arguments.json {
        return Ok(print_json(classified)?);
    }
    let name = classified.image.display();
    let text = match (arguments.images.len(), arguments.top.get()) {
        (1, _) => lines("", &classified.top),
        (_, 1) => lines(&format!("{name}: "), &classified.top),
        _ => format!("{}{name}:\n{}", if first { "" } else { "\n" }, lines("", &classified.top)),
    };
    Ok(print(&text)?)
}

fn lines(before: &str, guesses: &[Guess]) -> String {
    let mut text = String::new();
    for guess in guesses {
        let label = guess.label.clone().unwrap_or_else(|| format!("class {}", guess.index));
        // Writing to a string does not fail.
        let _ = writeln!(text, "{before}{:6.2} %  {label}", guess.confidence * 100.0);
    }
    text
}
