//! Settings of a session.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

/// Graph optimisation level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Optimization {
    /// No optimisation.
    Disable,
    /// Optimisations that do not depend on the provider.
    Basic,
    /// Also fusions that depend on the provider.
    Extended,
    /// Also layout changes. This level cannot be serialised.
    #[serde(skip)]
    Layout,
    /// Everything that the release of ONNX Runtime has.
    All,
}

impl Optimization {
    /// The level's name among settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Basic => "basic",
            Self::Extended => "extended",
            Self::Layout => "layout",
            Self::All => "all",
        }
    }
}

/// Whether operations run one after another or in parallel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Execution {
    /// One after another.
    Sequential,
    /// Independent operations in parallel.
    Parallel,
}

/// How a process exits when its work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Teardown {
    /// The session and the environment are freed in order.
    Full,
    /// Nothing is freed.
    Skip,
}

/// Whether a model was prepared on this machine, and in which form. Serialised as `false`, `true` or `"onnx"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Prepared {
    /// True: a file in the format that loads fastest here. False: the model as it is.
    Fastest(bool),
    /// An ONNX file that ONNX Runtime optimised.
    Optimized(OnnxWord),
}

/// The word `onnx`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnnxWord {
    /// `onnx`.
    Onnx,
}

/// Settings of a session. `None` keeps ONNX Runtime's default.
///
/// There will be more: end a literal with `..Settings::default()`, which leaves the others as they are.
///
/// ```
/// use runoff_session::{Optimization, Settings};
///
/// let settings = Settings { optimization: Some(Optimization::All), spinning: Some(false), ..Settings::default() };
/// assert_eq!(settings.threads.get(), 1);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Threads per operation (intra-op).
    pub threads: NonZeroUsize,
    /// Threads that run independent operations in parallel (inter-op).
    pub inter_threads: Option<NonZeroUsize>,
    /// Graph optimisation level.
    pub optimization: Option<Optimization>,
    /// Whether idle worker threads spin, which lowers latency but burns CPU.
    pub spinning: Option<bool>,
    /// Microseconds that an idle worker thread spins before it sleeps, at most 1,000,000; 0: it does not spin.
    pub spin_duration_us: Option<usize>,
    /// Most pauses between two looks for work while spinning, at most 64: 1, 2, 4 and so on; 1: no backoff.
    pub spin_backoff_max: Option<NonZeroUsize>,
    /// Whether the CPU memory arena is used.
    pub arena: Option<bool>,
    /// Whether weights are repacked for the CPU when the model is loaded.
    pub prepacking: Option<bool>,
    /// Whether operations run one after another or in parallel.
    pub execution: Option<Execution>,
    /// Execution provider: one of [`providers`](crate::providers).
    pub provider: String,
    /// Numeric precision of the model's file: one of [`PRECISIONS`](crate::PRECISIONS).
    pub precision: String,
    /// Items per inference. Providers other than the CPU's fix the free dimension `batch` of a model at this.
    pub batch: NonZeroUsize,
    /// Name of the settings profile of these settings.
    pub profile: String,
    /// How the process exits. Sessions ignore this and the next two: they are a program's.
    pub teardown: Option<Teardown>,
    /// Whether the model was prepared on this machine.
    pub prepared: Option<Prepared>,
    /// Whether the first images are preprocessed while the runtime starts and the model loads.
    pub overlap: Option<bool>,
    /// Whether worker threads stop spinning when the last run in progress ends. Not serialised, nor are the next two.
    #[serde(skip)]
    pub force_spinning_stop: bool,
    /// ONNX Runtime's own configuration entries, by name; they win over the settings above.
    #[serde(skip)]
    pub config: Vec<(String, String)>,
    /// What free dimensions of the model are fixed at, by name.
    #[serde(skip)]
    pub dimensions: Vec<(String, NonZeroUsize)>,
    /// Whether no provider fixes the free dimension `batch`. Not serialised.
    #[serde(skip)]
    pub keep_batch_free: bool,
}

impl Settings {
    /// Names of the fields that decide how a session runs: those up to [`Self::batch`].
    pub const NAMES: [&str; 12] = [
        "threads",
        "inter_threads",
        "optimization",
        "spinning",
        "spin_duration_us",
        "spin_backoff_max",
        "arena",
        "prepacking",
        "execution",
        "provider",
        "precision",
        "batch",
    ];
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            threads: NonZeroUsize::MIN,
            inter_threads: None,
            optimization: None,
            spinning: None,
            spin_duration_us: None,
            spin_backoff_max: None,
            arena: None,
            prepacking: None,
            execution: None,
            provider: "cpu".into(),
            precision: "fp32".into(),
            batch: NonZeroUsize::MIN,
            profile: "default".into(),
            teardown: None,
            prepared: None,
            overlap: None,
            force_spinning_stop: false,
            config: Vec::new(),
            dimensions: Vec::new(),
            keep_batch_free: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_first_fields() {
        let text = serde_json::to_string(&Settings::default()).expect("JSON");
        let places: Vec<_> = Settings::NAMES.iter().map(|name| text.find(&format!("\"{name}\":"))).collect();
        assert!(places.is_sorted() && places.iter().all(Option::is_some), "{text}");
        assert!(text.find("\"profile\"") > places[11]);
        let levels = [Optimization::Disable, Optimization::Basic, Optimization::Extended, Optimization::All];
        for level in levels {
            assert_eq!(serde_json::to_value(level).expect("JSON"), level.as_str());
        }
    }
}
