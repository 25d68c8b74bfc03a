//! What models are run on: random numbers, arrays from files, or images.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use fastrand::Rng;
use half::{bf16, f16};
use runoff_core::classify;
use runoff_core::preprocess::Preprocessor;
use runoff_session::{Buffer, Dtype, Error, Kind, Session, Source, ValueInfo, onnx, read};

use super::npz;
use super::tensor::{MOST_BYTES, Tensor};
use crate::preprocessing;
use crate::stdin::{is_stdin, read_stdin};

/// Flags for the inputs.
#[derive(Debug, clap::Args)]
pub struct InputArgs {
    /// `NumPy` file with an array for each input (`numpy.savez`), - for stdin; several are used in turn [default: random
    /// numbers].
    #[arg(long = "inputs", value_name = "FILE.npz", conflicts_with_all = ["images", "shapes"])]
    pub arrays: Vec<PathBuf>,
    /// Image to run the model on: JPEG, PNG, WebP, BMP or TIFF; several are used in turn.
    #[arg(long = "image", value_name = "FILE")]
    images: Vec<PathBuf>,
    /// Shape of a random input [default: the model's, with 1 for free dimensions].
    #[arg(long = "shape", value_name = "NAME=N,N,...", conflicts_with = "images")]
    shapes: Vec<Shape>,
    /// Size of a free dimension, for the random inputs and for the session, which is optimised for it.
    #[arg(long = "dim", value_name = "NAME=N")]
    pub dims: Vec<Dim>,
    /// Seed of the random inputs and of the order of turns.
    #[arg(long, value_name = "N", default_value = "0")]
    pub seed: u64,
    #[command(flatten)]
    preprocessing: preprocessing::PreprocessingArgs,
}

/// The shape that the input `name` is given.
#[derive(Debug, Clone)]
struct Shape {
    name: String,
    dims: Vec<usize>,
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, dims) = text.split_once('=').ok_or("expected NAME=DIMS, such as input=1,3,224,224")?;
        let dim = |dim: &str| dim.parse().map_err(|_| format!("{dim:?} is not a number"));
        let dims = dims.split(',').filter(|dim| !dim.is_empty()).map(dim).collect::<Result<_, String>>()?;
        Ok(Self { name: name.to_owned(), dims })
    }
}

/// The size that the free dimension `name` is given.
#[derive(Debug, Clone)]
pub struct Dim {
    /// Name in the model.
    pub name: String,
    /// Its size.
    pub size: NonZeroUsize,
}

impl FromStr for Dim {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, size) = text.split_once('=').ok_or("expected NAME=N, such as batch=4")?;
        let size = size.parse().map_err(|_| format!("{size:?} is not a number above 0"))?;
        Ok(Self { name: name.to_owned(), size })
    }
}

/// Arrays of a file, by name, and the file's name.
pub type Arrays = (String, Vec<(String, Arc<Tensor>)>);

/// Tensors for each input of a model, in the order of the model.
pub type Item = Vec<Arc<Tensor>>;

impl InputArgs {
    /// Items in one inference: what a provider that wants to know it fixes.
    pub fn batch(&self) -> NonZeroUsize {
        let dim = self.dims.iter().rfind(|dim| dim.name == "batch").map(|dim| dim.size);
        let first = || self.shapes.first().and_then(|shape| shape.dims.first()).copied();
        dim.or_else(|| first().and_then(NonZeroUsize::new)).unwrap_or(NonZeroUsize::MIN)
    }

    /// Free dimensions that the session is optimised for.
    pub fn dimensions(&self) -> Vec<(String, NonZeroUsize)> {
        self.dims.iter().map(|dim| (dim.name.clone(), dim.size)).collect()
    }

    /// Reads the files with arrays, if any.
    ///
    /// # Errors
    ///
    /// `tensor-unreadable`, naming the file.
    pub fn read_arrays(&self) -> Result<Vec<Arrays>, Error> {
        self.arrays.iter().map(|path| read_arrays(path)).collect()
    }

    /// The items that `session`, of the model in the file `model`, is run on in turn.
    ///
    /// # Errors
    ///
    /// `bad-request` for what does not fit, naming it; `model-mismatch` for a model that cannot be fed; those of images.
    pub fn feed(&self, session: &Session, model: &Path, arrays: &[Arrays]) -> Result<Vec<Item>, Error> {
        if !arrays.is_empty() {
            return arrays.iter().map(|(file, arrays)| arrange(session, file, arrays)).collect();
        }
        if self.images.is_empty() {
            return Ok(vec![self.random(session)?]);
        }
        let (preprocess, _) = self.preprocessing.resolve(model)?;
        let mut preprocessor = Preprocessor::new(&preprocess)?;
        classify::check(session, 1, preprocessor.crop())?;
        self.images.iter().map(|image| Ok(vec![Arc::new(read_image(&mut preprocessor, image)?)])).collect()
    }

    fn random(&self, session: &Session) -> Result<Item, Error> {
        let names: Vec<_> = session.inputs().iter().map(|input| input.name.as_str()).collect();
        if let Some(shape) = self.shapes.iter().find(|shape| !names.contains(&shape.name.as_str())) {
            let message = format!("--shape {}: the model has no such input (it has: {})", shape.name, names.join(", "));
            return Err(Error::new(Kind::BadRequest, message, "correct the name"));
        }
        let mut random = Rng::with_seed(self.seed);
        session.inputs().iter().map(|input| Ok(Arc::new(self.random_tensor(input, &mut random)?))).collect()
    }

    fn random_tensor(&self, input: &ValueInfo, random: &mut Rng) -> Result<Tensor, Error> {
        let Some(dtype) = input.dtype.filter(|dtype| *dtype != Dtype::Str) else {
            let message = format!("input {:?} is {}, which cannot be random numbers", input.name, input.kind);
            return Err(Error::new(Kind::ModelMismatch, message, "use a model whose inputs are tensors of numbers"));
        };
        let given = self.shapes.iter().rfind(|shape| shape.name == input.name).map(|given| given.dims.clone());
        let flag = if given.is_some() { "--shape" } else { "--dim" };
        let shape = given.unwrap_or_else(|| default_shape(input, &self.dims));
        let unfit = |what: String| {
            let message = format!("{flag} {}={shape:?}: {what}", input.name);
            Error::new(Kind::BadRequest, message, "run: runoff-ort info MODEL")
        };
        if !input.takes(&signed(&shape)) {
            return Err(unfit("the model takes another shape".to_owned()));
        }
        let mut elements = Buffer::for_shape(dtype, &shape).map_err(|error| unfit(error.message))?;
        // the system grants more than it has, and ends the process that uses it
        if elements.bytes().len() as u64 > MOST_BYTES {
            return Err(unfit(format!("more than {MOST_BYTES} bytes")));
        }
        fill(random, dtype, elements.bytes_mut());
        Ok(Tensor { dtype, shape, elements })
    }
}

/// The shape of `input`: free dimensions have the size in `dims`, or 1.
pub fn default_shape(input: &ValueInfo, dims: &[Dim]) -> Vec<usize> {
    let named = |symbol: &String| dims.iter().rfind(|dim| dim.name == *symbol).map(|dim| dim.size.get());
    let side =
        |(own, symbol): (&Option<usize>, &Option<String>)| own.or_else(|| symbol.as_ref().and_then(named)).unwrap_or(1);
    input.shape.iter().zip(&input.symbols).map(side).collect()
}

/// Checks that each `--dim` names a free dimension of some model: ONNX Runtime ignores one that does not.
///
/// # Errors
///
/// `bad-request`, naming the first.
pub fn check_dims<'s>(dims: &[Dim], models: impl Iterator<Item = (&'s Session, Source<'s>)>) -> Result<(), Error> {
    if dims.is_empty() {
        return Ok(());
    }
    let known: BTreeSet<String> = models.flat_map(|(session, source)| free_dimensions(session, source)).collect();
    dims.iter().find(|dim| !known.contains(&dim.name)).map_or(Ok(()), |dim| {
        let known = known.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let message = format!("--dim {}: no input has this free dimension (there are: {known})", dim.name);
        Err(Error::new(Kind::BadRequest, message, "correct the name"))
    })
}

/// Dimensions as ONNX Runtime counts them.
fn signed(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|&dim| i64::try_from(dim).unwrap_or(i64::MAX)).collect()
}

/// Names of the free dimensions of a model: in a session, those that it has fixed have none any more.
fn free_dimensions(session: &Session, source: Source<'_>) -> Vec<String> {
    let mut bytes = Vec::new();
    let in_file = match source {
        Source::File(path) => read::read(path, u64::MAX, &mut bytes).and_then(|()| onnx::free_dimensions(&bytes)),
        Source::Bytes(bytes) => onnx::free_dimensions(bytes),
    };
    let left = session.inputs().iter().flat_map(|input| input.symbols.iter().flatten().cloned());
    // a file in ONNX Runtime's own format is not read, and no session fixes its dimensions
    left.chain(in_file.unwrap_or_default()).collect()
}

fn read_arrays(path: &Path) -> Result<Arrays, Error> {
    if is_stdin(path) {
        let bytes = read_stdin("--inputs -")?;
        return arrays_in(&bytes, "--inputs -".to_owned());
    }
    let shown = path.display().to_string();
    let mut bytes = Vec::new();
    read::read(path, MOST_BYTES, &mut bytes).map_err(|error| {
        Error::new(Kind::TensorUnreadable, format!("{shown}: {error}"), "check the path given with --inputs")
    })?;
    arrays_in(&bytes, shown)
}

fn arrays_in(bytes: &[u8], shown: String) -> Result<Arrays, Error> {
    let arrays = npz::read(bytes, &shown)?.into_iter().map(|(name, tensor)| (name, Arc::new(tensor))).collect();
    Ok((shown, arrays))
}

/// Puts the arrays of a file into the order of the model's inputs.
fn arrange(session: &Session, file: &str, arrays: &[(String, Arc<Tensor>)]) -> Result<Item, Error> {
    let unfit = |what: String| Error::new(Kind::BadRequest, format!("{file}: {what}"), "run: runoff-ort info MODEL");
    let mut item = vec![None; session.inputs().len()];
    for (name, tensor) in arrays {
        let place = session.input(name).map_err(|error| unfit(error.message))?;
        let fits = session.check_tensor(place, tensor.dtype, &signed(&tensor.shape));
        fits.map_err(|error| unfit(error.message))?;
        // behind the inputs are initialisers, which the model has already
        let given = item.get_mut(place).ok_or_else(|| unfit(format!("{name:?} is an initialiser, not an input")))?;
        *given = Some(tensor.clone());
    }
    let missing = |input: &ValueInfo| unfit(format!("no array for the input {:?}", input.name));
    session.inputs().iter().zip(item).map(|(input, tensor)| tensor.ok_or_else(|| missing(input))).collect()
}

fn read_image(preprocessor: &mut Preprocessor, image: &Path) -> Result<Tensor, Error> {
    let shape = vec![1, 3, preprocessor.crop(), preprocessor.crop()];
    let mut elements = Buffer::for_shape(Dtype::Float32, &shape)?;
    preprocessor.load(image, elements.floats_mut())?;
    Ok(Tensor { dtype: Dtype::Float32, shape, elements })
}

/// Fills `bytes` with numbers that models take: from 0 to 1 where they are fractions, any byte, and 0 or 1 for the other
/// integers, which may be places in a table.
fn fill(random: &mut Rng, dtype: Dtype, bytes: &mut [u8]) {
    let mut element = || match dtype {
        Dtype::Float16 => f16::from_f32(random.f32()).to_bits().into(),
        Dtype::Bfloat16 => bf16::from_f32(random.f32()).to_bits().into(),
        Dtype::Float32 | Dtype::Complex64 => random.f32().to_bits().into(),
        Dtype::Float64 | Dtype::Complex128 => random.f64().to_bits(),
        Dtype::Int8 | Dtype::Uint8 => random.u8(..).into(),
        _ => random.u64(..2),
    };
    // a complex number is two
    let size = if matches!(dtype, Dtype::Complex64 | Dtype::Complex128) { dtype.size() / 2 } else { dtype.size() };
    for chunk in bytes.chunks_exact_mut(size) {
        chunk.copy_from_slice(&element().to_le_bytes()[..size]);
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        inputs: InputArgs,
    }

    #[test]
    fn the_batch_is_that_dimension_or_the_first_side_of_the_first_shape() {
        let batch = |shapes: &[&'static str], dims: &[&'static str]| {
            let flags =
                |flag, values: &[&'static str]| values.iter().flat_map(|value| [flag, *value]).collect::<Vec<_>>();
            let words = [vec!["bench"], flags("--shape", shapes), flags("--dim", dims)].concat();
            Line::try_parse_from(words).expect("flags").inputs.batch().get()
        };
        assert_eq!(batch(&["a=4,2", "b=8"], &[]), 4);
        assert_eq!(batch(&["a=4,2"], &["n=3", "batch=2"]), 2);
        assert_eq!(batch(&["a=0,2"], &[]), 1);
        assert_eq!(batch(&[], &[]), 1);
    }

    #[test]
    fn random_numbers_are_in_range_and_follow_from_the_seed() {
        let filled = |dtype: Dtype, seed| {
            let mut bytes = vec![0; 64 * dtype.size()];
            fill(&mut Rng::with_seed(seed), dtype, &mut bytes);
            bytes
        };
        let floats =
            |bytes: &[u8]| bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect::<Vec<_>>();
        let own = floats(&filled(Dtype::Float32, 0));
        assert!(own.iter().all(|value| (0.0..1.0).contains(value)) && own[0].to_bits() != own[1].to_bits());
        assert_eq!(floats(&filled(Dtype::Complex64, 0))[..64], own);
        let halves = filled(Dtype::Float16, 0);
        assert!(halves.as_chunks().0.iter().all(|&bytes| (0.0..=1.0).contains(&f16::from_le_bytes(bytes).to_f32())));
        let integers = filled(Dtype::Int64, 0);
        assert!(integers.chunks(8).all(|bytes| bytes[0] <= 1 && bytes[1..] == [0; 7]));
        assert_eq!(filled(Dtype::Uint8, 1), filled(Dtype::Uint8, 1));
        assert_ne!(filled(Dtype::Uint8, 1), filled(Dtype::Uint8, 2));
    }
}
