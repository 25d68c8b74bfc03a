//! Copies of a model's outputs, which outlive the next inference.

use std::borrow::Cow;
use std::path::Path;

use runoff_core::protocol::{Guess, Request, WrittenTensor};
use runoff_core::{tensor_file, topk};
use runoff_session::{Error, Kind, RawTensor};

/// Tensors of one iteration, by name.
#[derive(Debug, Clone)]
pub struct Captured {
    /// Prefix of the file names.
    pub prefix: Cow<'static, str>,
    /// The item of each row.
    pub items: Vec<usize>,
    /// Names and tensors, in graph order.
    pub tensors: Vec<(String, RawTensor)>,
}

impl Captured {
    /// The outputs of an iteration over `items`.
    #[must_use]
    pub const fn outputs(items: Vec<usize>, tensors: Vec<(String, RawTensor)>) -> Self {
        Self { prefix: Cow::Borrowed(""), items, tensors }
    }

    /// Writes all tensors into `folder`.
    ///
    /// # Errors
    ///
    /// If a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<Vec<WrittenTensor>, Error> {
        let first = self.items.first().copied().unwrap_or_default();
        let mut taken = Vec::new();
        let write = |(name, raw): &(String, RawTensor)| {
            let path = tensor_file::write(folder, &format!("{}{name}", self.prefix), first, raw, &taken)?;
            taken.push(path.clone());
            Ok(WrittenTensor {
                items: self.items.clone(),
                name: name.clone(),
                dtype: raw.dtype.name().to_owned(),
                shape: raw.shape.clone(),
                path,
            })
        };
        self.tensors.iter().map(write).collect()
    }

    /// The best classes of each item, from the logits in the request's first output.
    ///
    /// # Errors
    ///
    /// `model-mismatch` if the output has no float32 row for each item; those of reading labels.
    pub fn rank(&self, request: &Request) -> Result<Vec<Vec<Guess>>, Error> {
        let labels = request.labels.as_deref().map(topk::read_labels).transpose()?.unwrap_or_default();
        let name = request.model.outputs.first().map(|output| output.name.as_str());
        self.rows(name)?.iter().map(|row| topk::top(row, request.top_k.get(), &labels)).collect()
    }

    /// The rows of the output `name`, or of the first output: float32, one row for each item.
    fn rows(&self, name: Option<&str>) -> Result<Vec<Vec<f32>>, Error> {
        let named = self.tensors.iter().find(|(own, _)| Some(own.as_str()) == name);
        let (name, raw) = named.or(self.tensors.first()).ok_or_else(|| unrankable("the model has no output"))?;
        let logits = raw
            .to_f32()
            .ok_or_else(|| unrankable(&format!("output {name:?} is {}; classify needs float32", raw.dtype.name())))?;
        if raw.shape.first() != Some(&self.items.len()) || logits.is_empty() {
            let message =
                format!("output {name:?} of shape {:?} has no row for each of {}", raw.shape, self.items.len());
            return Err(unrankable(&message));
        }
        Ok(logits.chunks(logits.len() / self.items.len()).map(<[f32]>::to_vec).collect())
    }
}

fn unrankable(message: &str) -> Error {
    Error::new(Kind::ModelMismatch, message, "name the output with the logits first in the request's model.outputs")
}
