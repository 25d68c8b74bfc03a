//! The decoder's logits to masks: filters, duplicates, small regions.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::frame::Frame;
use super::nms::{nms, select};
use super::regions::{fill_holes, remove_islands};
use super::rle::{Bounds, Rle};
pub use super::upscale::Meter;
use super::upscale::{Cuts, Scaling};
use crate::image::Part;
use crate::protocol::{Mask, Segment};

/// Masks that end within so many pixels of a crop's edge were cut off by it.
const EDGE: u32 = 20;

/// Logits of the decoder: `masks` for each of its prompts, of which those in `kept` are used.
#[derive(Debug, Clone)]
pub struct Decoded<'a> {
    /// Number of masks of a prompt.
    pub masks: usize,
    /// The masks of a prompt that are used.
    pub kept: Range<usize>,
    /// Predicted IoU of each mask.
    pub ious: &'a [f32],
    /// Low-resolution logits of each mask, a square.
    pub low: &'a [f32],
    /// Side of that square.
    pub low_side: usize,
    /// Logits of each mask at the size of the picture or crop, if the decoder scales them.
    pub full: Option<&'a [f32]>,
}

/// A mask that passed the filters.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The mask, in the picture.
    pub rle: Rle,
    /// Its bounds; if it is empty, the first pixel of the crop.
    pub bounds: Bounds,
    /// The model's estimate of the mask's quality.
    pub predicted_iou: f32,
    /// IoU of the masks at two thresholds.
    pub stability: f32,
    /// Point of the grid, in the picture.
    pub point: Option<[f64; 2]>,
    /// The crop.
    pub crop: Part,
}

/// Makes masks of a picture or a crop of it.
#[derive(Debug)]
pub struct Sieve<'s> {
    spec: &'s Segment,
    cuts: Cuts,
    width: u32,
    height: u32,
    crop: Part,
    /// Of low-resolution logits, and of those at the size of the picture.
    scalings: [Scaling; 2],
}

impl<'s> Sieve<'s> {
    /// Creates one for logits of the side `low_side`, of the part `crop` of a picture.
    #[must_use]
    pub fn new(spec: &'s Segment, (width, height): (u32, u32), crop: Part, low_side: usize) -> Self {
        let frame = Frame { width: crop.width, height: crop.height, size: spec.size.get() };
        let scalings = [Scaling::new(low_side, frame), Scaling::none(crop.width as usize, crop.height as usize)];
        Self { spec, cuts: Cuts::new(spec), width, height, crop, scalings }
    }

    /// Makes the masks of a prompt, or of several, without a filter.
    pub fn masks(&self, decoded: &Decoded<'_>, meters: &mut [Meter]) -> Vec<Found> {
        let places: Vec<_> = decoded.places().collect();
        spread(places.len(), meters, |meter, index| {
            let (_, place) = places[index];
            self.measure(decoded, place, meter);
            Some(self.found(decoded.ious[place], meter, None))
        })
    }

    /// Makes the masks of the grid's `points`, one prompt each, in pixels of the crop, and drops those that are poor
    /// (predicted IoU), unstable, or cut off by the edge of the crop.
    pub fn sift(&self, decoded: &Decoded<'_>, points: &[[f64; 2]], meters: &mut [Meter]) -> Vec<Found> {
        let is_good = |iou: f32| passes(iou, self.spec.pred_iou_thresh, |iou, least| iou > least);
        let places: Vec<_> = decoded.places().filter(|&(_, place)| is_good(decoded.ious[place])).collect();
        spread(places.len(), meters, |meter, index| {
            let (prompt, place) = places[index];
            self.measure(decoded, place, meter);
            if !passes(meter.stability(), self.spec.stability_score_thresh, |stability, least| stability >= least) {
                return None;
            }
            let [x, y] = points[prompt];
            let point = [x + f64::from(self.crop.left), y + f64::from(self.crop.top)];
            let found = self.found(decoded.ious[place], meter, Some(point));
            Some(found).filter(|found| !is_cut_off(found.bounds, self.crop, self.width, self.height))
        })
    }

    /// Drops duplicates among masks of this crop.
    #[must_use]
    pub fn distinct(&self, found: Vec<Found>) -> Vec<Found> {
        let scores: Vec<_> = found.iter().map(|found| found.predicted_iou).collect();
        drop_duplicates(found, &scores, self.spec.box_nms_thresh)
    }

    fn measure(&self, decoded: &Decoded<'_>, place: usize, meter: &mut Meter) {
        let [low, none] = &self.scalings;
        let (all, scaling) = decoded.full.map_or((decoded.low, low), |full| (full, none));
        let count = all.len() / decoded.ious.len();
        meter.measure(scaling, &all[place * count..][..count], &self.cuts);
    }

    /// The mask in `meter`, in the picture.
    fn found(&self, predicted_iou: f32, meter: &Meter, point: Option<[f64; 2]>) -> Found {
        let Part { left, top, .. } = self.crop;
        let runs = meter.runs.iter().map(|(column, rows)| {
            let first = (left + column) * self.height + top;
            first + rows.start..first + rows.end
        });
        let rle = Rle::of(self.height, self.width, runs);
        let bounds = rle.bounds().unwrap_or(Bounds { left, top, right: left, bottom: top });
        Found { rle, bounds, predicted_iou, stability: meter.stability(), point, crop: self.crop }
    }
}

impl Decoded<'_> {
    /// The prompt and the place of each mask that is used.
    fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        let (masks, kept) = (self.masks, self.kept.clone());
        let prompts = self.ious.len().checked_div(masks).unwrap_or_default();
        (0..prompts).flat_map(move |prompt| kept.clone().map(move |mask| (prompt, prompt * masks + mask)))
    }
}

impl Found {
    /// The mask as in a result.
    #[must_use]
    pub fn into_mask(self) -> Mask {
        let Bounds { left, top, right, bottom } = self.bounds;
        Mask {
            size: [self.rle.height, self.rle.width],
            area: self.rle.area(),
            counts: self.rle.counts,
            bbox: [left, top, right - left, bottom - top],
            predicted_iou: self.predicted_iou.into(),
            stability_score: self.stability.into(),
            point_coords: self.point.into_iter().collect(),
            crop_box: [self.crop.left, self.crop.top, self.crop.width, self.crop.height],
        }
    }
}

/// Drops duplicates among the masks of several crops: those of smaller crops are better.
#[must_use]
pub fn distinct_between_crops(found: Vec<Found>, spec: &Segment) -> Vec<Found> {
    #[expect(clippy::cast_precision_loss, reason = "as torch divides a count")]
    let score = |found: &Found| 1.0 / (u64::from(found.crop.width) * u64::from(found.crop.height)) as f32;
    let scores: Vec<_> = found.iter().map(score).collect();
    drop_duplicates(found, &scores, spec.crop_nms_thresh)
}

/// Fills small holes, removes small islands, and drops masks that become duplicates; unchanged masks are better.
#[must_use]
pub fn without_small_regions(mut found: Vec<Found>, spec: &Segment) -> Vec<Found> {
    let least = spec.min_mask_region_area;
    let mut scores = Vec::with_capacity(found.len());
    for Found { rle, bounds, .. } in &mut found {
        let filled = fill_holes(rle, least);
        let changed = remove_islands(filled.as_ref().unwrap_or(rle), least).or(filled);
        scores.push(if changed.is_some() { 0.0 } else { 1.0 });
        if let Some(changed) = changed {
            *bounds = changed.bounds().unwrap_or_default();
            *rle = changed;
        }
    }
    drop_duplicates(found, &scores, spec.box_nms_thresh.max(spec.crop_nms_thresh))
}

fn drop_duplicates(found: Vec<Found>, scores: &[f32], threshold: f64) -> Vec<Found> {
    let boxes: Vec<_> = found.iter().map(|found| found.bounds).collect();
    let kept = nms(&boxes, scores, threshold);
    select(found, &kept)
}

/// Whether a score passes a threshold, in float32; 0 or less lets everything pass.
#[expect(clippy::cast_possible_truncation, reason = "torch compares in float32")]
fn passes(score: f32, threshold: f64, compare: impl Fn(f32, f32) -> bool) -> bool {
    threshold <= 0.0 || compare(score, threshold as f32)
}

/// Whether a mask was cut off by an edge of the crop that is not one of the picture.
fn is_cut_off(bounds: Bounds, crop: Part, width: u32, height: u32) -> bool {
    let own = [bounds.left, bounds.top, bounds.right, bounds.bottom];
    let edges = [crop.left, crop.top, crop.left + crop.width, crop.top + crop.height];
    let is_near = |own: u32, edge: u32| own.abs_diff(edge) <= EDGE;
    let mut sides = own.into_iter().zip(edges).zip([0, 0, width, height]);
    sides.any(|((own, edge), picture)| is_near(own, edge) && !is_near(own, picture))
}

/// Does `count` pieces of work, in as many threads as there are meters; returns what there is of them, in order.
fn spread<T: Send>(count: usize, meters: &mut [Meter], work: impl Fn(&mut Meter, usize) -> Option<T> + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let some = &|meter: &mut Meter| {
        let indices = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&index| index < count));
        indices.filter_map(|index| work(meter, index).map(|done| (index, done))).collect::<Vec<_>>()
    };
    let Some((own, others)) = meters.split_first_mut() else { return Vec::new() };
    let helpers = count.saturating_sub(1).min(others.len());
    let mut all = thread::scope(|scope| {
        let threads: Vec<_> = others[..helpers].iter_mut().map(|meter| scope.spawn(move || some(meter))).collect();
        let mut all = some(own);
        for thread in threads {
            all.extend(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        all
    });
    all.sort_unstable_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, done)| done).collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    /// Logits of 4 x 4 in a picture of 8 x 8, which is the encoder's size: 2 x 2 pixels each, smoothed.
    fn sieve(spec: &Segment) -> Sieve<'_> {
        Sieve::new(spec, (8, 8), whole(8), 4)
    }

    fn whole(side: u32) -> Part {
        Part { left: 0, top: 0, width: side, height: side }
    }

    fn spec() -> Segment {
        Segment { size: NonZeroU32::new(8).expect("not zero"), ..Segment::default() }
    }

    /// Steep logits, 9 on the left half and -9 on the right one, or the other way around.
    fn halves(sign: f32) -> Vec<f32> {
        [9.0 * sign, 9.0 * sign, -9.0 * sign, -9.0 * sign].repeat(4)
    }

    fn meters(count: usize) -> Vec<Meter> {
        (0..count).map(|_| Meter::default()).collect()
    }

    #[test]
    fn poor_masks_are_dropped_and_the_others_keep_their_order() {
        let low = [halves(1.0), halves(-1.0), halves(1.0), vec![-9.0; 16]].concat();
        let ious = [0.9, 0.95, 0.5, 0.99];
        let decoded = Decoded { masks: 2, kept: 0..2, ious: &ious, low: &low, low_side: 4, full: None };
        let spec = Segment { stability_score_thresh: 0.5, ..spec() };
        for threads in [1, 3] {
            let found = sieve(&spec).sift(&decoded, &[[1.0, 2.0], [3.0, 4.0]], &mut meters(threads));
            let [left, right] = &found[..] else { panic!("{found:?}") };
            assert_eq!((&left.rle.counts, &right.rle.counts), (&vec![0, 32, 32], &vec![32, 32]));
            assert_eq!(left.bounds, Bounds { left: 0, top: 0, right: 3, bottom: 7 });
            assert_eq!((left.point, right.point), (Some([1.0, 2.0]), Some([1.0, 2.0])));
            // logits along a row are 9, 9, 9, 4.5, -4.5, -9, -9, -9
            assert!((left.stability - 1.0).abs() < 1e-6);
        }
        let all = sieve(&spec).masks(&decoded, &mut meters(1));
        assert_eq!(all.iter().map(|found| found.rle.area()).collect::<Vec<_>>(), [32, 32, 32, 0]);
        assert_eq!(all[3].stability.to_bits(), 0);
    }

    #[test]
    fn logits_at_the_size_of_the_picture_are_used_as_they_are() {
        let full: Vec<f32> = (0..64_u8).map(|index| if index < 16 { 3.0 } else { f32::from(index) / -100.0 }).collect();
        let decoded = Decoded { masks: 1, kept: 0..1, ious: &[0.9], low: &[], low_side: 4, full: Some(&full) };
        let spec = spec();
        let found = sieve(&spec).masks(&decoded, &mut meters(1)).remove(0).into_mask();
        assert_eq!((found.size, found.area, found.bbox, found.crop_box), ([8, 8], 16, [0, 0, 7, 1], [0, 0, 8, 8]));
        assert_eq!(found.counts[..4], [0, 2, 6, 2]);
        assert!((found.stability_score - 0.25).abs() < 1e-9 && found.point_coords.is_empty());
    }

    #[test]
    fn masks_at_the_edge_of_a_crop_are_cut_off_but_not_at_that_of_the_picture() {
        let crop = Part { left: 0, top: 0, width: 300, height: 200 };
        let bounds = |right, bottom| Bounds { left: 0, top: 0, right, bottom };
        assert!(!is_cut_off(bounds(279, 100), crop, 600, 200));
        assert!(is_cut_off(bounds(280, 100), crop, 600, 200));
        assert!(!is_cut_off(bounds(100, 199), crop, 600, 200));
        assert!(is_cut_off(bounds(100, 199), crop, 600, 400));
    }

    fn found(counts: &[u32], crop: Part) -> Found {
        let rle = Rle { height: 8, width: 8, counts: counts.to_vec() };
        let bounds = rle.bounds().expect("a mask");
        Found { rle, bounds, predicted_iou: 0.9, stability: 1.0, point: None, crop }
    }

    #[test]
    fn masks_of_smaller_crops_replace_their_duplicates() {
        let (large, small) = (found(&[0, 32, 32], whole(8)), found(&[0, 31, 33], whole(4)));
        let kept = distinct_between_crops(vec![large, small.clone()], &spec());
        assert_eq!(kept, [small]);
    }

    #[test]
    fn masks_that_lose_regions_come_after_those_that_do_not() {
        // a pixel in the last column, and the left half; the right half
        let (spotted, plain) = (found(&[0, 32, 31, 1], whole(8)), found(&[32, 32], whole(8)));
        let spec = Segment { min_mask_region_area: 3, ..spec() };
        let kept = without_small_regions(vec![spotted, plain.clone()], &spec);
        assert_eq!(kept, [plain, found(&[0, 32, 32], whole(8))]);
    }
}
