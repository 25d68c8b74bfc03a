//! Draws a flame graph, or a differential one, from folded stacks: what `runoff profile` shows.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use inferno::flamegraph::color::PaletteMap;
use inferno::flamegraph::{Options, TextTruncateDirection, from_files};

/// Draws a flame graph from folded stacks.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Folded stacks: frames separated by semicolons, then one count, or two counts to compare.
    folded: PathBuf,
    /// The SVG file to write.
    svg: PathBuf,
    /// File with a line `frame->rgb(0,0,0)` for each frame.
    #[arg(long)]
    palette: Option<PathBuf>,
    #[arg(long, default_value = "")]
    title: String,
    #[arg(long)]
    subtitle: Option<String>,
    /// Unit of the counts, after they are multiplied by the factor.
    #[arg(long, default_value = "samples")]
    unit: String,
    #[arg(long, default_value_t = 1.0)]
    factor: f64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut palette = match &arguments.palette {
        Some(path) => {
            let file = File::open(path).with_context(|| path.display().to_string())?;
            Some(PaletteMap::from_reader(&mut BufReader::new(file))?)
        }
        None => None,
    };
    let mut options = Options::default();
    options.palette_map = palette.as_mut();
    options.title = arguments.title;
    options.subtitle = arguments.subtitle;
    options.count_name = arguments.unit;
    options.factor = arguments.factor;
    options.text_truncate_direction = TextTruncateDirection::Right;
    options.deterministic = true;
    let svg = File::create(&arguments.svg).with_context(|| arguments.svg.display().to_string())?;
    from_files(&mut options, &[arguments.folded], svg)?;
    Ok(())
}
