//! Logits to the runs of a mask at the size of the picture, column by column, without a picture of floats.
//!
//! As segment-anything's `postprocess_masks`: bilinear to the encoder's square, without the padding, bilinear to the
//! picture, as torch's `F.interpolate(mode="bilinear", align_corners=False)`. Both scalings are one here: a pixel is a
//! weighted mean of three logits across and three down, equal but for the rounding of float32. Where all logits around
//! are above the thresholds or below them, so are the pixels between them, which are not computed.

use std::ops::Range;

use super::frame::Frame;
use crate::protocol::Segment;

/// Neighbouring logits that a pixel depends on, along one side.
const REACH: usize = 3;

/// Values in a line of the cache.
const LINE: usize = 16;

/// The first of the logits that a pixel depends on, and their weights.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Tap {
    start: usize,
    weights: [f32; REACH],
}

/// Taps for the scaling of logits to a picture.
#[derive(Debug)]
pub struct Scaling {
    /// Rows of the logits.
    height: usize,
    columns: Vec<Tap>,
    rows: Vec<Tap>,
    /// For each row of the logits, the first row of the picture that does not depend on it or on a row before.
    after: Vec<usize>,
}

/// Thresholds in float32: of the mask, and of the stability score.
#[derive(Debug, Clone, PartialEq)]
pub struct Cuts {
    mask: f32,
    /// The mask at this threshold is part of the one at `loose`.
    strict: f32,
    loose: f32,
    /// Means of logits below are below all thresholds, those of logits above are above; rounding included.
    sure: Range<f32>,
}

/// A mask, or a part of it.
#[derive(Debug, Default)]
pub struct Meter {
    /// Logits, one column after the other.
    turned: Vec<f32>,
    column: Vec<f32>,
    /// Pixels on the mask, as ranges of rows of a column.
    pub runs: Vec<(u32, Range<u32>)>,
    /// Numbers of pixels above the two thresholds of the stability score.
    strict: u64,
    loose: u64,
}

impl Scaling {
    /// Scaling of square logits of the side `low`, at most that of the square, to the picture in `frame`.
    #[must_use]
    pub fn new(low: usize, frame: Frame) -> Self {
        let (width, height) = frame.scaled();
        let taps = |scaled: u32, side: u32| both(low, frame.size as usize, scaled as usize, side as usize);
        Self::of(low, taps(width, frame.width), taps(height, frame.height))
    }

    /// None: logits at the size of the picture.
    #[must_use]
    pub fn none(width: usize, height: usize) -> Self {
        let taps = |side: usize| (0..side).map(|start| Tap { start, weights: [1.0, 0.0, 0.0] }).collect();
        Self::of(height, taps(width), taps(height))
    }

    fn of(height: usize, columns: Vec<Tap>, rows: Vec<Tap>) -> Self {
        let after = (0..height).map(|row| rows.partition_point(|tap| tap.start <= row)).collect();
        Self { height, columns, rows, after }
    }
}

/// Taps of both scalings: from `low` positions to `square`, and from the first `scaled` of these to `side`.
fn both(low: usize, square: usize, scaled: usize, side: usize) -> Vec<Tap> {
    let square: Vec<_> = interpolation(low, square).collect();
    let joined = |(first, second, share): (usize, usize, f32)| {
        let start = square[first].0;
        let mut weights = [0.0; REACH];
        for (share, (above, below, weight)) in [(1.0 - share, square[first]), (share, square[second])] {
            weights[above - start] += share * (1.0 - weight);
            weights[below - start] += share * weight;
        }
        Tap { start, weights }
    };
    interpolation(scaled, side).map(joined).collect()
}

/// The two source positions of each target position of `F.interpolate`, and the weight of the second.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as torch does"
)]
fn interpolation(from: usize, to: usize) -> impl Iterator<Item = (usize, usize, f32)> {
    let scale = from as f32 / to as f32;
    (0..to).map(move |target| {
        let place = if from == to { target as f32 } else { (scale * (target as f32 + 0.5) - 0.5).max(0.0) };
        let low = (place as usize).min(from - 1);
        (low, (low + 1).min(from - 1), (place - low as f32).clamp(0.0, 1.0))
    })
}

impl Cuts {
    /// The thresholds of `spec`.
    #[expect(clippy::cast_possible_truncation, reason = "logits are float32")]
    #[must_use]
    pub fn new(spec: &Segment) -> Self {
        let (mask, offset) = (spec.mask_threshold, spec.stability_score_offset);
        let (mask, strict, loose) = (mask as f32, (mask + offset) as f32, (mask - offset) as f32);
        let (low, high) = (mask.min(strict).min(loose), mask.max(strict).max(loose));
        let rounding = |cut: f32| 1e-3 * (1.0 + cut.abs());
        Self { mask, strict, loose, sure: low - rounding(low)..high + rounding(high) }
    }
}

impl Meter {
    /// Measures a mask, of `logits` row by row.
    pub fn measure(&mut self, scaling: &Scaling, logits: &[f32], cuts: &Cuts) {
        let (height, width) = (scaling.height, logits.len() / scaling.height);
        self.runs.clear();
        (self.strict, self.loose) = (0, 0);
        let mut turned = std::mem::take(&mut self.turned);
        turn(logits, width, &mut turned);
        let mut values = std::mem::take(&mut self.column);
        // the last logit reaches over the edge, with the weight 0
        values.resize(height + REACH - 1, 0.0);
        for (column, Tap { start, weights: [a, b, c] }) in (0_u32..).zip(&scaling.columns) {
            let [first, second, third] =
                [0, 1, 2].map(|step| &turned[(start + step).min(width - 1) * height..][..height]);
            for (((value, x), y), z) in values.iter_mut().zip(first).zip(second).zip(third) {
                *value = a * x + b * y + c * z;
            }
            values.copy_within(height - 1..height, height);
            values.copy_within(height - 1..height, height + 1);
            self.scan(column, &values, scaling, cuts);
        }
        (self.turned, self.column) = (turned, values);
    }

    /// Finds the runs of a column, of which `values` has those at the rows of the logits.
    fn scan(&mut self, column: u32, values: &[f32], scaling: &Scaling, cuts: &Cuts) {
        // numbers of pixels in registers
        let (mut strict, mut loose) = (0, 0);
        let (mut begin, mut row) = (None, 0);
        let mut set = |is_on: bool, row: usize| match begin {
            None if is_on => begin = Some(row),
            Some(first) if !is_on => {
                self.runs.push((column, small(first)..small(row)));
                begin = None;
            }
            _ => {}
        };
        while let Some(&Tap { start, .. }) = scaling.rows.get(row) {
            let [x, y, z, ref more @ ..] = values[start..] else { break };
            // the rows between the same logits
            let mut end = scaling.after[start];
            if let Some(is_on) = cuts.side(x.min(y).min(z), x.max(y).max(z)) {
                let more = if is_on {
                    leading(more, |value| value > cuts.sure.end)
                } else {
                    leading(more, |value| value < cuts.sure.start)
                };
                // beyond the edge there are two copies of the last value
                end = scaling.after[(start + more).min(scaling.height - 1)];
                let count = if is_on { end - row } else { 0 };
                (strict, loose) = (strict + count, loose + count);
                set(is_on, row);
            } else {
                for (row, Tap { weights: [a, b, c], .. }) in (row..).zip(&scaling.rows[row..end]) {
                    let value = a * x + b * y + c * z;
                    strict += usize::from(value > cuts.strict);
                    loose += usize::from(value > cuts.loose);
                    set(value > cuts.mask, row);
                }
            }
            row = end;
        }
        set(false, row);
        self.strict += strict as u64;
        self.loose += loose as u64;
    }

    /// IoU of the masks at the two thresholds of the stability score, in float32; 0 if both are empty.
    #[expect(clippy::cast_precision_loss, reason = "as torch divides two counts")]
    #[must_use]
    pub fn stability(&self) -> f32 {
        if self.loose == 0 { 0.0 } else { self.strict as f32 / self.loose as f32 }
    }
}

impl Cuts {
    /// Whether all means of logits from `low` to `high` are above all thresholds, or below; `None` if that is not certain.
    fn side(&self, low: f32, high: f32) -> Option<bool> {
        if low > self.sure.end {
            Some(true)
        } else if high < self.sure.start {
            Some(false)
        } else {
            None
        }
    }
}

/// Writes rows of `width` values as columns.
fn turn(rows: &[f32], width: usize, columns: &mut Vec<f32>) {
    let height = rows.len() / width;
    columns.resize(rows.len(), 0.0);
    for (block, columns) in columns.chunks_mut(LINE * height).enumerate() {
        for (row, values) in rows.chunks_exact(width).enumerate() {
            for (column, value) in columns.chunks_exact_mut(height).zip(&values[LINE * block..]) {
                column[row] = *value;
            }
        }
    }
}

/// Number of values at the beginning for which `is_sure`, eight at a time.
fn leading(values: &[f32], is_sure: impl Fn(f32) -> bool) -> usize {
    let are_sure = |eight: &&[f32]| eight.iter().fold(true, |all, &value| all & is_sure(value));
    let whole = 8 * values.chunks_exact(8).take_while(are_sure).count();
    whole + values[whole..].iter().take_while(|&&value| is_sure(value)).count()
}

/// A row of a picture, whose sides are u32.
fn small(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `F.interpolate` of a whole picture, pixel by pixel.
    fn interpolate(source: &[f32], (height, width): (usize, usize), (to_height, to_width): (usize, usize)) -> Vec<f32> {
        let rows: Vec<_> = interpolation(height, to_height).collect();
        let columns: Vec<_> = interpolation(width, to_width).collect();
        let at = |y: usize, &(low, high, weight): &(usize, usize, f32)| {
            source[y * width + low] * (1.0 - weight) + source[y * width + high] * weight
        };
        let pixel = |&(low, high, weight): &(usize, usize, f32), column: &(usize, usize, f32)| {
            at(low, column) * (1.0 - weight) + at(high, column) * weight
        };
        rows.iter().flat_map(|row| columns.iter().map(move |column| pixel(row, column))).collect()
    }

    /// Both scalings of a whole picture.
    fn expected(logits: &[f32], low: usize, frame: Frame) -> Vec<f32> {
        let size = frame.size as usize;
        let (width, height) = frame.scaled();
        let (width, height) = (width as usize, height as usize);
        let square = interpolate(logits, (low, low), (size, size));
        let cropped: Vec<f32> = square.chunks(size).take(height).flat_map(|row| &row[..width]).copied().collect();
        interpolate(&cropped, (height, width), (frame.height as usize, frame.width as usize))
    }

    fn cuts(mask: f64) -> Cuts {
        Cuts::new(&Segment { mask_threshold: mask, ..Segment::default() })
    }

    /// Pixels on the mask, row by row, and the numbers of pixels above the thresholds of the stability score.
    fn measured(scaling: &Scaling, logits: &[f32], cuts: &Cuts) -> (Vec<bool>, u64, u64) {
        let mut meter = Meter::default();
        // buffers that were used before
        meter.measure(&Scaling::none(2, 3), &[9.0; 6], cuts);
        meter.measure(scaling, logits, cuts);
        let width = scaling.columns.len();
        let mut pixels = vec![false; width * scaling.rows.len()];
        for (column, rows) in &meter.runs {
            rows.clone().for_each(|row| pixels[row as usize * width + *column as usize] = true);
        }
        (pixels, meter.strict, meter.loose)
    }

    #[test]
    fn positions_are_those_of_torch() {
        let found: Vec<_> = interpolation(2, 4).collect();
        assert_eq!(found, [(0, 1, 0.0), (0, 1, 0.25), (0, 1, 0.75), (1, 1, 0.25)]);
    }

    #[test]
    fn a_picture_of_the_encoders_size_is_scaled_once() {
        // F.interpolate([[0, 1], [2, 3]], (4, 4)), computed by hand: 0, 0.25, 0.75, 1 in the first row, and 0.5, 1.5, 2 more
        let scaling = Scaling::new(2, Frame { width: 4, height: 4, size: 4 });
        let (pixels, strict, loose) = measured(&scaling, &[0.0, 1.0, 2.0, 3.0], &cuts(1.2));
        let row = |on: usize| (0..4).map(move |column| column >= on);
        assert_eq!(pixels, [row(4), row(2), row(0), row(0)].into_iter().flatten().collect::<Vec<_>>());
        // above 2.2, and above 0.2
        assert_eq!((strict, loose), (2 + 3, 15));
    }

    #[test]
    fn logits_at_the_size_of_the_picture_are_used_as_they_are() {
        let logits = [3.0, -0.5, -3.0, 0.5, 0.0, 3.0];
        let (pixels, strict, loose) = measured(&Scaling::none(3, 2), &logits, &cuts(0.0));
        assert_eq!(pixels, [true, false, false, true, false, true]);
        assert_eq!((strict, loose), (2, 5));
    }

    proptest! {
        #[test]
        fn masks_are_those_of_the_scaled_picture(
            width in 1_u32..40, height in 1_u32..40, seed in any::<u64>(), steep in 0.1_f32..30.0, mask in -1.0_f64..1.0,
        ) {
            let (low, frame) = (5, Frame { width, height, size: 20 });
            let noise = |index: u64| seed.wrapping_mul(2 * index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
            let small = |noise: u64| f32::from(u16::try_from(noise).expect("16 bits"));
            let logits: Vec<f32> = (0..25).map(|index| steep * (small(noise(index)) / 32_768.0 - 1.0)).collect();
            let whole = expected(&logits, low, frame);
            let cuts = cuts(mask);
            let (pixels, strict, loose) = measured(&Scaling::new(low, frame), &logits, &cuts);
            // pixels within the rounding of a threshold may be on either side
            let near = |cut: f32| whole.iter().filter(|&&value| (value - cut).abs() < 1e-4).count() as u64;
            let above = |cut: f32| whole.iter().filter(|&&value| value > cut).count() as u64;
            prop_assert!(strict.abs_diff(above(cuts.strict)) <= near(cuts.strict));
            prop_assert!(loose.abs_diff(above(cuts.loose)) <= near(cuts.loose));
            for (is_on, value) in pixels.into_iter().zip(whole) {
                prop_assert!(is_on == (value > cuts.mask) || (value - cuts.mask).abs() < 1e-4);
            }
        }
    }
}
