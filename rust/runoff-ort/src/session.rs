//! Flags for the runtime, and for how a model becomes a session.

use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use runoff_session::{CPU, Error, Kind, PREPARED, Prepared, Runtime, Session, Settings, Source, find_library, profile};

/// ONNX Runtime's library.
#[derive(Debug, clap::Args)]
pub struct LibraryArgs {
    /// ONNX Runtime's shared library [default: `RUNOFF_ORT_DYLIB`, then the onnxruntime wheel of the active environment].
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
}

impl LibraryArgs {
    /// Finds the library and loads it.
    ///
    /// # Errors
    ///
    /// Those of [`find_library`] and [`Runtime::load`].
    pub fn load(&self) -> Result<Runtime, Error> {
        Runtime::load(&find_library(self.library.as_deref())?)
    }
}

/// How a model is run.
#[derive(Debug, clap::Args)]
pub struct SessionArgs {
    /// Threads that compute [default: those of a profile's file, else 1].
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Settings profile: default, cold, latency, or a file that `runoff tune` wrote.
    #[arg(long, value_name = "NAME|FILE.toml", default_value = "default")]
    profile: String,
    /// Execution provider; `runoff-ort --capabilities` lists those available, and why others are not.
    #[arg(long, value_name = "NAME", default_value = CPU)]
    pub provider: String,
    /// Setting of the session (see below), or a configuration entry of ONNX Runtime; wins over the flags and the profile.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub set: Vec<(String, String)>,
    #[command(flatten)]
    pub library: LibraryArgs,
}

impl SessionArgs {
    /// The settings of the profile, over which `batch` items at a time and the flags are laid.
    ///
    /// # Errors
    ///
    /// Those of [`profile::find`], and `bad-request` for `--set`.
    pub fn settings(&self, batch: Option<NonZeroUsize>) -> Result<Settings, Error> {
        let flagged = |error: Error| Error::new(error.kind, format!("--profile: {}", error.message), error.hint);
        let (profile, provider) = (profile::find(&self.profile).map_err(flagged)?, self.provider.clone());
        let (threads, batch) = (self.threads.unwrap_or(profile.threads), batch.unwrap_or(profile.batch));
        let plain = Settings { threads, provider, batch, ..profile };
        // All of ONNX Runtime's keys have a dot, and no setting has.
        let (config, own): (Vec<_>, Vec<_>) = self.set.iter().cloned().partition(|(key, _)| key.contains('.'));
        let settings = own.iter().try_fold(plain, |settings, (key, value)| set(&settings, key, value))?;
        Ok(Settings { config, ..settings })
    }
}

/// Reads `KEY=VALUE`.
fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE, such as spinning=false")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Changes one of the `settings`.
fn set(settings: &Settings, key: &str, value: &str) -> Result<Settings, Error> {
    let unfit = |what: String| {
        let hint = format!("the settings are {}; entries of ONNX Runtime have a dot", Settings::NAMES.join(", "));
        Error::new(Kind::BadRequest, format!("--set {key}={value}: {what}"), hint)
    };
    if !Settings::NAMES.contains(&key) {
        return Err(unfit("no such setting".to_owned()));
    }
    let mut fields = serde_json::to_value(settings).map_err(|error| unfit(error.to_string()))?;
    fields[key] = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    serde_json::from_value(fields).map_err(|error| unfit(error.to_string()))
}

/// Reports on stderr that the profile asks for a prepared model, and `model` is none.
pub fn note_unprepared(settings: &Settings, model: &Path) {
    if settings.prepared == Some(Prepared::Fastest(true))
        && model.extension().is_none_or(|extension| extension != PREPARED)
    {
        let model = model.display();
        note(&format!(
            "not applied: prepared = true: pass the file that this prints: runoff-ort prepare --model {model}"
        ));
    }
}

/// Prints a line to stderr; a closed stderr is no reason to fail.
pub fn note(message: &str) {
    let _ = writeln!(io::stderr(), "note: {message}");
}

/// Loads the library, and the model.
///
/// # Errors
///
/// Those of [`LibraryArgs::load`] and [`Session::open`].
pub fn open(library: &LibraryArgs, model: Source<'_>, settings: &Settings) -> Result<(Runtime, Session), Error> {
    runoff_allocator::populate();
    let runtime = library.load()?;
    let environment = runtime.make_environment()?;
    runtime.release_code();
    let session = Session::of(&environment, model, settings)?;
    runtime.release_code();
    Ok((runtime, session))
}

#[cfg(test)]
mod tests {
    use runoff_session::{Execution, Optimization};

    use super::*;

    #[test]
    fn every_setting_can_be_set() {
        let set_all = |words: &[(&str, &str)]| {
            words.iter().try_fold(Settings::default(), |settings, (key, value)| set(&settings, key, value))
        };
        let settings = set_all(&[
            ("threads", "3"),
            ("inter_threads", "2"),
            ("optimization", "extended"),
            ("spinning", "false"),
            ("spin_duration_us", "500"),
            ("spin_backoff_max", "8"),
            ("arena", "true"),
            ("prepacking", "false"),
            ("execution", "parallel"),
            ("provider", "cuda"),
            ("precision", "fp16"),
            ("batch", "4"),
        ]);
        let number = NonZeroUsize::new;
        let expected = Settings {
            threads: number(3).expect("not zero"),
            inter_threads: number(2),
            optimization: Some(Optimization::Extended),
            spinning: Some(false),
            spin_duration_us: Some(500),
            spin_backoff_max: number(8),
            arena: Some(true),
            prepacking: Some(false),
            execution: Some(Execution::Parallel),
            provider: "cuda".into(),
            precision: "fp16".into(),
            batch: number(4).expect("not zero"),
            ..Settings::default()
        };
        assert_eq!(settings, Ok(expected));
        for (key, value) in [("threads", "0"), ("threads", "NaN"), ("spinning", "1"), ("teardown", "skip"), ("x", "1")]
        {
            let error = set_all(&[(key, value)]).expect_err("refused");
            assert!(error.message.starts_with(&format!("--set {key}={value}: ")), "{error}");
        }
    }
}
