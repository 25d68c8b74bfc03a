//! Filling the model's input tensors with items of the request.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use runoff_core::clock::now_ns;
use runoff_core::preprocess::Preprocessor;
use runoff_core::protocol::{Item, Preprocess, Request, TensorFile, bad_request};
use runoff_core::tensor_file;
use runoff_session::{Buffer, Dtype, Error, Kind, RawTensor, Session, Value};

use super::outputs::Captured;
use super::prefetch::Prefetch;

/// Source of the elements of an item.
enum Source<'a> {
    /// Image files, preprocessed in each iteration.
    Images(Box<Preprocessor>, Vec<&'a Path>),
    /// Tensor files, read once: for each item, the elements of each input.
    Tensors(Vec<Vec<RawTensor>>),
}

/// One of the model's inputs.
struct Input {
    name: String,
    dtype: Dtype,
    /// Shape of one item.
    shape: Vec<usize>,
    /// Elements of `Feed::batch` items.
    elements: Buffer,
}

impl Input {
    /// The shape of `batch` items. The first dimension of each item is 1 (`images`, `read_item`).
    fn shape_of(&self, batch: usize) -> Vec<usize> {
        let mut shape = self.shape.clone();
        if let Some(first) = shape.first_mut() {
            *first = batch;
        }
        shape
    }

    fn value(&self, batch: usize) -> Result<Value<'_>, Error> {
        Value::over(self.dtype, &self.shape_of(batch), self.elements.bytes())
    }
}

/// The model's input tensors, and the items to fill them with.
pub struct Feed<'a> {
    source: Source<'a>,
    /// Inputs, in graph order.
    inputs: Vec<Input>,
    /// Number of items that the inputs have room for.
    batch: usize,
    count: usize,
    /// Time to prefetch the first batch, in nanoseconds; reset when the batch is used.
    ahead_ns: Option<u64>,
}

impl<'a> Feed<'a> {
    /// Prepares the items of `request`: reads tensor files, or creates a preprocessor for images and waits for the
    /// `prefetch`.
    pub fn new(request: &'a Request, session: &Session, prefetch: Option<Prefetch>) -> Result<Self, Error> {
        let count = request.inputs.len();
        match &request.preprocess {
            Some(preprocess) if request.inputs.iter().all(|item| item.image.is_some()) => {
                let mut feed = images(&request.inputs, preprocess, session)?;
                if let Some(prefetch) = prefetch {
                    feed.take(prefetch, session)?;
                }
                Ok(feed)
            }
            _ => {
                let (source, inputs) = tensors(&request.inputs, session)?;
                Ok(Self { source, inputs, batch: 0, count, ahead_ns: None })
            }
        }
    }

    /// Indices of the items in `range`, wrapping around.
    pub fn items(&self, range: Range<usize>) -> Result<Vec<usize>, Error> {
        let mut items = Vec::new();
        let no_memory = |_| Error::memory(&format!("settings.batch: {} items", range.len()));
        items.try_reserve_exact(range.len()).map_err(no_memory)?;
        items.extend(range.map(|item| item % self.count));
        Ok(items)
    }

    /// Loads the items in `range` into the tensors; returns the duration in nanoseconds.
    pub fn load(&mut self, session: &Session, range: Range<usize>) -> Result<u64, Error> {
        if let Some(ahead_ns) = self.ahead_ns.take().filter(|_| range == (0..self.batch)) {
            return Ok(ahead_ns);
        }
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
                let len = preprocessor.tensor_len();
                let elements = self.inputs[0].elements.floats_mut();
                preprocessor.load(paths[item], &mut elements[row * len..(row + 1) * len])
            }
            Source::Tensors(items) => {
                for (raw, input) in items[item].iter().zip(&mut self.inputs) {
                    let len = raw.bytes.len();
                    input.elements.bytes_mut()[row * len..(row + 1) * len].copy_from_slice(&raw.bytes);
                }
                Ok(())
            }
        }
    }

    fn make_room(&mut self, session: &Session, batch: usize) -> Result<(), Error> {
        self.check_room(session, batch)?;
        for input in &mut self.inputs {
            input.elements = Buffer::for_shape(input.dtype, &input.shape_of(batch))?;
        }
        self.batch = batch;
        Ok(())
    }

    fn check_room(&self, session: &Session, batch: usize) -> Result<(), Error> {
        for (place, input) in self.inputs.iter().enumerate() {
            let dims = input.shape_of(batch).into_iter().map(|dim| i64::try_from(dim).unwrap_or(i64::MAX));
            session.check_tensor(place, input.dtype, &dims.collect::<Vec<_>>())?;
        }
        Ok(())
    }

    fn take(&mut self, prefetch: Prefetch, session: &Session) -> Result<(), Error> {
        let begun = prefetch.wait()?;
        self.check_room(session, begun.batch)?;
        if let Source::Images(preprocessor, _) = &mut self.source {
            **preprocessor = begun.preprocessor;
        }
        self.inputs[0].elements = begun.elements;
        self.batch = begun.batch;
        self.ahead_ns = Some(begun.took_ns);
        Ok(())
    }

    /// The current input tensors, in graph order.
    pub fn values(&self) -> Result<Vec<Value<'_>>, Error> {
        self.inputs.iter().map(|input| input.value(self.batch)).collect()
    }

    /// A copy of the current input tensors, for files called `input.<name>`.
    pub fn capture(&self, items: &[usize]) -> Captured {
        let copy = |input: &Input| {
            let (shape, bytes) = (input.shape_of(self.batch), input.elements.bytes().to_vec());
            (input.name.clone(), RawTensor { dtype: input.dtype, shape, bytes })
        };
        Captured { prefix: "input.", items: items.to_vec(), tensors: self.inputs.iter().map(copy).collect() }
    }
}

fn images<'a>(items: &'a [Item], preprocess: &Preprocess, session: &Session) -> Result<Feed<'a>, Error> {
    let [input] = session.inputs() else {
        let message = format!("the model has {} inputs; classify needs a model with one", session.inputs().len());
        return Err(Error::new(Kind::ModelMismatch, message, "run it as a tensor workload"));
    };
    let preprocessor = Preprocessor::new(preprocess)?;
    let shape = vec![1, 3, preprocessor.crop(), preprocessor.crop()];
    let input = Input { name: input.name.clone(), dtype: Dtype::Float32, shape, elements: Buffer::default() };
    let paths = items.iter().filter_map(|item| item.image.as_deref()).collect();
    let source = Source::Images(Box::new(preprocessor), paths);
    Ok(Feed { source, inputs: vec![input], batch: 0, count: items.len(), ahead_ns: None })
}

fn tensors<'a>(items: &[Item], session: &Session) -> Result<(Source<'a>, Vec<Input>), Error> {
    let mut rows: Vec<Vec<RawTensor>> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let files = item.tensors.as_ref();
        let row = files.map_or_else(|| Ok(Vec::new()), |files| read_item(index, files, session))?;
        let alike = rows.first().is_none_or(|first| first.iter().zip(&row).all(|(a, b)| a.shape == b.shape));
        if !alike {
            let message = format!(
                "inputs[{index}] has other shapes than inputs[0]: all items of a case must have the same shapes"
            );
            return Err(bad_request(message));
        }
        rows.push(row);
    }
    let shapes = rows.first().into_iter().flatten();
    let inputs = session.inputs().iter().zip(shapes).map(|(input, raw)| Input {
        name: input.name.clone(),
        dtype: raw.dtype,
        shape: raw.shape.clone(),
        elements: Buffer::default(),
    });
    let inputs = inputs.collect();
    Ok((Source::Tensors(rows), inputs))
}

/// Reads the tensors of the item `index`, in graph order.
fn read_item(index: usize, files: &BTreeMap<String, TensorFile>, session: &Session) -> Result<Vec<RawTensor>, Error> {
    if let Some(unknown) = files.keys().find(|name| session.inputs().iter().all(|input| input.name != **name)) {
        let message = format!("inputs[{index}].tensors.{unknown}: the model has no such input");
        return Err(Error::new(Kind::ModelMismatch, message, "name the tensors as the model names its inputs"));
    }
    let read = |name: &String| {
        let file = files.get(name).ok_or_else(|| bad_request(format!("inputs[{index}].tensors.{name} is missing")))?;
        if file.shape.first() != Some(&1) {
            let message = format!("inputs[{index}].tensors.{name}.shape must begin with 1, a batch of one item");
            return Err(bad_request(message));
        }
        tensor_file::read(file)
    };
    session.inputs().iter().map(|input| read(&input.name)).collect()
}
