//! The fields of a request and of a result that belong to the workload `segment`.

use std::num::{NonZeroU32, NonZeroUsize};

use runoff_session::Error;
use serde::{Deserialize, Serialize};

use super::{TensorFile, bad_request};
use crate::image::MAX_PIXELS;

/// Maximum of `points_per_side`: a million points.
const MOST_POINTS: u32 = 1024;

/// Maximum of `crop_n_layers`: the last layer has `4^n` crops.
const MOST_LAYERS: u32 = 8;

/// Where an object is, in pixels of the picture as stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Prompt {
    /// Points, x and y.
    pub points: Vec<[f64; 2]>,
    /// For each point: 1 on the object, 0 off it.
    pub labels: Vec<u8>,
    /// Box around the object: left, top, right, bottom.
    #[serde(rename = "box")]
    pub bounds: Option<[f64; 4]>,
    /// Low-resolution logits, such as those of an earlier prediction, float32.
    pub mask: Option<TensorFile>,
}

impl Prompt {
    /// Checks what does not depend on the picture; `field` names the prompt in messages. `has_mask`: there is a mask.
    ///
    /// # Errors
    ///
    /// `bad-request`.
    pub fn check(&self, field: &str, has_mask: bool) -> Result<(), Error> {
        let (points, labels) = (self.points.len(), self.labels.len());
        if points != labels {
            return Err(bad_request(format!("{field}: {points} points, but {labels} labels")));
        }
        if points == 0 && self.bounds.is_none() && !has_mask {
            return Err(bad_request(format!("{field} is empty: a prompt has points, a box or a mask")));
        }
        if let Some(label) = self.labels.iter().find(|&&label| label > 1) {
            return Err(bad_request(format!("{field}.labels: {label} is not 0 or 1")));
        }
        if self.points.iter().flatten().chain(self.bounds.iter().flatten()).any(|number| !number.is_finite()) {
            return Err(bad_request(format!("{field}: a coordinate is not a finite number")));
        }
        match self.bounds {
            Some([left, top, right, bottom]) if left >= right || top >= bottom => {
                let shown = [left, top, right, bottom];
                Err(bad_request(format!("{field}.box is {shown:?}: left and top must be less than right and bottom")))
            }
            _ => Ok(()),
        }
    }

    /// Checks that points and box are in a picture of this size.
    ///
    /// # Errors
    ///
    /// `bad-request`.
    pub fn check_within(&self, field: &str, width: u32, height: u32) -> Result<(), Error> {
        let (width, height) = (f64::from(width), f64::from(height));
        let outside =
            |what: String| bad_request(format!("{field}.{what} is outside the picture of {width} x {height}"));
        if let Some(point) = self.points.iter().find(|[x, y]| !(0.0..width).contains(x) || !(0.0..height).contains(y)) {
            return Err(outside(format!("points: {point:?}")));
        }
        match self.bounds {
            Some(edges @ [left, top, right, bottom]) if left < 0.0 || top < 0.0 || right > width || bottom > height => {
                Err(outside(format!("box: {edges:?}")))
            }
            _ => Ok(()),
        }
    }
}

/// How pictures become masks. Most names and all defaults are those of segment-anything's `SamAutomaticMaskGenerator`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// Side of the encoder's input, in pixels: the longer side of a picture is resized to it.
    pub size: NonZeroU32,
    /// Mean per channel, in pixel units (0 to 255).
    pub mean: [f64; 3],
    /// Standard deviation per channel, in pixel units (0 to 255).
    pub std: [f64; 3],
    /// Logits above it belong to the mask.
    #[serde(default = "mask_threshold")]
    pub mask_threshold: f64,
    /// Whether all masks of a prompt are kept, or one.
    #[serde(default = "multimask")]
    pub multimask: bool,
    /// Points of the grid along each side of the picture.
    #[serde(default = "points_per_side")]
    pub points_per_side: NonZeroU32,
    /// Points that the decoder gets at once.
    #[serde(default = "points_per_batch")]
    pub points_per_batch: NonZeroUsize,
    /// Masks with at most this predicted IoU are dropped; 0 or less keeps all.
    #[serde(default = "pred_iou_thresh")]
    pub pred_iou_thresh: f64,
    /// Masks with a lower stability score are dropped; 0 or less keeps all.
    #[serde(default = "stability_score_thresh")]
    pub stability_score_thresh: f64,
    /// Distance of the two thresholds of the stability score from `mask_threshold`.
    #[serde(default = "stability_score_offset")]
    pub stability_score_offset: f64,
    /// IoU of boxes above which the worse mask is a duplicate.
    #[serde(default = "box_nms_thresh")]
    pub box_nms_thresh: f64,
    /// Layers of crops: the i-th has `4^i`.
    #[serde(default = "crop_n_layers")]
    pub crop_n_layers: u32,
    /// As `box_nms_thresh`, between crops.
    #[serde(default = "crop_nms_thresh")]
    pub crop_nms_thresh: f64,
    /// Overlap of crops, as a share of the picture's shorter side.
    #[serde(default = "crop_overlap_ratio")]
    pub crop_overlap_ratio: f64,
    /// Factor by which each layer of crops has fewer points along a side.
    #[serde(default = "crop_n_points_downscale_factor")]
    pub crop_n_points_downscale_factor: NonZeroU32,
    /// Holes and islands of fewer pixels are removed; 0 removes none.
    #[serde(default = "min_mask_region_area")]
    pub min_mask_region_area: u32,
}

impl Default for Segment {
    fn default() -> Self {
        Self {
            size: NonZeroU32::MIN.saturating_add(1023),
            mean: [123.675, 116.28, 103.53],
            std: [58.395, 57.12, 57.375],
            mask_threshold: 0.0,
            multimask: true,
            points_per_side: NonZeroU32::MIN.saturating_add(31),
            points_per_batch: NonZeroUsize::MIN.saturating_add(63),
            pred_iou_thresh: 0.88,
            stability_score_thresh: 0.95,
            stability_score_offset: 1.0,
            box_nms_thresh: 0.7,
            crop_n_layers: 0,
            crop_nms_thresh: 0.7,
            crop_overlap_ratio: 512.0 / 1500.0,
            crop_n_points_downscale_factor: NonZeroU32::MIN,
            min_mask_region_area: 0,
        }
    }
}

/// Functions with the defaults of fields, by their names.
macro_rules! defaults {
    ($($name:ident: $kind:ty),+) => {
        $(fn $name() -> $kind {
            Segment::default().$name
        })+
    };
}

defaults!(
    mask_threshold: f64, multimask: bool, points_per_side: NonZeroU32, points_per_batch: NonZeroUsize,
    pred_iou_thresh: f64, stability_score_thresh: f64, stability_score_offset: f64, box_nms_thresh: f64,
    crop_n_layers: u32, crop_nms_thresh: f64, crop_overlap_ratio: f64, crop_n_points_downscale_factor: NonZeroU32,
    min_mask_region_area: u32
);

impl Segment {
    /// Checks constraints that the types do not express.
    ///
    /// # Errors
    ///
    /// `bad-request`, naming the field.
    pub fn check(&self) -> Result<(), Error> {
        if !self.mean.iter().chain(&self.std).all(|value| value.is_finite()) || self.std.contains(&0.0) {
            return Err(bad_request("segment.mean and segment.std must be finite, and std not zero"));
        }
        let numbers = [
            ("mask_threshold", self.mask_threshold),
            ("pred_iou_thresh", self.pred_iou_thresh),
            ("stability_score_thresh", self.stability_score_thresh),
            ("stability_score_offset", self.stability_score_offset),
            ("box_nms_thresh", self.box_nms_thresh),
            ("crop_nms_thresh", self.crop_nms_thresh),
        ];
        if let Some((name, value)) = numbers.iter().find(|(_, value)| !value.is_finite()) {
            return Err(bad_request(format!("segment.{name} is {value}, not a finite number")));
        }
        if !(0.0..1.0).contains(&self.crop_overlap_ratio) {
            let ratio = self.crop_overlap_ratio;
            return Err(bad_request(format!("segment.crop_overlap_ratio is {ratio}, not from 0 to less than 1")));
        }
        self.check_sizes()
    }

    fn check_sizes(&self) -> Result<(), Error> {
        let (size, points, layers) = (self.size.get(), self.points_per_side.get(), self.crop_n_layers);
        if u64::from(size) * u64::from(size) > MAX_PIXELS {
            return Err(bad_request(format!("segment.size is {size}: {size} x {size} pixels are too many")));
        }
        if points > MOST_POINTS {
            return Err(bad_request(format!("segment.points_per_side is {points}, more than {MOST_POINTS}")));
        }
        if layers > MOST_LAYERS {
            return Err(bad_request(format!("segment.crop_n_layers is {layers}, more than {MOST_LAYERS}")));
        }
        if self.points_in_layer(layers) == 0 {
            let factor = self.crop_n_points_downscale_factor;
            let message = format!("segment.crop_n_points_downscale_factor is {factor}: layer {layers} has no points");
            return Err(bad_request(message));
        }
        Ok(())
    }

    /// Points along a side in a layer of crops; layer 0 is the picture.
    #[must_use]
    pub fn points_in_layer(&self, layer: u32) -> u32 {
        let factor = self.crop_n_points_downscale_factor.get().checked_pow(layer);
        factor.map_or(0, |factor| self.points_per_side.get() / factor)
    }
}

/// A mask of a picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mask {
    /// Height and width of the picture.
    pub size: [u32; 2],
    /// Lengths of runs in column-major order, pixels off the mask first: COCO's uncompressed RLE.
    pub counts: Vec<u32>,
    /// Number of pixels on the mask.
    pub area: u32,
    /// Left, top, width and height; as in segment-anything, the last column minus the first, without one more.
    pub bbox: [u32; 4],
    /// The model's estimate of the mask's quality.
    pub predicted_iou: f64,
    /// IoU of the masks at a higher and a lower threshold; 0 if both are empty.
    pub stability_score: f64,
    /// Point of the grid that the mask was found with; none for a prompt.
    pub point_coords: Vec<[f64; 2]>,
    /// Left, top, width and height of the crop that the mask was found in.
    pub crop_box: [u32; 4],
}

/// The masks of a picture.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Segmentation {
    /// Number of masks of the decoder, before any filter.
    pub raw: usize,
    /// The masks that remain.
    pub masks: Vec<Mask>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(text: &str) -> Prompt {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn wrong_prompts_are_named() {
        for (text, expected) in [
            ("{}", "p is empty: a prompt has points, a box or a mask"),
            (r#"{"points": [[1, 2]]}"#, "p: 1 points, but 0 labels"),
            (r#"{"points": [[1, 2]], "labels": [2]}"#, "p.labels: 2 is not 0 or 1"),
            (r#"{"box": [5, 1, 4, 9]}"#, "p.box is [5.0, 1.0, 4.0, 9.0]: left and top must be less"),
            (r#"{"box": [5, 1, 9, 1]}"#, "p.box is [5.0, 1.0, 9.0, 1.0]: left and top must be less"),
        ] {
            let error = prompt(text).check("p", false).expect_err(text);
            assert!(error.message.starts_with(expected), "{error}");
        }
        let infinite = Prompt { bounds: Some([0.0, 0.0, f64::INFINITY, 1.0]), ..Prompt::default() };
        assert!(infinite.check("p", false).expect_err("infinite").message.contains("finite"));
        Prompt::default().check("p", true).expect("a mask is enough");
    }

    #[test]
    fn prompts_are_inside_the_picture() {
        let outside = |text: &str| prompt(text).check_within("p", 8, 4).expect_err(text).message;
        assert_eq!(outside(r#"{"points": [[0, 0], [8, 1]]}"#), "p.points: [8.0, 1.0] is outside the picture of 8 x 4");
        assert_eq!(outside(r#"{"box": [0, 0, 8, 5]}"#), "p.box: [0.0, 0.0, 8.0, 5.0] is outside the picture of 8 x 4");
        prompt(r#"{"points": [[7.9, 0]], "box": [0, 0, 8, 4]}"#).check_within("p", 8, 4).expect("inside");
    }

    #[test]
    fn settings_are_those_of_segment_anything_unless_given() {
        let text = r#"{"size": 1024, "mean": [1, 2, 3], "std": [4, 5, 6], "points_per_side": 8}"#;
        let given: Segment = serde_json::from_str(text).expect("settings");
        assert_eq!((given.points_per_side.get(), given.points_per_batch.get(), given.size.get()), (8, 64, 1024));
        given.check().expect("valid");
        let expected = Segment { mean: [1.0, 2.0, 3.0], std: [4.0, 5.0, 6.0], ..Segment::default() };
        assert_eq!(Segment { points_per_side: expected.points_per_side, ..given.clone() }, expected);
        for (from, to) in [("points_per_side", "points"), (r#""size": 1024, "#, "")] {
            serde_json::from_str::<Segment>(&text.replace(from, to)).expect_err("an unknown or missing field");
        }
        for (spec, expected) in [
            (Segment { std: [1.0, 0.0, 1.0], ..given.clone() }, "segment.mean and segment.std"),
            (Segment { box_nms_thresh: f64::NAN, ..given.clone() }, "segment.box_nms_thresh is NaN"),
            (Segment { crop_overlap_ratio: 1.0, ..given.clone() }, "segment.crop_overlap_ratio is 1"),
            (Segment { crop_n_layers: 9, ..given.clone() }, "segment.crop_n_layers is 9"),
            (Segment { size: NonZeroU32::MAX, ..given.clone() }, "segment.size is 4294967295"),
        ] {
            assert!(spec.check().expect_err(expected).message.starts_with(expected));
        }
        let factor = NonZeroU32::MIN.saturating_add(8);
        let sparse = Segment { crop_n_layers: 1, crop_n_points_downscale_factor: factor, ..given };
        assert!(sparse.check().expect_err("no points").message.ends_with("is 9: layer 1 has no points"));
    }
}
