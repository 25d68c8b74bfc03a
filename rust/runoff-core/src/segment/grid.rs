//! Grids of points, and crops of a picture.

use crate::image::Part;
use crate::protocol::Segment;

/// Points evenly spaced in a part of a picture, row by row, `side` along each side, in pixels of that part.
///
/// The numbers are those of `numpy.linspace(1 / (2 * side), 1 - 1 / (2 * side), side)`, times the sides.
#[must_use]
pub fn points(side: u32, width: u32, height: u32) -> Vec<[f64; 2]> {
    let offset = 1.0 / f64::from(2 * side);
    let end = 1.0 - offset;
    let step = (end - offset) / f64::from(side.saturating_sub(1).max(1));
    let place = |index| if index > 0 && index + 1 == side { end } else { f64::from(index) * step + offset };
    let row = |y| (0..side).map(move |x| [place(x) * f64::from(width), place(y) * f64::from(height)]);
    (0..side).flat_map(row).collect()
}

/// The whole picture and its crops, each with its layer; crops come column by column. Some are empty if the picture is
/// too small for so many.
#[must_use]
pub fn crops(width: u32, height: u32, spec: &Segment) -> Vec<(Part, u32)> {
    let mut all = vec![(Part { left: 0, top: 0, width, height }, 0)];
    for layer in 1..=spec.crop_n_layers {
        let count = 1 << layer;
        let overlap = overlap(spec.crop_overlap_ratio, width.min(height), count);
        let across = spans(width, count, overlap);
        let down = spans(height, count, overlap);
        all.extend(across.iter().flat_map(|&(left, width)| {
            down.iter().map(move |&(top, height)| (Part { left, top, width, height }, layer))
        }));
    }
    all
}

/// Pixels that neighbouring crops share.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to the shorter side")]
fn overlap(ratio: f64, shorter: u32, count: u32) -> u32 {
    (ratio * f64::from(shorter) * (2.0 / f64::from(count))) as u32
}

/// Start and length of `count` spans along a side.
fn spans(side: u32, count: u32, overlap: u32) -> Vec<(u32, u32)> {
    let length = (overlap * (count - 1) + side).div_ceil(count);
    let span = |index: u32| {
        let start = (length - overlap) * index;
        (start, (start + length).min(side).saturating_sub(start))
    };
    (0..count).map(span).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_in_the_middle_of_cells() {
        assert_eq!(points(2, 8, 4), [[2.0, 1.0], [6.0, 1.0], [2.0, 3.0], [6.0, 3.0]]);
        assert_eq!(points(1, 8, 4), [[4.0, 2.0]]);
        assert_eq!(points(32, 1, 1).get(31), Some(&[0.984_375, 0.015_625]));
    }

    #[test]
    fn crops_overlap_and_cover_the_picture() {
        let spec = Segment { crop_n_layers: 1, crop_overlap_ratio: 0.25, ..Segment::default() };
        // 25 = 0.25 * 100 * 2 / 2; ceil((25 + 200) / 2) = 113, ceil((25 + 100) / 2) = 63
        let part = |left, top, width, height| Part { left, top, width, height };
        assert_eq!(
            crops(200, 100, &spec),
            [
                (part(0, 0, 200, 100), 0),
                (part(0, 0, 113, 63), 1),
                (part(0, 38, 113, 62), 1),
                (part(88, 0, 112, 63), 1),
                (part(88, 38, 112, 62), 1),
            ]
        );
    }

    #[test]
    fn crops_of_a_tiny_picture_may_be_empty() {
        let spec = Segment { crop_n_layers: 3, crop_overlap_ratio: 0.0, ..Segment::default() };
        assert!(crops(10, 10, &spec).iter().any(|(part, _)| part.width == 0));
    }
}
