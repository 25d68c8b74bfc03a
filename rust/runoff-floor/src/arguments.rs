//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use runoff_core::error::{Error, Kind};
use runoff_core::protocol::{Interpolation, Preprocess};

/// How the program is called.
pub const USAGE: &str = "runoff-floor MODEL IMAGE \
                         RESIZE,CROP,INTERPOLATION,MEAN_R,MEAN_G,MEAN_B,STD_R,STD_G,STD_B LABELS [cold] [turns]";

/// What the command line asks for.
#[derive(Debug)]
pub struct Arguments {
    /// An ONNX file; with `cold` an ORT file.
    pub model: PathBuf,
    /// A JPEG or PNG file.
    pub image: PathBuf,
    /// From the image to the model's input.
    pub preprocess: Preprocess,
    /// A text file with a label per line.
    pub labels: PathBuf,
    /// Do everything that makes one short process fast.
    pub cold: bool,
    /// Infer on command after the first inferences.
    pub turns: bool,
}

/// Reads the command line; `words` come after the program's name.
///
/// # Errors
///
/// `bad-request`, naming the argument at fault.
pub fn parse(words: Vec<OsString>) -> Result<Arguments, Error> {
    let count = words.len();
    let mut words = words.into_iter();
    let (Some(model), Some(image), Some(preprocess), Some(labels)) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(bad(&format!("{count} arguments are given, at least 4 are needed")));
    };
    let rest: Vec<_> = words.collect();
    let rest: Vec<_> = rest.iter().map(|word| word.to_string_lossy()).collect();
    let (cold, turns) = match rest.iter().map(AsRef::as_ref).collect::<Vec<_>>()[..] {
        [] => (false, false),
        ["cold"] => (true, false),
        ["turns"] => (false, true),
        ["cold", "turns"] => (true, true),
        _ => return Err(bad(&format!("after LABELS come \"cold\", \"turns\" or both, not {:?}", rest.join(" ")))),
    };
    let preprocess = parse_preprocess(&preprocess.to_string_lossy())?;
    Ok(Arguments { model: model.into(), image: image.into(), preprocess, labels: labels.into(), cold, turns })
}

fn parse_preprocess(text: &str) -> Result<Preprocess, Error> {
    let fields: Vec<_> = text.split(',').collect();
    let [resize, crop, interpolation, channels @ ..] = &fields[..] else {
        return Err(not_nine(text));
    };
    let [mean_r, mean_g, mean_b, std_r, std_g, std_b] = channels else { return Err(not_nine(text)) };
    let interpolation = match *interpolation {
        "bilinear" => Interpolation::Bilinear,
        "bicubic" => Interpolation::Bicubic,
        other => return Err(bad(&format!("INTERPOLATION is {other:?}, not \"bilinear\" or \"bicubic\""))),
    };
    let preprocess = Preprocess {
        resize: number("RESIZE", resize)?,
        crop: number("CROP", crop)?,
        interpolation,
        mean: [number("MEAN_R", mean_r)?, number("MEAN_G", mean_g)?, number("MEAN_B", mean_b)?],
        std: [number("STD_R", std_r)?, number("STD_G", std_g)?, number("STD_B", std_b)?],
    };
    preprocess.check().map_err(|error| bad(&error.message))?;
    Ok(preprocess)
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| bad(&format!("{name} is {text:?}, not a number that can be used")))
}

fn not_nine(text: &str) -> Error {
    bad(&format!("the preprocessing {text:?} has not 9 fields between commas"))
}

fn bad(message: &str) -> Error {
    Error::new(Kind::BadRequest, message, format!("usage: {USAGE}"))
}
