//! `runoff-ort prepare`: a model to the form of it that loads fastest on this machine.

use std::path::PathBuf;

use runoff_runner::{print, print_json};
use runoff_session::prepare::{self, Format};

use crate::session::LibraryArgs;

const EXAMPLES: &str = "\
Examples:
  runoff-ort prepare --model model.onnx
  runoff-ort prepare --model model.onnx --folder prepared --json | jq -r .key.runtime
  runoff-ort prepare --model model.onnx --format onnx

The prepared model is optimised for this CPU by this release of ONNX Runtime. It is found again as long as the model,
the release and the CPU are the same, and rebuilt when one of them changes.";

/// The command line of `prepare`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Model: an ONNX file.
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Folder for the prepared model [default: the one that `RUNOFF_CACHE` names, else runoff in the user's cache].
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Format of the prepared model: ort loads fastest; onnx is the optimised graph as an ONNX file.
    #[arg(long, value_name = "NAME", default_value = "ort", value_parser = ["ort", "onnx"])]
    format: String,
    /// Print JSON: path, whether it was made just now, and all that it depends on.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    library: LibraryArgs,
}

/// Prepares the model, unless that was done before, and prints where it is.
///
/// # Errors
///
/// Those of [`prepare::prepare`], and those of stdout.
pub fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let folder = arguments.folder.clone().map_or_else(prepare::default_folder, Ok)?;
    let runtime = arguments.library.load()?;
    let format = if arguments.format == Format::Onnx.suffix() { Format::Onnx } else { Format::Ort };
    let prepared = prepare::prepare(&runtime, || runtime.make_environment(), &arguments.model, &folder, format)?;
    if arguments.json {
        print_json(&prepared)?;
    } else {
        print(&format!("{}\n", prepared.path.display()))?;
    }
    Ok(0)
}
