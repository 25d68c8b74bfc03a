//! The decoder: its inputs by name, its outputs as masks.

use std::ops::{Deref, Range};

use runoff_session::{Buffer, Dtype, Error, Kind, Session, Value, ValueType};

use crate::protocol::bad_request;
use crate::segment::frame::Frame;
use crate::segment::prompt::Points;
use crate::segment::sieve::Decoded;

/// Masks of a decoder that returns all of them: the first is the only one of an unambiguous prompt, the others belong to an
/// ambiguous one.
const ALL_MASKS: usize = 4;

/// The content of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Embeddings,
    Coords,
    Labels,
    Mask,
    HasMask,
    Size,
}

/// Inputs by name; the first three are needed.
const ROLES: [(&str, Role); 6] = [
    ("image_embeddings", Role::Embeddings),
    ("point_coords", Role::Coords),
    ("point_labels", Role::Labels),
    ("mask_input", Role::Mask),
    ("has_mask_input", Role::HasMask),
    ("orig_im_size", Role::Size),
];

/// An input, float32, and memory for it, which is reused.
#[derive(Debug)]
struct Input {
    role: Role,
    /// Index among the session's inputs.
    place: usize,
    shape: Vec<usize>,
    elements: Buffer,
}

/// A session from embeddings and prompts to masks.
#[derive(Debug)]
pub struct Decoder<S> {
    session: S,
    inputs: Vec<Input>,
    /// Places of the outputs: predicted IoUs, low-resolution logits, and those at the size of the picture if there are any.
    outputs: Vec<usize>,
    /// Whether the mask input holds a mask.
    holds_mask: bool,
}

/// What the decoder returned.
#[derive(Debug)]
pub struct Outputs {
    values: Vec<Value<'static>>,
    frame: Frame,
}

impl<S: Deref<Target = Session>> Decoder<S> {
    /// Finds the inputs and outputs.
    ///
    /// # Errors
    ///
    /// `model-unsupported` for an unknown or missing input; `model-mismatch` for a missing output.
    pub fn new(session: S) -> Result<Self, Error> {
        let mut inputs = Vec::new();
        for (place, info) in session.inputs().iter().enumerate() {
            match ROLES.iter().find(|(name, _)| *name == info.name) {
                Some(&(_, role)) => {
                    inputs.push(Input { role, place, shape: Vec::new(), elements: Buffer::default() });
                }
                None if matches!(info.value, ValueType::Optional(_)) => {}
                None => {
                    let message = format!("the decoder needs the input {:?}, which is not one of a decoder", info.name);
                    return Err(unsupported(&message));
                }
            }
        }
        for (name, role) in &ROLES[..3] {
            if inputs.iter().all(|input| input.role != *role) {
                return Err(unsupported(&format!("the decoder has no input {name:?}")));
            }
        }
        let needed = ["iou_predictions", "low_res_masks"].map(|name| session.output(name));
        let outputs = needed.into_iter().chain(session.output("masks").ok().map(Ok)).collect::<Result<_, _>>()?;
        Ok(Self { session, inputs, outputs, holds_mask: false })
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Number of prompts that the model takes at once, if that is fixed.
    pub fn fixed_prompts(&self) -> Option<usize> {
        let coords = self.inputs.iter().find(|input| input.role == Role::Coords)?;
        self.session.inputs()[coords.place].shape.first().copied().flatten()
    }

    /// Runs the model; `mask` holds low-resolution logits.
    ///
    /// # Errors
    ///
    /// `model-unsupported` for a mask that the model has no input for, `bad-request` for one of another size;
    /// `model-mismatch`, `runtime-failed`.
    pub fn run(
        &mut self,
        embeddings: &Value<'_>,
        points: &Points,
        mask: Option<&[f32]>,
        frame: Frame,
    ) -> Result<Outputs, Error> {
        if mask.is_some() && self.inputs.iter().all(|input| input.role != Role::Mask) {
            return Err(unsupported("the prompt has a mask, and the decoder has no input \"mask_input\""));
        }
        let embedded = embeddings.tensor("image_embeddings")?;
        let dims = embedded.dims();
        let square = 4 * dims.get(2).copied().unwrap_or_default();
        for input in &mut self.inputs {
            match input.role {
                Role::Embeddings => self.session.check_tensor(input.place, embedded.dtype, &embedded.shape)?,
                Role::Mask => input.set_mask(&self.session, points.prompts, square, mask, self.holds_mask)?,
                _ => input.set(&self.session, points, mask.is_some(), frame)?,
            }
        }
        self.holds_mask = mask.is_some();
        let values = self.inputs.iter().map(|input| match input.role {
            Role::Embeddings => Value::over(embedded.dtype, &dims, embedded.bytes()),
            _ => Value::over(Dtype::Float32, &input.shape, &input.elements.bytes()[..4 * input.len()]),
        });
        let values = values.collect::<Result<Vec<_>, _>>()?;
        let places: Vec<_> = self.inputs.iter().map(|input| input.place).collect();
        let (values, _) = self.session.run_some_timed(&places, &values, &self.outputs)?;
        Ok(Outputs { values, frame })
    }
}

impl Input {
    fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Number of rows: as many as prompts, if the model does not fix it.
    fn rows(&self, session: &Session, prompts: usize) -> usize {
        session.inputs()[self.place].shape.first().copied().flatten().unwrap_or(prompts)
    }

    /// Makes room for elements of `shape`.
    fn room(&mut self, session: &Session, shape: &[usize]) -> Result<&mut [f32], Error> {
        if self.shape != shape {
            let dims: Vec<_> = shape.iter().map(|&dim| i64::try_from(dim).unwrap_or(i64::MAX)).collect();
            session.check_tensor(self.place, Dtype::Float32, &dims)?;
            self.shape = shape.to_vec();
            if self.elements.bytes().len() < 4 * self.len() {
                self.elements = Buffer::for_shape(Dtype::Float32, shape)?;
            }
        }
        let count = self.len();
        Ok(&mut self.elements.floats_mut()[..count])
    }

    fn set(&mut self, session: &Session, points: &Points, has_mask: bool, frame: Frame) -> Result<(), Error> {
        let (prompts, labels) = (points.prompts, &points.labels);
        let each = labels.len().checked_div(prompts).unwrap_or_default();
        match self.role {
            Role::Coords => self.room(session, &[prompts, each, 2])?.copy_from_slice(&points.coords),
            Role::Labels => self.room(session, &[prompts, each])?.copy_from_slice(labels),
            Role::HasMask => {
                let rows = self.rows(session, prompts);
                self.room(session, &[rows])?.fill(if has_mask { 1.0 } else { 0.0 });
            }
            Role::Size => self.room(session, &[2])?.copy_from_slice(&[frame.height, frame.width].map(float)),
            Role::Embeddings | Role::Mask => {}
        }
        Ok(())
    }

    /// Sets the mask, or zeros: `is_dirty` if there is a mask from before.
    fn set_mask(
        &mut self,
        session: &Session,
        prompts: usize,
        side: usize,
        mask: Option<&[f32]>,
        is_dirty: bool,
    ) -> Result<(), Error> {
        let fixed = &session.inputs()[self.place].shape;
        let side = |index: usize| fixed.get(index).copied().flatten().unwrap_or(side);
        let shape = [self.rows(session, prompts), 1, side(2), side(3)];
        let room = self.room(session, &shape)?;
        match mask {
            Some(mask) if mask.len() == room.len() => room.copy_from_slice(mask),
            Some(mask) => {
                return Err(bad_request(format!("the mask has {} elements, the decoder takes {shape:?}", mask.len())));
            }
            None if is_dirty => room.fill(0.0),
            None => {}
        }
        Ok(())
    }
}

impl Outputs {
    /// The masks; of several masks for a prompt all, or with `multimask` false one.
    ///
    /// # Errors
    ///
    /// `model-mismatch` for shapes that do not agree.
    pub fn decoded(&self, multimask: bool) -> Result<Decoded<'_>, Error> {
        let mut tensors = Vec::new();
        for (value, name) in self.values.iter().zip(["iou_predictions", "low_res_masks", "masks"]) {
            let view = value.tensor(name)?;
            let floats = view.floats().ok_or_else(|| mismatch(&format!("{name:?} is {}", view.dtype.name())))?;
            tensors.push((name, view.dims(), floats));
        }
        let [(_, dims, ious), (_, low_dims, low), rest @ ..] = &tensors[..] else { return Err(mismatch("too few")) };
        let (ious, low) = (*ious, *low);
        let (&[prompts, masks], &[.., low_side]) = (&dims[..], &low_dims[..]) else {
            return Err(mismatch(&format!("shapes are {dims:?} and {low_dims:?}")));
        };
        let size = [self.frame.height as usize, self.frame.width as usize];
        let expected = [[low_side; 2], size].map(|[height, width]| [prompts, masks, height, width]);
        for ((name, dims, _), expected) in tensors[1..].iter().zip(expected) {
            if **dims != expected {
                return Err(mismatch(&format!("{name:?} has the shape {dims:?}, not {expected:?}")));
            }
        }
        if low_side > self.frame.size as usize {
            return Err(mismatch(&format!("masks of {low_side} x {low_side} are larger than pictures")));
        }
        let full = rest.first().map(|(_, _, full)| *full);
        Ok(Decoded { masks, kept: kept(masks, multimask), ious, low, low_side, full })
    }
}

/// The masks of a prompt that are used.
const fn kept(masks: usize, multimask: bool) -> Range<usize> {
    match (masks, multimask) {
        (ALL_MASKS, true) => 1..ALL_MASKS,
        (_, true) => 0..masks,
        (_, false) => 0..1,
    }
}

#[expect(clippy::cast_precision_loss, reason = "the decoder's input is float32")]
const fn float(side: u32) -> f32 {
    side as f32
}

fn unsupported(message: &str) -> Error {
    let names = ROLES.map(|(name, _)| name).join(", ");
    Error::new(Kind::ModelUnsupported, message, format!("export a decoder whose inputs are among {names}"))
}

fn mismatch(what: &str) -> Error {
    let hint = "a decoder returns float32 iou_predictions [n, m], low_res_masks [n, m, s, s], and may return masks [n, m, h, w]";
    Error::new(Kind::ModelMismatch, format!("the decoder's outputs: {what}"), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_four_masks_the_first_is_for_unambiguous_prompts() {
        assert_eq!((kept(4, true), kept(4, false)), (1..4, 0..1));
        assert_eq!((kept(3, true), kept(1, true), kept(3, false)), (0..3, 0..1, 0..1));
    }
}
