//! Flags for how a model becomes a session.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use runoff_core::Error;
use runoff_core::profile;
use runoff_core::protocol::Settings;
use runoff_core::runtime::{Runtime, library_from_env};
use runoff_core::session::{CPU, Session};

/// The model, and how it is run.
#[derive(Debug, clap::Args)]
pub struct SessionArgs {
    /// Model: an ONNX file, or an .ort file that `prepare` made.
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// Threads that compute.
    #[arg(long, value_name = "N", default_value = "1")]
    pub threads: NonZeroUsize,
    /// Settings profile.
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = PossibleValuesParser::new(profile::NAMES))]
    pub profile: String,
    /// Execution provider; `runoff-ort --capabilities` lists those available, and why others are not.
    #[arg(long, value_name = "NAME", default_value = CPU)]
    pub provider: String,
}

impl SessionArgs {
    /// Whether the process is to be over soonest.
    pub fn is_cold(&self) -> bool {
        self.profile == "cold"
    }

    /// The settings of the profile, with the threads and the provider of the flags, and `batch` items at a time.
    ///
    /// # Errors
    ///
    /// Those of [`profile::find`].
    pub fn settings(&self, batch: NonZeroUsize) -> Result<Settings, Error> {
        let provider = self.provider.clone();
        Ok(Settings { threads: self.threads, provider, batch, ..profile::find(&self.profile)? })
    }
}

/// Loads the library that the environment names, and the model in the file `model`.
///
/// # Errors
///
/// Those of [`Runtime::load`] and [`Session::open`].
pub fn open(model: &Path, settings: &Settings) -> Result<(Runtime, Session), Error> {
    let runtime = Runtime::load(&library_from_env()?)?;
    let session = Session::open(&runtime.make_environment()?, model, settings)?;
    Ok((runtime, session))
}
