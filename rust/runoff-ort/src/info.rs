//! `runoff-ort info`: what a model is.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::path::{Path, PathBuf};

use runoff_runner::{print, print_json};
use runoff_session::{
    Error, Kind, Metadata, Optimization, PREPARED, Runtime, Session, Settings, Source, ValueInfo, built_in_providers,
    onnx, prepare,
};
use serde::Serialize;

use crate::session;
use crate::stdin::{is_stdin, read_stdin};

const EXAMPLES: &str = "\
Examples:
  runoff-ort info model.onnx
  runoff-ort info --json model.onnx | jq '.inputs[0].shape'
  curl -s https://example.org/model.onnx | runoff-ort info -

An .ort file holds no opset and no version of the ONNX format: they are shown as \"-\", and are null in JSON.";

/// The command line of `info`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Model: an ONNX file, or an .ort file that `prepare` made; - is stdin.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    library: session::LibraryArgs,
}

/// A dimension of a shape.
#[derive(Serialize)]
#[serde(untagged)]
enum Dim {
    Fixed(usize),
    Symbol(String),
    /// Dynamic, without a name.
    Unknown,
}

/// An input or output.
#[derive(Serialize)]
struct Tensor {
    name: String,
    dtype: String,
    shape: Vec<Dim>,
}

/// All that is printed.
#[derive(Serialize)]
struct Info {
    path: PathBuf,
    sha256: String,
    bytes: u64,
    external_bytes: Option<u64>,
    ir_version: Option<i64>,
    opsets: Option<BTreeMap<String, i64>>,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    metadata: Metadata,
    runtime: String,
    providers: Vec<String>,
}

/// Prints what the model is.
///
/// # Errors
///
/// Those of [`session::open`], `model-unreadable`, and those of stdout.
pub fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let path = &arguments.model;
    // Nothing is run: the graph as it is, and the weights as they lie, are ready soonest.
    let settings =
        Settings { optimization: Some(Optimization::Disable), prepacking: Some(false), ..Settings::default() };
    let bytes = is_stdin(path).then(|| read_stdin("MODEL -")).transpose()?;
    let source = bytes.as_deref().map_or(Source::File(path), Source::Bytes);
    let (runtime, session) = session::open(&arguments.library, source, &settings)?;
    let info = describe(source, path, runtime, &session)?;
    if arguments.json {
        print_json(&info)?;
    } else {
        print(&table(&info))?;
    }
    Ok(0)
}

fn describe(source: Source<'_>, path: &Path, runtime: Runtime, session: &Session) -> Result<Info, Error> {
    let unreadable = |error: std::io::Error| {
        let message = format!("the model {} cannot be read: {error}", path.display());
        Error::new(Kind::ModelUnreadable, message, "check that it is an ONNX file, with its weights next to it")
    };
    let (sha256, bytes, head) = match source {
        Source::Bytes(bytes) => {
            let is_prepared = bytes.get(4..8) == Some(b"ORTM");
            (prepare::digest(bytes), bytes.len() as u64, (!is_prepared).then(|| onnx::parse(path, bytes)))
        }
        Source::File(path) => {
            let is_prepared = path.extension().is_some_and(|extension| extension == PREPARED);
            let bytes = path.metadata().map_err(unreadable)?.len();
            (prepare::sha256(path)?, bytes, (!is_prepared).then(|| onnx::read(path)))
        }
    };
    let head = head.transpose().map_err(unreadable)?;
    Ok(Info {
        sha256,
        bytes,
        external_bytes: head.as_ref().map(|head| total(&head.external)).transpose().map_err(unreadable)?,
        ir_version: head.as_ref().map(|head| head.ir_version),
        opsets: head.map(|head| head.opsets),
        inputs: session.inputs().iter().map(tensor).collect(),
        outputs: session.outputs().iter().map(tensor).collect(),
        metadata: session.metadata()?,
        runtime: runtime.version,
        providers: built_in_providers()?,
        path: path.to_owned(),
    })
}

/// Size of all `files`, in bytes.
fn total(files: &[PathBuf]) -> std::io::Result<u64> {
    files.iter().map(|file| Ok(file.metadata()?.len())).sum()
}

fn tensor(info: &ValueInfo) -> Tensor {
    let dim = |(dim, symbol): (&Option<usize>, &Option<String>)| match (dim, symbol) {
        (Some(dim), _) => Dim::Fixed(*dim),
        (None, Some(symbol)) => Dim::Symbol(symbol.clone()),
        (None, None) => Dim::Unknown,
    };
    let shape = info.shape.iter().zip(&info.symbols).map(dim).collect();
    Tensor { name: info.name.clone(), dtype: info.kind.clone(), shape }
}

impl Display for Dim {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(dim) => dim.fmt(formatter),
            Self::Symbol(symbol) => symbol.fmt(formatter),
            Self::Unknown => "?".fmt(formatter),
        }
    }
}

fn table(info: &Info) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let mut line = |name: &str, value: &str| _ = writeln!(text, "{name:<17}  {value}");
    let or_none = |value: Option<String>| value.filter(|value| !value.is_empty()).unwrap_or_else(|| "-".to_owned());
    line("model", &info.path.display().to_string());
    line("sha256", &info.sha256);
    line("size", &format!("{} bytes", info.bytes));
    line(
        "external data",
        &or_none(info.external_bytes.filter(|&bytes| bytes > 0).map(|bytes| format!("{bytes} bytes"))),
    );
    line("IR version", &or_none(info.ir_version.map(|version| version.to_string())));
    let opsets = info.opsets.iter().flatten().map(|(domain, version)| format!("{domain} {version}"));
    line("opset", &or_none(Some(opsets.collect::<Vec<_>>().join(", "))));
    for (kind, tensors) in [("input", &info.inputs), ("output", &info.outputs)] {
        for Tensor { name, dtype, shape } in tensors {
            let dims: Vec<_> = shape.iter().map(ToString::to_string).collect();
            line(kind, &format!("{name}: {dtype} [{}]", dims.join(", ")));
        }
    }
    let Metadata { producer, graph, graph_description, domain, description, version, custom, .. } = &info.metadata;
    let known = [
        ("producer", producer),
        ("graph", graph),
        ("graph description", graph_description),
        ("domain", domain),
        ("description", description),
    ];
    for (name, value) in known {
        line(name, &or_none(Some(value.clone())));
    }
    line("version", &version.to_string());
    for (key, value) in custom {
        line("metadata", &format!("{key}: {value}"));
    }
    line("ONNX Runtime", &info.runtime);
    line("providers", &info.providers.join(", "));
    text
}
