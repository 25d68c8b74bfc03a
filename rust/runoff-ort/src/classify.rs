//! `runoff-ort classify`: an image to its best classes.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use runoff_core::error::{Error, Kind};
use runoff_core::preprocess::Preprocessor;
use runoff_core::protocol::{Guess, Preprocess, Settings, parse_word};
use runoff_core::runtime::{Runtime, library_from_env};
use runoff_core::session::Session;
use runoff_core::{classify, topk};
use runoff_runner::{print, print_json};
use serde::Deserialize;

/// The command line of `classify`. What is not given comes from the manifest, where there is one.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Model: an ONNX file.
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Image: a JPEG or PNG file.
    #[arg(long, value_name = "FILE")]
    image: PathBuf,
    /// Manifest of the model store [default: manifest.json beside the model, where there is one].
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Text file with a label per line.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Threads that compute.
    #[arg(long, value_name = "N", default_value = "1")]
    threads: std::num::NonZeroUsize,
    /// How many classes are printed.
    #[arg(long, value_name = "K", default_value = "5")]
    top: std::num::NonZeroUsize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Length of the image's shorter side after resizing, in pixels.
    #[arg(long, value_name = "N", help_heading = "Preprocessing")]
    resize: Option<std::num::NonZeroU32>,
    /// Side of the square that is cut from the middle, in pixels.
    #[arg(long, value_name = "N", help_heading = "Preprocessing")]
    crop: Option<std::num::NonZeroU32>,
    /// Resampling filter: bicubic or bilinear.
    #[arg(long, value_name = "FILTER", help_heading = "Preprocessing")]
    interpolation: Option<String>,
    /// What is subtracted from each channel, in pixel units (0 to 255).
    #[arg(long, value_name = "R,G,B", value_parser = channels, help_heading = "Preprocessing")]
    mean: Option<[f64; 3]>,
    /// What each channel is divided by after that, in pixel units.
    #[arg(long, value_name = "R,G,B", value_parser = channels, help_heading = "Preprocessing")]
    std: Option<[f64; 3]>,
}

/// What this program reads of a model's manifest.
#[derive(Debug, Deserialize)]
struct Manifest {
    preprocess: Preprocess,
    labels: StoredFile,
}

#[derive(Debug, Deserialize)]
struct StoredFile {
    path: PathBuf,
}

/// Classifies the image and prints the best classes.
///
/// # Errors
///
/// Those of [`classify::classify`], `bad-request` for arguments that do not suffice, and those of stdout.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let path = manifest_path(arguments);
    let manifest = path.as_deref().map(read_manifest).transpose()?;
    let mut preprocessor = Preprocessor::new(&preprocess(arguments, manifest.as_ref())?)?;
    let stored = path.zip(manifest).map(|(path, manifest)| path.with_file_name(manifest.labels.path));
    let labels = arguments.labels.clone().or(stored).map(|path| topk::read_labels(&path)).transpose()?;
    let environment = Runtime::load(&library_from_env()?)?.make_environment()?;
    let settings = Settings { threads: arguments.threads, ..Settings::default() };
    let mut session = Session::open(&environment, &arguments.model, &settings)?;
    let labels = labels.unwrap_or_default();
    let top = arguments.top.get();
    let guesses = classify::classify(&mut session, &mut preprocessor, &arguments.image, top, &labels)?;
    if arguments.json {
        print_json(&guesses)?;
    } else {
        print(&table(&guesses))?;
    }
    Ok(())
}

fn manifest_path(arguments: &Arguments) -> Option<PathBuf> {
    let beside = || Some(arguments.model.with_file_name("manifest.json")).filter(|path| path.is_file());
    arguments.manifest.clone().or_else(beside)
}

fn read_manifest(path: &Path) -> Result<Manifest, Error> {
    let fail = |what: String| {
        let message = format!("cannot read the manifest {}: {what}", path.display());
        Error::new(Kind::BadRequest, message, "make it again: runoff export --force NAME")
    };
    let bytes = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| fail(error.to_string()))
}

fn preprocess(arguments: &Arguments, manifest: Option<&Manifest>) -> Result<Preprocess, Error> {
    let stored = manifest.map(|manifest| &manifest.preprocess);
    let interpolation = match &arguments.interpolation {
        Some(word) => Some(parse_word("--interpolation", word)?),
        None => None,
    };
    Ok(Preprocess {
        resize: given("--resize", arguments.resize, stored.map(|stored| stored.resize))?,
        crop: given("--crop", arguments.crop, stored.map(|stored| stored.crop))?,
        interpolation: given("--interpolation", interpolation, stored.map(|stored| stored.interpolation))?,
        mean: given("--mean", arguments.mean, stored.map(|stored| stored.mean))?,
        std: given("--std", arguments.std, stored.map(|stored| stored.std))?,
    })
}

/// Reads three numbers with commas between them.
fn channels(text: &str) -> Result<[f64; 3], String> {
    let numbers: Result<Vec<f64>, _> = text.split(',').map(str::parse).collect();
    let numbers = numbers.map_err(|error| error.to_string())?;
    numbers.try_into().map_err(|_| "three numbers are needed, one for each channel".to_owned())
}

fn given<T>(flag: &str, argument: Option<T>, stored: Option<T>) -> Result<T, Error> {
    argument.or(stored).ok_or_else(|| {
        let message = format!("{flag} is not given, and there is no manifest.json beside the model");
        Error::new(Kind::BadRequest, message, "give it, or a manifest with --manifest")
    })
}

fn table(guesses: &[Guess]) -> String {
    let mut text = String::new();
    for guess in guesses {
        let label = guess.label.clone().unwrap_or_else(|| format!("class {}", guess.index));
        // Writing to a string does not fail.
        let _ = writeln!(text, "{:6.2} %  {label}", guess.confidence * 100.0);
    }
    text
}
