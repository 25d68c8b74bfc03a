//! The workload `segment`: an encoder and a decoder, from pictures to masks.

use std::ops::Range;

use runoff_core::clock::Phases;
use runoff_core::protocol::{Effective, ModelFile, Prompt, Request, RunResult, Segment, Segmentation, bad_request};
use runoff_core::segment::sieve::Found;
use runoff_core::segmenter::Segmenter;
use runoff_core::tensor_file;
use runoff_runner::{Captured, IterationTimes, Work, check_format};
use runoff_session::{Dtype, Environment, Error, Kind, RawTensor, Runtime, Session, Settings};

use super::capabilities::FORMATS;
use super::{effective, session_settings};

/// Names of the outputs that are written.
const EMBEDDINGS: &str = "image_embeddings";
const IOUS: &str = "iou_predictions";

/// Low-resolution logits of a prompt's mask.
type MaskPrompt = Option<Vec<f32>>;

/// Both sessions, the current picture and its masks.
pub struct Segmentations<'a> {
    request: &'a Request,
    runtime: Runtime,
    spec: &'a Segment,
    segmenter: Segmenter<Box<Session>>,
    /// For each prompt of each item.
    mask_prompts: Vec<Vec<MaskPrompt>>,
    /// Index of the current item.
    item: usize,
    /// The latest masks, and the number of masks of each prompt; a grid's are not counted.
    latest: (Vec<Found>, usize),
}

impl<'a> Segmentations<'a> {
    /// Loads both models, and reads the masks of prompts.
    pub fn open(
        request: &'a Request,
        runtime: Runtime,
        environment: &Environment,
        phases: &mut Phases,
    ) -> Result<Self, Error> {
        let spec = request.segment.as_ref().ok_or_else(|| bad_request("segment is missing: segment needs it"))?;
        if request.settings.batch.get() > 1 {
            let batch = request.settings.batch;
            return Err(bad_request(format!("settings.batch is {batch}: segment takes one picture at a time")));
        }
        let decoder = request.model.decoder.as_deref();
        let decoder = decoder.ok_or_else(|| bad_request("model.decoder is missing: this runner needs it"))?;
        check_format("model.decoder", &decoder.format, &FORMATS)?;
        let settings = Settings { keep_batch_free: true, ..session_settings(request) };
        let open = |model: &ModelFile| Session::open(environment, &model.path, &settings).map(Box::new);
        let segmenter = Segmenter::new(open(&request.model)?, open(decoder)?, spec, settings.threads.get())?;
        segmenter.encoder().check_inputs(&request.model.inputs)?;
        segmenter.decoder().check_inputs(&decoder.inputs)?;
        phases.mark("load");
        let mask_prompts = request.inputs.iter().map(|item| item.prompts.iter().flatten().map(read_mask).collect());
        let mask_prompts = mask_prompts.collect::<Result<Vec<_>, Error>>()?;
        Ok(Self { request, runtime, spec, segmenter, mask_prompts, item: 0, latest: (Vec::new(), 0) })
    }

    /// Makes the masks of the current picture.
    fn segment(&mut self) -> Result<(), Error> {
        self.segmenter.encode()?;
        let item = self.item;
        let Some(prompts) = &self.request.inputs[item].prompts else {
            self.latest = (self.segmenter.generate(self.spec)?, 0);
            return Ok(());
        };
        let mut all = Vec::new();
        for (index, (prompt, mask)) in prompts.iter().zip(&self.mask_prompts[item]).enumerate() {
            let field = format!("inputs[{item}].prompts[{index}]");
            all.extend(self.segmenter.predict(self.spec, &field, prompt, mask.as_deref())?.masks);
        }
        let each = all.len() / prompts.len();
        self.latest = (all, each);
        Ok(())
    }
}

impl Work for Segmentations<'_> {
    fn load(&mut self, range: Range<usize>) -> Result<IterationTimes, Error> {
        self.item = range.start % self.request.inputs.len();
        let path = self.request.inputs[self.item].image.as_deref().unwrap_or_else(|| "".as_ref());
        self.segmenter.read(path, self.spec.crop_n_layers > 0)?;
        Ok(IterationTimes::preprocessing(Some(self.segmenter.times().preprocess_ns)))
    }

    fn infer(&mut self, took: &mut IterationTimes) -> Result<(), Error> {
        self.segment()?;
        took.segmentation(self.segmenter.times());
        Ok(())
    }

    fn items(&self, range: Range<usize>) -> Result<Vec<usize>, Error> {
        Ok(vec![range.start % self.request.inputs.len()])
    }

    fn capture(&self, items: Vec<usize>) -> Result<Captured, Error> {
        let embeddings = self.segmenter.embeddings().map(|value| RawTensor::copy_of(value, EMBEDDINGS)).transpose()?;
        let mut tensors: Vec<_> = embeddings.into_iter().map(|raw| (EMBEDDINGS.to_owned(), raw)).collect();
        let (masks, each) = &self.latest;
        if let Some(prompts) = masks.len().checked_div(*each) {
            let bytes = masks.iter().flat_map(|mask| mask.predicted_iou.to_le_bytes()).collect();
            tensors.push((IOUS.to_owned(), RawTensor { dtype: Dtype::Float32, shape: vec![prompts, *each], bytes }));
        }
        Ok(Captured::outputs(items, tensors))
    }

    fn inputs(&self, _items: &[usize]) -> Option<Captured> {
        None
    }

    fn complete(&mut self, _last: &Captured, result: &mut RunResult) -> Result<(), Error> {
        let masks = self.latest.0.drain(..).map(Found::into_mask).collect();
        result.segmentations = vec![Segmentation { raw: self.segmenter.raw(), masks }];
        Ok(())
    }

    fn effective(&self) -> Effective {
        effective(self.request, &self.runtime, &[self.segmenter.encoder(), self.segmenter.decoder()])
    }
}

/// Reads the mask of a prompt.
fn read_mask(prompt: &Prompt) -> Result<MaskPrompt, Error> {
    let Some(file) = &prompt.mask else { return Ok(None) };
    let raw = tensor_file::read(file, "mask_input")?;
    let unfit = || {
        let message = format!("{}: a mask is float32, not {}", file.path.display(), raw.dtype.name());
        Error::new(Kind::TensorUnreadable, message, "see 'Tensors on disk' in protocol/README.md")
    };
    raw.to_f32().map(Some).ok_or_else(unfit)
}
