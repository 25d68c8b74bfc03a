//! Models prepared once on the machine that runs them: optimised, and saved in ONNX Runtime's own format.
//!
//! Such a file may be specific to the CPU and the release of ONNX Runtime, so the key of the file contains both.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::environment::Environment;
use crate::error::{Error, Kind};
use crate::onnx;
use crate::runtime::Runtime;
use crate::session::{self, Builder, PREPARED};
use crate::settings::{Optimization, Settings};

/// Environment variable that names the folder of prepared models.
pub const FOLDER_VARIABLE: &str = "RUNOFF_CACHE";

/// Prefix of the folders in which models are being prepared.
const UNFINISHED: &str = ".unfinished-";
/// Age after which such a folder is considered abandoned: its process ended early.
const ABANDONED: Duration = Duration::from_hours(24);

/// Everything that a prepared model depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Key {
    /// SHA-256 of the model's file.
    pub model_sha256: String,
    /// SHA-256 of each weights file next to it, in the order of their names.
    pub weights_sha256: Vec<String>,
    /// Version of ONNX Runtime.
    pub runtime: String,
    /// ONNX Runtime's description of its build.
    pub build: String,
    /// The CPU's model and features.
    pub cpu: String,
    /// Graph optimisation level.
    pub optimization: Optimization,
    /// Execution provider.
    pub provider: String,
    /// Numeric precision of the computation.
    pub precision: String,
}

impl Key {
    /// First 16 hexadecimal digits of the key's SHA-256.
    #[must_use]
    pub fn digest(&self) -> String {
        let text = serde_json::to_vec(self).unwrap_or_default();
        digest(&text)[..16].to_owned()
    }
}

/// Format of a prepared model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// ONNX Runtime's own, which is mapped and used in place.
    #[default]
    Ort,
    /// ONNX: the optimised graph, which is parsed like any ONNX file.
    Onnx,
}

impl Format {
    /// The suffix of its files.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Ort => PREPARED,
            Self::Onnx => "onnx",
        }
    }
}

/// A prepared model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Prepared {
    /// Path of the file.
    pub path: PathBuf,
    /// Whether this call created it.
    pub made: bool,
    /// Everything that the file depends on.
    pub key: Key,
}

/// Finds the prepared form of the model `model` in `folder`, a file in `format`, or creates it.
///
/// Any number of threads, processes and containers may prepare and use the same model concurrently: each writes a
/// separate file and renames it when it is complete, and a file is never written to after that. The last one stays in
/// the folder; users of an earlier one keep using it.
///
/// # Errors
///
/// `model-missing`, `model-unreadable`, `no-space`, or an error of [`Builder::new`].
pub fn prepare(
    runtime: &Runtime,
    environment: impl FnOnce() -> Result<Environment, Error>,
    model: &Path,
    folder: &Path,
    format: Format,
) -> Result<Prepared, Error> {
    let settings = Settings { optimization: Some(Optimization::All), ..Settings::default() };
    // First, because it fails if there is not enough memory for the file, and for weights in other folders.
    let weights_sha256 = weights(model)?;
    let key = Key {
        model_sha256: sha256(model)?,
        weights_sha256,
        runtime: runtime.version.clone(),
        build: runtime.build.clone(),
        cpu: cpu(),
        optimization: Optimization::All,
        provider: settings.provider.clone(),
        precision: settings.precision.clone(),
    };
    let stem = model.file_stem().unwrap_or_default().to_string_lossy();
    let path = folder.join(format!("{stem}-{}.{}", key.digest(), format.suffix()));
    if path.is_file() {
        return Ok(Prepared { path, made: false, key });
    }
    let unfinished = make_unfinished(folder).map_err(|error| Error::write(folder, &error))?;
    let file = unfinished.path().join(format!("model.{}", format.suffix()));
    save(&environment()?, model, &settings, &file)?;
    publish(&file, &path).map_err(|error| Error::write(&path, &error))?;
    Ok(Prepared { path, made: true, key })
}

/// Creates a private folder below `folder`, and removes abandoned ones.
///
/// ONNX Runtime opens its output file by name; a private folder keeps others from using that name.
fn make_unfinished(folder: &Path) -> io::Result<TempDir> {
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(folder)?.filter_map(Result::ok) {
        let is_unfinished = entry.file_name().to_string_lossy().starts_with(UNFINISHED);
        let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        if is_unfinished && age().is_some_and(|age| age > ABANDONED) {
            // Another process may be removing it.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(folder)
}

/// Renames a finished file after flushing it to disk: a name that survives a crash must refer to a complete file.
fn publish(file: &Path, path: &Path) -> io::Result<()> {
    File::open(file)?.sync_all()?;
    fs::rename(file, path)
}

/// Creates a session that writes its optimised model to the file `target`.
fn save(environment: &Environment, model: &Path, settings: &Settings, target: &Path) -> Result<(), Error> {
    Builder::new(environment, settings)?.save(model, target).map_err(|error| {
        let message = format!("the model {} cannot be prepared: {error}", model.display());
        Error::new(Kind::ModelUnreadable, message, "use the model as it is, without preparing it")
    })
}

/// The folder for prepared models: `RUNOFF_CACHE`, else `runoff` in the user's cache.
///
/// # Errors
///
/// `bad-request` if there is neither.
pub fn default_folder() -> Result<PathBuf, Error> {
    let known = |name: &str| std::env::var_os(name).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from);
    known(FOLDER_VARIABLE)
        .or_else(|| known("XDG_CACHE_HOME").map(|cache| cache.join("runoff")))
        .or_else(|| known("HOME").map(|home| home.join(".cache/runoff")))
        .ok_or_else(|| {
            let message = format!("no folder for prepared models: neither {FOLDER_VARIABLE} nor HOME is set");
            Error::new(Kind::BadRequest, message, "name one")
        })
}

/// SHA-256 of each external weights file of the model.
fn weights(model: &Path) -> Result<Vec<String>, Error> {
    session::check_file(model)?;
    let head = onnx::read(model).map_err(|error| session::unreadable(model, &error.to_string()))?;
    head.external.iter().map(|file| sha256(file)).collect()
}

/// SHA-256 of the model in the file `path`, in hexadecimal digits.
///
/// # Errors
///
/// `model-missing` or `model-unreadable`.
pub fn sha256(path: &Path) -> Result<String, Error> {
    session::check_file(path)?;
    let digest = File::open(path).and_then(|file| digest_of(&file));
    digest.map_err(|error| session::unreadable(path, &error.to_string()))
}

/// SHA-256 of `bytes`, in hexadecimal digits.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn digest_of(mut file: &File) -> io::Result<String> {
    let (mut hasher, mut part) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut part)? {
            0 => return Ok(hex(&hasher.finalize())),
            count => hasher.update(&part[..count]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |text, byte| text + &format!("{byte:02x}"))
}

/// The CPU's model, and a digest of its features, as Linux reports them; the architecture on other systems.
fn cpu() -> String {
    const FEATURES: [&str; 5] = ["flags", "Features", "CPU implementer", "CPU part", "CPU variant"];
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split(':').nth(1)).map(str::trim);
    let mut lines: Vec<&str> = text.lines().filter(|line| FEATURES.iter().any(|name| line.starts_with(name))).collect();
    lines.sort_unstable();
    lines.dedup();
    let features = digest(lines.join("\n").as_bytes());
    format!("{}, features {}", model.unwrap_or(std::env::consts::ARCH), &features[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key {
            model_sha256: "00".into(),
            weights_sha256: vec![],
            runtime: "1.32.0".into(),
            build: "release".into(),
            cpu: cpu(),
            optimization: Optimization::All,
            provider: "cpu".into(),
            precision: "fp32".into(),
        }
    }

    #[test]
    fn whatever_changes_makes_another_key() {
        let changed = [
            Key { model_sha256: "01".into(), ..key() },
            Key { weights_sha256: vec!["00".into()], ..key() },
            Key { runtime: "1.32.1".into(), ..key() },
            Key { build: "debug".into(), ..key() },
            Key { cpu: "another".into(), ..key() },
            Key { optimization: Optimization::Basic, ..key() },
            Key { provider: "cuda".into(), ..key() },
            Key { precision: "fp16".into(), ..key() },
        ];
        assert_eq!(key().digest(), key().digest());
        assert_eq!(key().digest().len(), 16);
        for other in changed {
            assert_ne!(other.digest(), key().digest(), "{other:?}");
        }
    }

    #[test]
    fn this_machine_has_a_cpu() {
        assert_ne!(cpu(), "");
    }
}
