//! Non-maximum suppression of boxes.

use std::cmp::Ordering;

use super::rle::Bounds;

/// Chooses boxes by descending score, each unless its IoU with one that was chosen is more than `threshold`; returns their
/// indices in that order. Equal scores keep their order.
///
/// As torchvision's `batched_nms` with one category: IoUs are float32, the threshold is float64.
#[must_use]
pub fn nms(boxes: &[Bounds], scores: &[f32], threshold: f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..boxes.len()).collect();
    order.sort_by(|&a, &b| descending(scores[a], scores[b]));
    let edges: Vec<[f32; 4]> = boxes.iter().map(floats).collect();
    let (mut is_dropped, mut kept) = (vec![false; boxes.len()], Vec::new());
    for (rank, &index) in order.iter().enumerate() {
        if is_dropped[index] {
            continue;
        }
        kept.push(index);
        for &other in &order[rank + 1..] {
            is_dropped[other] = is_dropped[other] || f64::from(iou(&edges[index], &edges[other])) > threshold;
        }
    }
    kept
}

/// Takes the items at `places`, in that order; each is there once.
#[must_use]
pub fn select<T>(items: Vec<T>, places: &[usize]) -> Vec<T> {
    let mut items: Vec<Option<T>> = items.into_iter().map(Some).collect();
    places.iter().filter_map(|&place| items[place].take()).collect()
}

/// torch's order: what is not a number comes first.
fn descending(a: f32, b: f32) -> Ordering {
    b.partial_cmp(&a).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

#[expect(clippy::cast_precision_loss, reason = "boxes are float32 in torchvision, too")]
fn floats(bounds: &Bounds) -> [f32; 4] {
    [bounds.left, bounds.top, bounds.right, bounds.bottom].map(|edge| edge as f32)
}

/// Not a number for two boxes without an area.
fn iou([left, top, right, bottom]: &[f32; 4], other: &[f32; 4]) -> f32 {
    let across = (right.min(other[2]) - left.max(other[0])).max(0.0);
    let down = (bottom.min(other[3]) - top.max(other[1])).max(0.0);
    let (own, inside) = ((right - left) * (bottom - top), across * down);
    inside / (own + (other[2] - other[0]) * (other[3] - other[1]) - inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(left: u32, right: u32) -> Bounds {
        Bounds { left, top: 0, right, bottom: 10 }
    }

    #[test]
    fn the_better_of_two_similar_boxes_remains() {
        // IoU of the first two: 9 / 11 = 0.82
        let boxes = [bounds(0, 10), bounds(1, 11), bounds(20, 30)];
        assert_eq!(nms(&boxes, &[0.5, 0.9, 0.7], 0.8), [1, 2]);
        assert_eq!(nms(&boxes, &[0.5, 0.9, 0.7], 0.82), [1, 2, 0]);
        assert_eq!(nms(&[], &[], 0.5), [] as [usize; 0]);
    }

    #[test]
    fn a_dropped_box_drops_no_other() {
        // 0 drops 1, which would drop 2
        let boxes = [bounds(0, 10), bounds(3, 13), bounds(6, 16)];
        assert_eq!(nms(&boxes, &[0.9, 0.8, 0.7], 0.5), [0, 2]);
    }

    #[test]
    fn equal_scores_keep_their_order_and_points_drop_nothing() {
        let point = Bounds { left: 5, top: 5, right: 5, bottom: 5 };
        assert_eq!(nms(&[point; 3], &[0.5, 0.5, 0.6], 0.5), [2, 0, 1]);
        assert_eq!(select(vec!["a", "b", "c"], &[2, 0]), ["c", "a"]);
        assert_eq!(descending(f32::NAN, 1.0), Ordering::Less);
    }
}
