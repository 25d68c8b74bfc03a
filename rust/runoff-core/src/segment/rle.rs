//! Binary masks as lengths of runs: COCO's uncompressed RLE.

use std::ops::Range;

/// A mask of a picture: lengths of runs in column-major order, pixels off the mask first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rle {
    /// Height of the picture, in pixels.
    pub height: u32,
    /// Width of the picture, in pixels.
    pub width: u32,
    /// Lengths of runs; all are more than 0, except the first, which is 0 if the first pixel is on the mask.
    pub counts: Vec<u32>,
}

/// The first and the last column and row of a mask.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// First column.
    pub left: u32,
    /// First row.
    pub top: u32,
    /// Last column.
    pub right: u32,
    /// Last row.
    pub bottom: u32,
}

/// A run inside a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnRun {
    /// The column.
    pub column: u32,
    /// Rows.
    pub rows: Range<u32>,
}

impl Rle {
    /// Makes a mask of runs of pixels on it, as positions in column-major order, in order. Runs may touch.
    #[must_use]
    pub fn of(height: u32, width: u32, runs: impl IntoIterator<Item = Range<u32>>) -> Self {
        let (mut counts, mut end) = (Vec::new(), 0);
        for run in runs {
            match counts.last_mut() {
                Some(last) if run.start == end => *last += run.end - run.start,
                _ => counts.extend([run.start - end, run.end - run.start]),
            }
            end = run.end;
        }
        if end < height * width || counts.is_empty() {
            counts.push(height * width - end);
        }
        Self { height, width, counts }
    }

    /// Number of pixels on the mask.
    #[must_use]
    pub fn area(&self) -> u32 {
        self.counts.iter().skip(1).step_by(2).sum()
    }

    /// Runs of pixels on the mask, or off it, as positions in column-major order.
    pub fn runs(&self, is_on: bool) -> impl Iterator<Item = Range<u32>> {
        let mut end = 0;
        let ranges = self.counts.iter().map(move |count| {
            let start = end;
            end += count;
            start..end
        });
        ranges.skip(usize::from(is_on)).step_by(2).filter(|run| !run.is_empty())
    }

    /// Runs as [`Self::runs`], cut at the ends of columns.
    pub fn column_runs(&self, is_on: bool) -> impl Iterator<Item = ColumnRun> {
        let height = self.height;
        self.runs(is_on).flat_map(move |run| {
            (run.start / height..=(run.end - 1) / height).map(move |column| {
                let first = column * height;
                ColumnRun { column, rows: run.start.max(first) - first..run.end.min(first + height) - first }
            })
        })
    }

    /// The first and the last column and row of pixels on the mask; `None` if there are none.
    #[must_use]
    pub fn bounds(&self) -> Option<Bounds> {
        self.column_runs(true).fold(None, |bounds: Option<Bounds>, ColumnRun { column, rows }| {
            let own = Bounds { left: column, top: rows.start, right: column, bottom: rows.end - 1 };
            Some(bounds.map_or(own, |bounds| Bounds {
                left: bounds.left,
                top: bounds.top.min(own.top),
                right: column,
                bottom: bounds.bottom.max(own.bottom),
            }))
        })
    }

    /// Sets the bytes of pixels on the mask to 1; `pixels` is row-major and holds one byte for each.
    ///
    /// # Panics
    ///
    /// If there are too few.
    pub fn paint(&self, pixels: &mut [u8]) {
        let width = self.width as usize;
        for ColumnRun { column, rows } in self.column_runs(true) {
            for row in rows {
                pixels[row as usize * width + column as usize] = 1;
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A mask from rows of `#` and other characters.
    pub fn drawn(rows: &[&str]) -> Rle {
        let (height, width) = (rows.len(), rows[0].len());
        let small = |number: usize| u32::try_from(number).expect("small");
        let is_on = |&position: &usize| rows[position % height].as_bytes()[position / height] == b'#';
        let runs = (0..height * width).filter(is_on).map(|position| small(position)..small(position) + 1);
        Rle::of(small(height), small(width), runs)
    }

    #[test]
    fn runs_are_counted_down_the_columns() {
        let rle = drawn(&[".#.", "##.", ".##"]);
        assert_eq!(rle.counts, [1, 1, 1, 3, 2, 1]);
        assert_eq!(rle.area(), 5);
        assert_eq!(rle.bounds(), Some(Bounds { left: 0, top: 0, right: 2, bottom: 2 }));
        let mut pixels = [0; 9];
        rle.paint(&mut pixels);
        assert_eq!(pixels, [0, 1, 0, 1, 1, 0, 0, 1, 1]);
    }

    #[test]
    fn a_mask_may_begin_at_the_first_pixel_or_be_empty_or_full() {
        assert_eq!(drawn(&["#.", ".#"]).counts, [0, 1, 2, 1]);
        assert_eq!(drawn(&["..", ".."]).counts, [4]);
        assert_eq!(drawn(&["##", "##"]).counts, [0, 4]);
        assert_eq!(drawn(&["..", ".."]).bounds(), None);
        assert_eq!(drawn(&["..", ".#"]).bounds(), Some(Bounds { left: 1, top: 1, right: 1, bottom: 1 }));
    }

    #[test]
    fn runs_are_cut_at_the_ends_of_columns() {
        let rle = drawn(&["..#", "##.", "##."]);
        let run = |column, rows| ColumnRun { column, rows };
        assert_eq!(rle.runs(true).collect::<Vec<_>>(), [1..3, 4..7]);
        assert_eq!(rle.column_runs(true).collect::<Vec<_>>(), [run(0, 1..3), run(1, 1..3), run(2, 0..1)]);
        assert_eq!(rle.column_runs(false).collect::<Vec<_>>(), [run(0, 0..1), run(1, 0..1), run(2, 1..3)]);
    }
}
