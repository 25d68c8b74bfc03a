//! Flags for how an image becomes a tensor, and the manifest that replaces them.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use runoff_core::protocol::{Preprocess, parse_word};
use runoff_session::{Error, Kind};
use serde::Deserialize;

/// How images are preprocessed. What is not given comes from the manifest, where there is one.
#[derive(Debug, clap::Args)]
pub struct PreprocessingArgs {
    /// Manifest of the model store [default: manifest.json next to the model, if there is one].
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Length of the image's shorter side after resizing, in pixels.
    #[arg(long, value_name = "N", help_heading = "Preprocessing")]
    resize: Option<NonZeroU32>,
    /// Side of the square that is cut from the middle, in pixels.
    #[arg(long, value_name = "N", help_heading = "Preprocessing")]
    crop: Option<NonZeroU32>,
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
    /// `None` if the model takes tensors.
    #[serde(default)]
    preprocess: Option<Preprocess>,
    #[serde(default)]
    labels: Option<StoredFile>,
}

#[derive(Debug, Deserialize)]
struct StoredFile {
    path: PathBuf,
}

impl PreprocessingArgs {
    /// How images become tensors for the model in the file `model`, and the path of the labels in its manifest.
    ///
    /// # Errors
    ///
    /// `bad-request`, naming the manifest or the flag that is missing.
    pub fn resolve(&self, model: &Path) -> Result<(Preprocess, Option<PathBuf>), Error> {
        let path = self.manifest(model);
        let manifest = path.as_deref().map(read_manifest).transpose()?;
        let preprocess = self.preprocess(manifest.as_ref().and_then(|manifest| manifest.preprocess.as_ref()))?;
        let labels = path.zip(manifest.and_then(|manifest| manifest.labels));
        Ok((preprocess, labels.map(|(path, labels)| path.with_file_name(labels.path))))
    }

    /// As [`Self::resolve`]; `None` if neither a flag nor a manifest has preprocessing: the model takes tensors.
    ///
    /// # Errors
    ///
    /// As [`Self::resolve`].
    pub fn resolve_if_any(&self, model: &Path) -> Result<Option<(Preprocess, Option<PathBuf>)>, Error> {
        let Self { manifest: _, resize, crop, interpolation, mean, std } = self;
        let is_given = resize.is_some() || crop.is_some() || interpolation.is_some() || mean.is_some() || std.is_some();
        let stored = self.manifest(model).map(|path| read_manifest(&path)).transpose()?;
        let is_stored = stored.is_some_and(|manifest| manifest.preprocess.is_some());
        (is_given || is_stored).then(|| self.resolve(model)).transpose()
    }

    /// The manifest, if there is one.
    fn manifest(&self, model: &Path) -> Option<PathBuf> {
        let neighbour = || Some(model.with_file_name("manifest.json")).filter(|path| path.is_file());
        self.manifest.clone().or_else(neighbour)
    }

    fn preprocess(&self, stored: Option<&Preprocess>) -> Result<Preprocess, Error> {
        let interpolation =
            self.interpolation.as_deref().map(|word| parse_word("--interpolation", word)).transpose()?;
        Ok(Preprocess {
            resize: given("--resize", self.resize, stored.map(|stored| stored.resize))?,
            crop: given("--crop", self.crop, stored.map(|stored| stored.crop))?,
            interpolation: given("--interpolation", interpolation, stored.map(|stored| stored.interpolation))?,
            mean: given("--mean", self.mean, stored.map(|stored| stored.mean))?,
            std: given("--std", self.std, stored.map(|stored| stored.std))?,
        })
    }
}

fn read_manifest(path: &Path) -> Result<Manifest, Error> {
    let fail = |what: String| {
        let message = format!("cannot read the manifest {}: {what}", path.display());
        Error::new(Kind::BadRequest, message, "export or add the model again (runoff list models)")
    };
    let bytes = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| fail(error.to_string()))
}

/// Reads three numbers with commas between them.
fn channels(text: &str) -> Result<[f64; 3], String> {
    let numbers: Result<Vec<f64>, _> = text.split(',').map(str::parse).collect();
    let numbers = numbers.map_err(|error| error.to_string())?;
    numbers.try_into().map_err(|_| "three numbers are needed, one for each channel".to_owned())
}

fn given<T>(flag: &str, argument: Option<T>, stored: Option<T>) -> Result<T, Error> {
    argument.or(stored).ok_or_else(|| {
        let message = format!("{flag} is not given, and no manifest.json next to the model has it");
        Error::new(Kind::BadRequest, message, "give it, or a manifest with --manifest")
    })
}
