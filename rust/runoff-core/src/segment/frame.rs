//! A picture in the square frame of an encoder: sizes and coordinates.

/// A picture, or a crop of one, that is resized so that its longer side is `size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Width of the picture, in pixels.
    pub width: u32,
    /// Height of the picture, in pixels.
    pub height: u32,
    /// Side of the square, in pixels.
    pub size: u32,
}

impl Frame {
    /// Width and height of the resized picture, at least 1.
    #[must_use]
    pub fn scaled(self) -> (u32, u32) {
        let scale = f64::from(self.size) / f64::from(self.width.max(self.height));
        (round(f64::from(self.width) * scale), round(f64::from(self.height) * scale))
    }

    /// Converts a point of the picture to one of the resized picture, in float64.
    #[must_use]
    pub fn to_model(self, [x, y]: [f64; 2]) -> [f64; 2] {
        let (width, height) = self.scaled();
        [x * (f64::from(width) / f64::from(self.width)), y * (f64::from(height) / f64::from(self.height))]
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to the size, which is a u32")]
fn round(side: f64) -> u32 {
    ((side + 0.5) as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_side_becomes_the_size() {
        let scaled = |width, height| Frame { width, height, size: 1024 }.scaled();
        assert_eq!(scaled(1800, 1200), (1024, 683)); // 682.67
        assert_eq!(scaled(1200, 1800), (683, 1024));
        assert_eq!(scaled(10, 10), (1024, 1024));
        assert_eq!(scaled(10_000, 1), (1024, 1));
    }

    #[test]
    fn points_are_scaled_as_the_sides() {
        let [x, y] = Frame { width: 1800, height: 1200, size: 1024 }.to_model([900.0, 600.0]);
        assert!((x - 512.0).abs() < 1e-9 && (y - 341.5).abs() < 1e-9, "{x} {y}");
    }
}
