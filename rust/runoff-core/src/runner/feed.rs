//! Fills the model's input tensors with items of the request.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use ort::value::DynValue;

use super::outputs::Captured;
use crate::clock::now_ns;
use crate::error::{Error, Kind};
use crate::preprocess::Preprocessor;
use crate::protocol::{Item, Preprocess, Request, TensorFile};
use crate::session::Session;
use crate::tensor::{self, Dtype, RawTensor};

/// Where the elements of an item come from.
enum Source<'a> {
    /// Image files, preprocessed anew each time.
    Images(Box<Preprocessor>, Vec<&'a Path>),
    /// Tensor files, read once: the elements of each input, for each item.
    Tensors(Vec<Vec<RawTensor>>),
}

/// One of the model's inputs.
struct Input {
    name: String,
    dtype: Dtype,
    /// Of one item.
    shape: Vec<usize>,
}

/// The model's input tensors, and the items that go into them.
pub struct Feed<'a> {
    source: Source<'a>,
    /// In the order of the graph, like all that follows.
    inputs: Vec<Input>,
    tensors: Vec<DynValue>,
    /// Items that `tensors` have room for.
    batch: usize,
    count: usize,
}

impl<'a> Feed<'a> {
    /// Prepares the items of `request`: reads tensor files, or gets ready to read images.
    pub fn new(request: &'a Request, session: &Session) -> Result<Self, Error> {
        let (source, inputs) = match &request.preprocess {
            Some(preprocess) if request.inputs.iter().all(|item| item.image.is_some()) => {
                images(&request.inputs, preprocess, session)?
            }
            _ => tensors(&request.inputs, session)?,
        };
        Ok(Self { source, inputs, tensors: Vec::new(), batch: 0, count: request.inputs.len() })
    }

    /// Indices of the items in `range`, which goes round them.
    pub fn items(&self, range: Range<usize>) -> Vec<usize> {
        range.map(|item| item % self.count).collect()
    }

    /// Puts the items in `range` into the tensors; returns how long that took, in nanoseconds.
    pub fn load(&mut self, session: &Session, range: Range<usize>) -> Result<u64, Error> {
        let begun_ns = now_ns();
        if range.len() != self.batch {
            self.make_room(session, range.len())?;
        }
        for (row, item) in range.enumerate() {
            self.load_item(row, item % self.count)?;
        }
        Ok(now_ns() - begun_ns)
    }

    fn load_item(&mut self, row: usize, item: usize) -> Result<(), Error> {
        match &mut self.source {
            Source::Images(preprocessor, paths) => {
                let (_, elements) = self.tensors[0]
                    .try_extract_tensor_mut::<f32>()
                    .map_err(|error| Error::runtime("filling an input tensor", &error))?;
                let len = preprocessor.tensor_len();
                preprocessor.load(paths[item], &mut elements[row * len..(row + 1) * len])
            }
            Source::Tensors(items) => {
                for (raw, target) in items[item].iter().zip(&mut self.tensors) {
                    let offset = row * raw.bytes.len() / raw.dtype.size();
                    tensor::fill(target, raw.dtype, offset, &raw.bytes)?;
                }
                Ok(())
            }
        }
    }

    fn make_room(&mut self, session: &Session, batch: usize) -> Result<(), Error> {
        self.tensors.clear();
        for input in &self.inputs {
            let mut shape = input.shape.clone();
            if let Some(first) = shape.first_mut() {
                *first *= batch;
            }
            session.check_tensor(&input.name, input.dtype, &shape)?;
            self.tensors.push(tensor::zeros(input.dtype, &shape)?);
        }
        self.batch = batch;
        Ok(())
    }

    /// The input tensors as they stand.
    pub fn tensors(&self) -> &[DynValue] {
        &self.tensors
    }

    /// A copy of the input tensors as they stand, to be written as files `input.<name>`.
    pub fn capture(&self, items: &[usize]) -> Result<Captured, Error> {
        let copy =
            |(input, tensor): (&Input, &DynValue)| Ok((input.name.clone(), RawTensor::copy_of(tensor, &input.name)?));
        let tensors = self.inputs.iter().zip(&self.tensors).map(copy).collect::<Result<_, Error>>()?;
        Ok(Captured { prefix: "input.", items: items.to_vec(), tensors })
    }
}

fn images<'a>(
    items: &'a [Item],
    preprocess: &Preprocess,
    session: &Session,
) -> Result<(Source<'a>, Vec<Input>), Error> {
    let [input] = session.inputs() else {
        let message = format!("the model has {} inputs; classify needs a model with one", session.inputs().len());
        return Err(Error::new(Kind::ModelMismatch, message, "run it as a tensor workload"));
    };
    let crop = usize::try_from(preprocess.crop.get()).unwrap_or(usize::MAX);
    let input = Input { name: input.name.clone(), dtype: Dtype::Float32, shape: vec![1, 3, crop, crop] };
    let paths = items.iter().filter_map(|item| item.image.as_deref()).collect();
    Ok((Source::Images(Box::new(Preprocessor::new(preprocess)?), paths), vec![input]))
}

fn tensors<'a>(items: &[Item], session: &Session) -> Result<(Source<'a>, Vec<Input>), Error> {
    let mut rows: Vec<Vec<RawTensor>> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let files = item.tensors.as_ref();
        let row = files.map_or_else(|| Ok(Vec::new()), |files| read_item(index, files, session))?;
        let alike = rows.first().is_none_or(|first| first.iter().zip(&row).all(|(a, b)| a.shape == b.shape));
        if !alike {
            let message = format!("inputs[{index}] has other shapes than inputs[0]: items of a case are alike");
            return Err(Error::bad_request(message));
        }
        rows.push(row);
    }
    let shapes = rows.first().into_iter().flatten();
    let inputs = session.inputs().iter().zip(shapes).map(|(input, raw)| Input {
        name: input.name.clone(),
        dtype: raw.dtype,
        shape: raw.shape.clone(),
    });
    let inputs = inputs.collect();
    Ok((Source::Tensors(rows), inputs))
}

/// Reads the tensors of the item `index`, in the order of the graph.
fn read_item(index: usize, files: &BTreeMap<String, TensorFile>, session: &Session) -> Result<Vec<RawTensor>, Error> {
    if let Some(unknown) = files.keys().find(|name| session.inputs().iter().all(|input| input.name != **name)) {
        let message = format!("inputs[{index}].tensors.{unknown}: the model has no such input");
        return Err(Error::new(Kind::ModelMismatch, message, "name the tensors as the model names its inputs"));
    }
    let read = |name: &String| {
        let file =
            files.get(name).ok_or_else(|| Error::bad_request(format!("inputs[{index}].tensors.{name} is missing")))?;
        if file.shape.first() != Some(&1) {
            let message = format!("inputs[{index}].tensors.{name}.shape must begin with 1, a batch of one item");
            return Err(Error::bad_request(message));
        }
        RawTensor::read(file)
    };
    session.inputs().iter().map(|input| read(&input.name)).collect()
}
