//! Prompts as the decoder's inputs.

use super::frame::Frame;
use crate::protocol::Prompt;

/// Label of a point that only fills a place.
const PADDING: f32 = -1.0;
/// Labels of a box's corners: top left, bottom right.
const CORNERS: [f32; 2] = [2.0, 3.0];

/// Points for the decoder, in the frame of the encoder: `prompts` rows of equal length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Points {
    /// Number of prompts.
    pub prompts: usize,
    /// x and y of each point of each prompt.
    pub coords: Vec<f32>,
    /// Label of each point.
    pub labels: Vec<f32>,
}

impl Points {
    /// Replaces the content by one prompt: its points, and the corners of its box or, without a box, padding.
    pub fn set_prompt(&mut self, prompt: &Prompt, frame: Frame) {
        self.clear(1);
        for (&point, &label) in prompt.points.iter().zip(&prompt.labels) {
            self.push(frame.to_model(point), f32::from(label));
        }
        match prompt.bounds {
            Some([left, top, right, bottom]) => {
                self.push(frame.to_model([left, top]), CORNERS[0]);
                self.push(frame.to_model([right, bottom]), CORNERS[1]);
            }
            None => self.push([0.0; 2], PADDING),
        }
    }

    /// Replaces the content by a prompt for each of `points`: the point and padding.
    pub fn set_grid(&mut self, points: &[[f64; 2]], frame: Frame) {
        self.clear(points.len());
        for &point in points {
            self.push(frame.to_model(point), 1.0);
            self.push([0.0; 2], PADDING);
        }
    }

    fn clear(&mut self, prompts: usize) {
        self.prompts = prompts;
        self.coords.clear();
        self.labels.clear();
    }

    #[expect(clippy::cast_possible_truncation, reason = "the decoder's input is float32")]
    fn push(&mut self, [x, y]: [f64; 2], label: f32) {
        self.coords.extend([x as f32, y as f32]);
        self.labels.push(label);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Frame = Frame { width: 100, height: 50, size: 200 };

    #[test]
    fn a_box_takes_the_place_of_the_padding() {
        let mut points = Points::default();
        let mut prompt = Prompt { points: vec![[10.0, 5.0]], labels: vec![0], ..Prompt::default() };
        points.set_prompt(&prompt, FRAME);
        assert_eq!((points.coords.clone(), points.labels.clone()), (vec![20.0, 10.0, 0.0, 0.0], vec![0.0, -1.0]));
        prompt.bounds = Some([1.0, 2.0, 3.0, 4.0]);
        points.set_prompt(&prompt, FRAME);
        assert_eq!(points.coords, [20.0, 10.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(points.labels, [0.0, 2.0, 3.0]);
    }

    #[test]
    fn each_point_of_a_grid_is_a_prompt() {
        let mut points = Points::default();
        points.set_grid(&[[1.0, 2.0], [3.0, 4.0]], FRAME);
        let expected = vec![2.0, 4.0, 0.0, 0.0, 6.0, 8.0, 0.0, 0.0];
        assert_eq!(points, Points { prompts: 2, coords: expected, labels: vec![1.0, -1.0, 1.0, -1.0] });
    }
}
