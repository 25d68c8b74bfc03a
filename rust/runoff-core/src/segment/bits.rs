//! Thresholded logits, one bit a pixel.

use std::ops::Range;

use super::rle::Rle;
use crate::protocol::Segment;

/// Thresholds in float32: of the mask, and of the stability score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cuts {
    mask: f32,
    /// The mask at this threshold is part of the one at `loose`.
    strict: f32,
    loose: f32,
}

impl Cuts {
    /// The thresholds of `spec`.
    #[expect(clippy::cast_possible_truncation, reason = "logits are float32")]
    #[must_use]
    pub fn new(spec: &Segment) -> Self {
        let (mask, offset) = (spec.mask_threshold, spec.stability_score_offset);
        Self { mask: mask as f32, strict: (mask + offset) as f32, loose: (mask - offset) as f32 }
    }

    /// Lower logits count for nothing.
    #[must_use]
    pub const fn lowest(&self) -> f32 {
        self.mask.min(self.strict).min(self.loose)
    }
}

/// The rows of a mask, of a picture or a part of one. Bit `i` of a word is row `64 * block + i` of a column.
#[derive(Debug, Default)]
pub struct Bits {
    words: Vec<u64>,
    width: usize,
    /// Numbers of pixels above the two thresholds of the stability score.
    strict: u64,
    loose: u64,
}

impl Bits {
    /// Starts a mask.
    pub fn begin(&mut self, width: usize, height: usize) {
        (self.width, self.strict, self.loose) = (width, 0, 0);
        self.words.clear();
        self.words.resize(width * height.div_ceil(64), 0);
    }

    /// Adds the row `index`.
    pub fn add(&mut self, index: usize, row: &[f32], cuts: Cuts) {
        let shift = index % 64;
        let words = &mut self.words[index / 64 * self.width..][..self.width];
        let (mut strict, mut loose) = (0_u32, 0_u32);
        for (word, &logit) in words.iter_mut().zip(row) {
            *word |= u64::from(logit > cuts.mask) << shift;
            strict += u32::from(logit > cuts.strict);
            loose += u32::from(logit > cuts.loose);
        }
        self.strict += u64::from(strict);
        self.loose += u64::from(loose);
    }

    /// IoU of the masks at the two thresholds of the stability score, in float32; 0 if both are empty.
    #[expect(clippy::cast_precision_loss, reason = "as torch divides two counts")]
    #[must_use]
    pub fn stability(&self) -> f32 {
        if self.loose == 0 { 0.0 } else { self.strict as f32 / self.loose as f32 }
    }

    /// The mask in a picture of `width` x `height` pixels; its first pixel is at `left`, `top`.
    #[must_use]
    pub fn encode(&self, (left, top): (u32, u32), width: u32, height: u32) -> Rle {
        let columns = (left..width).zip(0..self.width);
        let runs = columns.flat_map(|(column, index)| {
            let words = self.words.iter().skip(index).step_by(self.width);
            let blocks = words.zip((column * height + top..).step_by(64));
            blocks.flat_map(|(&word, start)| runs(word).map(move |run| start + run.start..start + run.end))
        });
        Rle::of(height, width, runs)
    }
}

/// Runs of set bits.
fn runs(mut word: u64) -> impl Iterator<Item = Range<u32>> {
    let mut begin = 0;
    std::iter::from_fn(move || {
        if word == 0 {
            return None;
        }
        let skipped = word.trailing_zeros();
        let length = (word >> skipped).trailing_ones();
        let start = begin + skipped;
        begin = start + length;
        word = word.checked_shr(skipped + length).unwrap_or_default();
        Some(start..begin)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_become_runs() {
        assert_eq!(runs(0).count(), 0);
        assert_eq!(runs(u64::MAX).collect::<Vec<_>>(), [0..64]);
        assert_eq!(runs(0b1101 | 1 << 63).collect::<Vec<_>>(), [0..1, 2..4, 63..64]);
    }

    #[test]
    fn a_column_of_several_words_is_one_run() {
        let cuts = Cuts::new(&Segment::default());
        let mut bits = Bits::default();
        bits.begin(2, 100);
        for row in 0..100 {
            bits.add(row, &[if row < 10 { -0.5 } else { 2.0 }, if row == 99 { 0.5 } else { -2.0 }], cuts);
        }
        assert_eq!(bits.encode((1, 3), 4, 105).counts, [105 + 3 + 10, 90, 2 + 3 + 99, 1, 2 + 105]);
        // 90 of the first column's pixels are above 1, 100 above -1, and one of the second's is above -1
        assert!((bits.stability() - 90.0 / 101.0).abs() < 1e-6);
        bits.begin(0, 0);
        assert_eq!(bits.encode((0, 0), 4, 105).counts, [420]);
        assert_eq!(bits.stability().to_bits(), 0);
    }
}
