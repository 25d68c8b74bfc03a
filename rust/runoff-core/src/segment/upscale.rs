//! Low-resolution logits at the size of the picture, row by row.
//!
//! As segment-anything's `postprocess_masks`: bilinear to the encoder's square, without the padding, bilinear to the
//! picture, each as torch's `F.interpolate(mode="bilinear", align_corners=False)` computes it in float32.

use std::ops::Range;

use super::frame::Frame;

/// The two source positions of a target position, and the weight of the second.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Tap {
    low: usize,
    high: usize,
    weight: f32,
}

/// Two scalings in a row along one side: from logits to the square without padding, and from there to the picture.
#[derive(Debug)]
struct Side([Vec<Tap>; 2]);

/// Taps for the scaling of logits to a picture.
#[derive(Debug)]
pub struct Scaling {
    /// Side of the logits.
    low: usize,
    columns: Side,
    rows: Side,
}

/// A part of the picture: all of its pixels that can reach a limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Window {
    /// Columns of the picture.
    pub columns: Range<usize>,
    /// Rows of the picture.
    pub rows: Range<usize>,
}

impl Scaling {
    /// Scaling of square logits of the side `low` to the picture in `frame`.
    #[must_use]
    pub fn new(low: usize, frame: Frame) -> Self {
        let (width, height) = frame.scaled();
        let side = |scaled: u32, side: u32| {
            let square = taps(low, frame.size as usize).take(scaled as usize).collect();
            Side([square, taps(scaled as usize, side as usize).collect()])
        };
        Self { low, columns: side(width, frame.width), rows: side(height, frame.height) }
    }

    /// Finds the part of the picture outside of which all values are less than `limit`; `None` if there is none.
    #[must_use]
    pub fn window(&self, logits: &[f32], limit: f32) -> Option<Window> {
        // A weighted mean of rounded numbers may exceed them a little.
        let limit = limit - 1e-3 * (1.0 + limit.abs());
        let (mut columns, mut rows) = (self.low..0, self.low..0);
        for (y, row) in logits.chunks_exact(self.low).enumerate() {
            let reaches = |&value: &f32| value >= limit;
            if let (Some(first), Some(last)) = (row.iter().position(reaches), row.iter().rposition(reaches)) {
                columns = columns.start.min(first)..columns.end.max(last + 1);
                rows = rows.start.min(y)..y + 1;
            }
        }
        let window = Window { columns: self.columns.reached(&columns), rows: self.rows.reached(&rows) };
        Some(window).filter(|window| !window.columns.is_empty() && !window.rows.is_empty())
    }
}

impl Side {
    /// The target positions that depend on one of the source positions `sources`.
    fn reached(&self, sources: &Range<usize>) -> Range<usize> {
        let [square, picture] = &self.0;
        let start = picture.partition_point(|tap| square[tap.high].high < sources.start);
        let end = picture.partition_point(|tap| square[tap.low].low < sources.end);
        start..end.max(start)
    }
}

/// Taps of `F.interpolate` from `from` to `to` positions.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as torch does"
)]
fn taps(from: usize, to: usize) -> impl Iterator<Item = Tap> {
    let scale = from as f32 / to as f32;
    (0..to).map(move |target| {
        let place = if from == to { target as f32 } else { (scale * (target as f32 + 0.5) - 0.5).max(0.0) };
        let low = (place as usize).min(from - 1);
        Tap { low, high: (low + 1).min(from - 1), weight: (place - low as f32).clamp(0.0, 1.0) }
    })
}

/// Rows of a scaling in progress, reused.
#[derive(Debug, Default)]
pub struct Rows {
    /// Rows of the logits, as wide as needed of the square.
    square: Pair,
    /// Rows of the square, as wide as needed of the picture.
    picture: Pair,
    between: Vec<f32>,
    row: Vec<f32>,
}

impl Rows {
    /// Calls `take` with each row of the `window`, counted from its first.
    pub fn each(&mut self, scaling: &Scaling, logits: &[f32], window: &Window, mut take: impl FnMut(usize, &[f32])) {
        let [square_columns, picture_columns] = &scaling.columns.0;
        let [square_rows, picture_rows] = &scaling.rows.0;
        let columns = &picture_columns[window.columns.clone()];
        let (Some(first), Some(last)) = (columns.first(), columns.last()) else { return };
        let needed = &square_columns[first.low..=last.high];
        let Self { square, picture, between, row } = self;
        square.reset(needed.len());
        picture.reset(columns.len());
        between.resize(needed.len(), 0.0);
        row.resize(columns.len(), 0.0);
        for (index, tap) in picture_rows[window.rows.clone()].iter().enumerate() {
            picture.hold([tap.low, tap.high], |place, target| {
                let tap = square_rows[place];
                square.hold([tap.low, tap.high], |place, target| {
                    across(&logits[place * scaling.low..][..scaling.low], 0, needed, target);
                });
                square.blend(tap.weight, between);
                across(between, first.low, columns, target);
            });
            picture.blend(tap.weight, row);
            take(index, row);
        }
    }
}

/// The last two rows that were used, with their places.
#[derive(Debug, Default)]
struct Pair {
    rows: [Vec<f32>; 2],
    places: [Option<usize>; 2],
}

impl Pair {
    fn reset(&mut self, len: usize) {
        self.places = [None; 2];
        self.rows.iter_mut().for_each(|row| row.resize(len, 0.0));
    }

    /// Holds the rows at `places`; calls `fill` for those that it does not hold yet.
    fn hold(&mut self, places: [usize; 2], mut fill: impl FnMut(usize, &mut [f32])) {
        if self.places[0] != Some(places[0]) {
            self.rows.swap(0, 1);
            self.places.swap(0, 1);
        }
        for ((row, held), place) in self.rows.iter_mut().zip(&mut self.places).zip(places) {
            if *held != Some(place) {
                fill(place, row);
                *held = Some(place);
            }
        }
    }

    /// Mixes both rows; `weight` is that of the second.
    fn blend(&self, weight: f32, target: &mut [f32]) {
        let [low, high] = &self.rows;
        for ((target, low), high) in target.iter_mut().zip(low).zip(high) {
            *target = low * (1.0 - weight) + high * weight;
        }
    }
}

/// Scales a row, of which `source` begins at the position `start`.
fn across(source: &[f32], start: usize, taps: &[Tap], target: &mut [f32]) {
    for (target, tap) in target.iter_mut().zip(taps) {
        *target = source[tap.low - start] * (1.0 - tap.weight) + source[tap.high - start] * tap.weight;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `F.interpolate` of a whole picture, pixel by pixel.
    fn interpolate(source: &[f32], (height, width): (usize, usize), (to_height, to_width): (usize, usize)) -> Vec<f32> {
        let (rows, columns): (Vec<_>, Vec<_>) = (taps(height, to_height).collect(), taps(width, to_width).collect());
        let at = |y: usize, column: &Tap| {
            source[y * width + column.low] * (1.0 - column.weight) + source[y * width + column.high] * column.weight
        };
        let pixel =
            |row: &Tap, column: &Tap| at(row.low, column) * (1.0 - row.weight) + at(row.high, column) * row.weight;
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

    fn upscaled(logits: &[f32], low: usize, frame: Frame, window: &Window) -> Vec<f32> {
        let mut all = Vec::new();
        Rows::default().each(&Scaling::new(low, frame), logits, window, |_, row| all.extend_from_slice(row));
        all
    }

    #[test]
    fn taps_are_those_of_torch() {
        let taps: Vec<_> = taps(2, 4).map(|tap| (tap.low, tap.high, tap.weight)).collect();
        assert_eq!(taps, [(0, 1, 0.0), (0, 1, 0.25), (0, 1, 0.75), (1, 1, 0.25)]);
    }

    #[test]
    fn a_picture_of_the_encoders_size_is_scaled_once() {
        // F.interpolate([[0, 1], [2, 3]], (4, 4)), computed by hand
        let frame = Frame { width: 4, height: 4, size: 4 };
        let window = Window { columns: 0..4, rows: 0..4 };
        let row = |first: f32| [first, first + 0.25, first + 0.75, first + 1.0];
        assert_eq!(
            upscaled(&[0.0, 1.0, 2.0, 3.0], 2, frame, &window),
            [row(0.0), row(0.5), row(1.5), row(2.0)].concat()
        );
    }

    proptest! {
        #[test]
        fn rows_of_a_window_are_those_of_the_picture(
            width in 1_u32..40, height in 1_u32..40, seed in any::<u64>(), limit in -1.0_f32..1.0,
        ) {
            let (low, frame) = (5, Frame { width, height, size: 20 });
            let noise = |index: u64| seed.wrapping_mul(2 * index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
            let small = |noise: u64| f32::from(u16::try_from(noise).expect("16 bits"));
            let logits: Vec<f32> = (0..25).map(|index| small(noise(index)) / 16_384.0 - 2.0).collect();
            let whole = expected(&logits, low, frame);
            let all = Window { columns: 0..width as usize, rows: 0..height as usize };
            prop_assert_eq!(&upscaled(&logits, low, frame, &all), &whole);
            let window = Scaling::new(low, frame).window(&logits, limit).unwrap_or_default();
            let mut inside = upscaled(&logits, low, frame, &window).into_iter();
            for (index, &value) in whole.iter().enumerate() {
                let (x, y) = (index % width as usize, index / width as usize);
                if window.columns.contains(&x) && window.rows.contains(&y) {
                    prop_assert_eq!(inside.next(), Some(value));
                } else {
                    prop_assert!(value < limit);
                }
            }
        }
    }
}
