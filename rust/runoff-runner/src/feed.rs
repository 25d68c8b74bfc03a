//! Filling the model's input tensors with items of the request.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use runoff_core::clock::now_ns;
use runoff_core::preprocess::Preprocessor;
use runoff_core::protocol::{Item, Measure, Preprocess, Request, TensorFile, Workload};
use runoff_core::tensor_file;
use runoff_session::{Buffer, Dtype, Error, Kind, RawTensor, TensorSpec, show_shape};

use crate::outputs::Captured;
use crate::prefetch::Prefetch;

/// Source of the elements of an item.
enum Source<'a> {
    /// Image files, preprocessed in each iteration.
    Images(Box<Preprocessor>, Vec<&'a Path>),
    /// Tensor files, read once, and joined to batches: for each item, the elements of each input.
    Joined(Vec<Vec<RawTensor>>),
    /// Tensor files, read once, and used where they are: the inputs of each item, and the index of the current item.
    Single(Vec<Vec<Input>>, usize),
}

/// One of the model's inputs, with the elements of the current batch.
pub struct Input {
    spec: TensorSpec,
    dtype: Dtype,
    /// Shape of the current batch; `None` before the first.
    shape: Option<Vec<usize>>,
    /// Elements of the current batch; for strings, `texts` instead.
    elements: Buffer,
    texts: Vec<String>,
}

impl Input {
    fn new(spec: &TensorSpec, dtype: Dtype) -> Self {
        Self { spec: spec.clone(), dtype, shape: None, elements: Buffer::default(), texts: Vec::new() }
    }

    /// Name in the graph.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Element type.
    #[must_use]
    pub const fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Dimensions of the current batch.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        self.shape.as_deref().unwrap_or_default()
    }

    /// Elements of the current batch, in C order, aligned to 8 bytes; empty for strings.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.elements.bytes()
    }

    /// Elements of the current batch that are strings.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Makes room for a batch of `shape`.
    fn make_room(&mut self, shape: Vec<usize>) -> Result<(), Error> {
        if self.shape.as_ref() != Some(&shape) {
            self.spec.check(self.dtype, &shape)?;
            self.elements = Buffer::for_shape(self.dtype, &shape)?;
            self.shape = Some(shape);
        }
        Ok(())
    }

    /// Loads `rows`, the tensors of one item, or of items to be joined along the first dimension, which is 1 in each.
    fn load(&mut self, rows: &[&RawTensor]) -> Result<(), Error> {
        let mut shape = rows[0].shape.clone();
        if let (Some(first), 2..) = (shape.first_mut(), rows.len()) {
            *first = rows.len();
        }
        self.make_room(shape)?;
        if self.dtype == Dtype::Str {
            self.texts = rows.iter().filter_map(|row| row.texts()).flatten().map(str::to_owned).collect();
            return Ok(());
        }
        let mut room = self.elements.bytes_mut();
        for row in rows {
            let part;
            (part, room) = room.split_at_mut(row.bytes.len());
            part.copy_from_slice(&row.bytes);
        }
        Ok(())
    }
}

/// The model's input tensors, and the items to fill them with.
pub struct Feed<'a> {
    source: Source<'a>,
    /// Inputs, in graph order, of images and of joined items.
    inputs: Vec<Input>,
    count: usize,
    /// Time to prefetch the first batch, in nanoseconds, and its number of items; reset when the batch is used.
    ahead: Option<(u64, usize)>,
}

impl<'a> Feed<'a> {
    /// Prepares the items of `request` for the inputs `specs` of a model: reads tensor files, or creates a preprocessor for
    /// images and waits for the `prefetch`.
    ///
    /// # Errors
    ///
    /// `model-mismatch`, `bad-request` for items that cannot be joined, and those of reading files and images.
    pub fn new(request: &'a Request, specs: &[TensorSpec], prefetch: Option<Prefetch>) -> Result<Self, Error> {
        if let (Workload::Classify, Some(preprocess)) = (request.workload, &request.preprocess) {
            let mut feed = images(&request.inputs, preprocess, specs)?;
            if let Some(prefetch) = prefetch {
                feed.take(prefetch)?;
            }
            return Ok(feed);
        }
        check_items(request, specs)?;
        let items = read_items(request, specs)?;
        let new = |(spec, raw): (&TensorSpec, &RawTensor)| Input::new(spec, raw.dtype);
        let inputs = |item: &Vec<RawTensor>| specs.iter().zip(item).map(new).collect::<Vec<_>>();
        let count = request.inputs.len();
        if request.settings.batch.get() > 1 {
            let inputs = items.first().map(inputs).unwrap_or_default();
            return Ok(Self { count, source: Source::Joined(items), inputs, ahead: None });
        }
        let mut singles = Vec::with_capacity(items.len());
        for item in items {
            let mut own = inputs(&item);
            own.iter_mut().zip(&item).try_for_each(|(input, raw)| input.load(&[raw]))?;
            singles.push(own);
        }
        Ok(Self { count, source: Source::Single(singles, 0), inputs: Vec::new(), ahead: None })
    }

    /// Indices of the items in `range`, wrapping around.
    ///
    /// # Errors
    ///
    /// `bad-request` if there is not enough memory.
    pub fn items(&self, range: Range<usize>) -> Result<Vec<usize>, Error> {
        let mut items = Vec::new();
        let no_memory = |_| Error::memory(&format!("settings.batch: {} items", range.len()));
        items.try_reserve_exact(range.len()).map_err(no_memory)?;
        items.extend(range.map(|item| item % self.count));
        Ok(items)
    }

    /// Loads the items in `range` into the tensors; returns the duration in nanoseconds.
    ///
    /// # Errors
    ///
    /// Those of preprocessing images; `model-mismatch` for tensors of a shape that the model does not take.
    pub fn load(&mut self, range: Range<usize>) -> Result<u64, Error> {
        if let Some((took_ns, _)) = self.ahead.take().filter(|(_, batch)| range == (0..*batch)) {
            return Ok(took_ns);
        }
        let begun_ns = now_ns();
        let items = self.items(range)?;
        match &mut self.source {
            Source::Images(preprocessor, paths) => {
                let (len, side) = (preprocessor.tensor_len(), preprocessor.crop());
                self.inputs[0].make_room(vec![items.len(), 3, side, side])?;
                let rows = self.inputs[0].elements.floats_mut().chunks_exact_mut(len);
                for (row, item) in rows.zip(items) {
                    preprocessor.load(paths[item], row)?;
                }
            }
            Source::Single(_, current) => *current = items[0],
            Source::Joined(all) => {
                for (index, input) in self.inputs.iter_mut().enumerate() {
                    let rows: Vec<_> = items.iter().map(|&item| &all[item][index]).collect();
                    input.load(&rows)?;
                }
            }
        }
        Ok(now_ns() - begun_ns)
    }

    fn take(&mut self, prefetch: Prefetch) -> Result<(), Error> {
        let begun = prefetch.wait()?;
        let side = begun.preprocessor.crop();
        let (input, shape) = (&mut self.inputs[0], vec![begun.batch, 3, side, side]);
        input.spec.check(input.dtype, &shape)?;
        (input.shape, input.elements) = (Some(shape), begun.elements);
        if let Source::Images(preprocessor, _) = &mut self.source {
            **preprocessor = begun.preprocessor;
        }
        self.ahead = Some((begun.took_ns, begun.batch));
        Ok(())
    }

    /// The current input tensors, in the order of the specs.
    #[must_use]
    pub fn inputs(&self) -> &[Input] {
        if let Source::Single(items, current) = &self.source { &items[*current] } else { &self.inputs }
    }

    /// Moves the inputs of each item out, for a program that keeps them longer; empty for images and for joined items.
    pub fn take_items(&mut self) -> Vec<Vec<Input>> {
        if let Source::Single(items, _) = &mut self.source { std::mem::take(items) } else { Vec::new() }
    }

    /// A copy of the current input tensors of images, for files called `input.<name>`.
    #[must_use]
    pub fn capture(&self, items: &[usize]) -> Captured {
        let copy = |input: &Input| {
            let (shape, bytes) = (input.shape().to_vec(), input.bytes().to_vec());
            (input.name().to_owned(), RawTensor { dtype: input.dtype, shape, bytes })
        };
        Captured {
            prefix: Cow::Borrowed("input."),
            items: items.to_vec(),
            tensors: self.inputs.iter().map(copy).collect(),
        }
    }
}

fn images<'a>(items: &'a [Item], preprocess: &Preprocess, specs: &[TensorSpec]) -> Result<Feed<'a>, Error> {
    let [spec] = specs else {
        let message = format!("the model has {} inputs; classify needs a model with one", specs.len());
        return Err(Error::new(Kind::ModelMismatch, message, "run it as a tensor workload"));
    };
    let paths = items.iter().filter_map(|item| item.image.as_deref()).collect();
    let source = Source::Images(Box::new(Preprocessor::new(preprocess)?), paths);
    let inputs = vec![Input::new(spec, Dtype::Float32)];
    Ok(Feed { source, inputs, count: items.len(), ahead: None })
}

/// Checks that the tensors of each item are those of the inputs `specs`, and if they are joined, like the first item's.
///
/// # Errors
///
/// `model-mismatch`; `bad-request` for items that cannot be joined.
pub(crate) fn check_items(request: &Request, specs: &[TensorSpec]) -> Result<(), Error> {
    if request.workload != Workload::Tensor {
        return Ok(());
    }
    let batch = request.settings.batch.get();
    let shapes = |files: &BTreeMap<_, TensorFile>| files.values().map(|file| file.shape.clone()).collect::<Vec<_>>();
    let mut first = None;
    for (index, files) in request.inputs.iter().filter_map(|item| item.tensors.as_ref()).enumerate() {
        check_item(index, files, batch, specs)?;
        if batch > 1 && *first.get_or_insert_with(|| shapes(files)) != shapes(files) {
            let message = format!("inputs[{index}] has other shapes than inputs[0], and they are joined in a batch");
            return Err(Error::new(Kind::BadRequest, message, "set batch = 1, or use items of the same shapes"));
        }
    }
    Ok(())
}

/// Checks the tensors of the item `index`.
fn check_item(
    index: usize,
    files: &BTreeMap<String, TensorFile>,
    batch: usize,
    specs: &[TensorSpec],
) -> Result<(), Error> {
    let mismatch = |name: &str, reason: &str| {
        let message = format!("inputs[{index}].tensors.{name}: {reason}");
        Err(Error::new(Kind::ModelMismatch, message, "compare the items with the model's inputs"))
    };
    if let Some(unknown) = files.keys().find(|name| specs.iter().all(|spec| spec.name != **name)) {
        return mismatch(unknown, "the model has no such input");
    }
    for TensorSpec { name, dtype, shape } in specs {
        let Some(file) = files.get(name) else { return mismatch(name, "is missing") };
        if file.dtype != *dtype {
            return mismatch(name, &format!("is {}; the model takes {dtype}", file.dtype));
        }
        if batch > 1 && file.shape.first() != Some(&1) {
            let one = format!("one item of a batch of {batch} has 1 in its first dimension");
            return mismatch(name, &format!("has shape {:?}, and {one}", file.shape));
        }
        // the first dimension of joined items is that of the batch, and `[]` may be an unknown rank
        let fits = |(place, (own, given)): (usize, (&Option<usize>, &usize))| {
            own.is_none_or(|own| own == *given) || batch > 1 && place == 0
        };
        let is_as_long = shape.is_empty() || shape.len() == file.shape.len();
        if !is_as_long || !shape.iter().zip(&file.shape).enumerate().all(fits) {
            return mismatch(name, &format!("has shape {:?}; the model takes {}", file.shape, show_shape(shape)));
        }
    }
    Ok(())
}

/// Reads the tensors of the items that the measure needs, for the inputs `specs`.
fn read_items(request: &Request, specs: &[TensorSpec]) -> Result<Vec<Vec<RawTensor>>, Error> {
    let is_once = matches!(request.measure, Measure::Once(_) | Measure::Mappings(_));
    let needed = if is_once { request.settings.batch.get() } else { request.inputs.len() };
    let read = |item: &Item| {
        let file = |spec: &TensorSpec| item.tensors.as_ref()?.get_key_value(&spec.name);
        specs.iter().filter_map(file).map(|(name, file)| tensor_file::read(file, name)).collect()
    };
    request.inputs.iter().take(needed).map(read).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The failure of two items in a batch for an input `x`; the second one has `dtype` and `shape`.
    fn fail(dtype: &str, shape: &Value) -> Error {
        let item = |dtype: &str, shape: &Value| json!({"tensors": {"x": {"path": "/nowhere/x.bin", "dtype": dtype, "shape": shape}}});
        let request: Request = serde_json::from_value(json!({
            "case": "c", "workload": "tensor", "outputs_dir": "/out", "settings": {"batch": 2},
            "inputs": [item("float32", &json!([1, 4])), item(dtype, shape)],
            "model": {"name": "m", "path": "m.onnx", "format": "onnx", "sha256": "0", "inputs": [], "outputs": []},
        }))
        .expect("a request");
        let spec = TensorSpec { name: "x".to_owned(), dtype: "float32".to_owned(), shape: vec![Some(2), None] };
        Feed::new(&request, &[spec], None).err().expect("a failure")
    }

    #[test]
    fn joined_items_are_alike() {
        // the files do not exist, so items that fit fail when they are read
        assert_eq!(fail("float32", &json!([1, 4])).kind, Kind::TensorUnreadable);
        for dtype in ["float64", "int8"] {
            let error = fail(dtype, &json!([1, 4]));
            assert_eq!(error.kind, Kind::ModelMismatch);
            assert_eq!(error.message, format!("inputs[1].tensors.x: is {dtype}; the model takes float32"));
        }
        assert_eq!(fail("float32", &json!([1, 5])).kind, Kind::BadRequest);
        assert!(fail("float32", &json!([2, 4])).message.contains("one item of a batch of 2 has 1"));
        let message = fail("float32", &json!([1, 4, 1])).message;
        assert_eq!(message, "inputs[1].tensors.x: has shape [1, 4, 1]; the model takes [2, ?]");
    }
}
