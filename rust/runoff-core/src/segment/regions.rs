//! Removal of small holes and islands of masks.

use std::ops::Range;

use super::rle::{ColumnRun, Rle};

/// The regions of a mask: runs that touch, also at corners.
struct Regions {
    runs: Vec<ColumnRun>,
    /// For each run, another of its region, or itself.
    parents: Vec<usize>,
}

impl Regions {
    /// Finds the regions of pixels on the mask, or off it (holes, and what surrounds the mask).
    fn of(rle: &Rle, is_on: bool) -> Self {
        let runs: Vec<_> = rle.column_runs(is_on).collect();
        let mut regions = Self { parents: (0..runs.len()).collect(), runs };
        let mut left = 0;
        for own in 0..regions.runs.len() {
            let ColumnRun { column, rows } = regions.runs[own].clone();
            // runs of the previous column; those that end above this one touch no later one either
            while left < own && is_passed(&regions.runs[left], column, rows.start) {
                left += 1;
            }
            for other in left..own {
                let before = &regions.runs[other];
                if before.column == column || before.rows.start > rows.end {
                    break;
                }
                regions.join(other, own);
            }
        }
        regions
    }

    fn root(&mut self, mut run: usize) -> usize {
        while self.parents[run] != run {
            self.parents[run] = self.parents[self.parents[run]];
            run = self.parents[run];
        }
        run
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.parents[a.max(b)] = a.min(b);
    }

    /// For each run, the number of pixels of its region and where OpenCV finds the region: in the first of its blocks of
    /// 2 x 2 pixels, row by row.
    fn measures(&mut self) -> Vec<(u32, (u32, u32))> {
        let mut totals = vec![(0, (u32::MAX, u32::MAX)); self.runs.len()];
        let roots: Vec<_> = (0..self.runs.len()).map(|run| self.root(run)).collect();
        for (ColumnRun { column, rows }, &root) in self.runs.iter().zip(&roots) {
            let (area, first) = &mut totals[root];
            *area += rows.end - rows.start;
            *first = (*first).min((rows.start / 2, column / 2));
        }
        roots.into_iter().map(|root| totals[root]).collect()
    }
}

/// Whether a run touches none that begins in the row `start` of `column`, or after that.
fn is_passed(run: &ColumnRun, column: u32, start: u32) -> bool {
    run.column + 1 < column || run.column + 1 == column && run.rows.end < start
}

/// Fills holes of fewer than `least` pixels, as segment-anything's `remove_small_regions`; `None` if there are none.
#[must_use]
pub fn fill_holes(rle: &Rle, least: u32) -> Option<Rle> {
    let mut holes = Regions::of(rle, false);
    let areas = holes.measures();
    let small = holes.runs.iter().zip(areas).filter(|(_, (area, _))| *area < least);
    let mut filled: Vec<_> = small.map(|(run, _)| flat(rle, run)).collect();
    if filled.is_empty() {
        return None;
    }
    filled.extend(rle.runs(true));
    filled.sort_unstable_by_key(|run| run.start);
    Some(Rle::of(rle.height, rle.width, filled))
}

/// Removes islands of fewer than `least` pixels, but not the largest; `None` if there are none.
///
/// Of several largest ones OpenCV's first remains.
#[must_use]
pub fn remove_islands(rle: &Rle, least: u32) -> Option<Rle> {
    let mut islands = Regions::of(rle, true);
    let measures = islands.measures();
    if measures.iter().all(|(area, _)| *area >= least) {
        return None;
    }
    let largest = measures.iter().copied().min_by_key(|&(area, first)| (u32::MAX - area, first));
    let is_any_large = largest.is_some_and(|(area, _)| area >= least);
    let is_kept = |own: (u32, (u32, u32))| if is_any_large { own.0 >= least } else { Some(own) == largest };
    let kept = islands.runs.iter().zip(measures).filter(|(_, own)| is_kept(*own));
    Some(Rle::of(rle.height, rle.width, kept.map(|(run, _)| flat(rle, run))))
}

/// A run as positions in column-major order.
fn flat(rle: &Rle, run: &ColumnRun) -> Range<u32> {
    let first = run.column * rle.height;
    first + run.rows.start..first + run.rows.end
}

#[cfg(test)]
mod tests {
    use super::super::rle::tests::drawn;
    use super::*;

    #[test]
    fn small_holes_are_filled_and_what_surrounds_the_mask_is_not() {
        let mask = drawn(&["......", ".####.", ".#.##.", ".####.", "......"]);
        let full = drawn(&["......", ".####.", ".####.", ".####.", "......"]);
        assert_eq!(fill_holes(&mask, 2), Some(full));
        assert_eq!(fill_holes(&mask, 1), None);
    }

    #[test]
    fn holes_that_touch_at_corners_are_one() {
        let mask = drawn(&["####", "#.##", "##.#", "####"]);
        assert_eq!(fill_holes(&mask, 2), None);
        assert_eq!(fill_holes(&mask, 3).expect("a hole of 2").counts, [0, 16]);
    }

    #[test]
    fn small_islands_are_removed() {
        let mask = drawn(&["##...#", "##....", "....#.", "...#.."]);
        assert_eq!(remove_islands(&mask, 2), Some(drawn(&["##....", "##....", "....#.", "...#.."])));
        assert_eq!(remove_islands(&mask, 3), Some(drawn(&["##....", "##....", "......", "......"])));
        assert_eq!(remove_islands(&mask, 1), None);
        // all are small: the largest remains
        assert_eq!(remove_islands(&mask, 9), Some(drawn(&["##....", "##....", "......", "......"])));
        assert_eq!(remove_islands(&drawn(&["..", ".."]), 9), None);
    }

    #[test]
    fn of_equal_islands_the_one_in_the_first_block_remains() {
        // in the order of pixels the right one comes first, in that of blocks the left one
        let mask = drawn(&["...#", "#...", "....", "...."]);
        assert_eq!(remove_islands(&mask, 5), Some(drawn(&["....", "#...", "....", "...."])));
    }

    #[test]
    fn a_region_may_go_around_others() {
        let ring = drawn(&["#####", "#...#", "#.#.#", "#...#", "#####"]);
        let mut regions = Regions::of(&ring, true);
        let areas: Vec<_> = regions.measures().into_iter().map(|(area, _)| area).collect();
        assert_eq!(areas, [16, 16, 16, 16, 1, 16, 16, 16, 16]);
    }
}
