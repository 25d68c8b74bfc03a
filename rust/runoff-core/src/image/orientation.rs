//! The orientation of the camera: the tag `Orientation` of EXIF and TIFF.

/// A value of the tag, from 1 to 8; anything else counts as 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orientation(u16);

const TAG: u16 = 0x0112;
const SHORT: u16 = 3;
/// The marker after which a JPEG file contains no metadata.
pub const START_OF_SCAN: u8 = 0xda;

impl Orientation {
    /// The image is stored upright.
    pub const UPRIGHT: Self = Self(1);

    /// The orientation for the TIFF value `tag`.
    pub fn from_tag(tag: u16) -> Self {
        if (1..=8).contains(&tag) { Self(tag) } else { Self::UPRIGHT }
    }

    /// The orientation in an EXIF block; upright if there is none.
    pub fn of(block: &[u8]) -> Self {
        read(block.strip_prefix(b"Exif\0\0").unwrap_or(block)).map_or(Self::UPRIGHT, Self::from_tag)
    }

    /// The orientation in the EXIF block of a JPEG file; upright if there is none.
    pub fn of_jpeg(file: &[u8]) -> Self {
        jpeg_exif(file).map_or(Self::UPRIGHT, Self::of)
    }

    /// Writes the image `from`, RGB of `width` x `height` pixels, upright into `to`; returns the new width and height.
    pub fn apply(self, from: &[u8], width: u32, height: u32, to: &mut Vec<u8>) -> (u32, u32) {
        let (across, down) = (index(width), index(height));
        // Values from 5: the stored rows are the columns of the upright image.
        let is_swapped = self.0 >= 5;
        let (new_across, new_down) = if is_swapped { (down, across) } else { (across, down) };
        let (from_right, from_bottom) = (matches!(self.0, 2 | 3 | 7 | 8), matches!(self.0, 3 | 4 | 6 | 7));
        let pixels = from.as_chunks::<3>().0;
        to.clear();
        to.reserve(from.len());
        for y in 0..new_down {
            for x in 0..new_across {
                let (column, row) = if is_swapped { (y, x) } else { (x, y) };
                let column = if from_right { across - 1 - column } else { column };
                let row = if from_bottom { down - 1 - row } else { row };
                to.extend_from_slice(&pixels[row * across + column]);
            }
        }
        if is_swapped { (height, width) } else { (width, height) }
    }
}

fn index(side: u32) -> usize {
    usize::try_from(side).unwrap_or(usize::MAX)
}

/// The EXIF block of a JPEG file, in a segment before the first scan.
fn jpeg_exif(file: &[u8]) -> Option<&[u8]> {
    let mut rest = file.get(2..)?;
    loop {
        let [0xff, marker, high, low, ..] = *rest else { return None };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let segment = rest.get(4..2 + length)?;
        match (marker, segment.strip_prefix(b"Exif\0\0")) {
            (0xe1, Some(block)) => return Some(block),
            (START_OF_SCAN, _) => return None,
            _ => rest = &rest[2 + length..],
        }
    }
}

/// The tag's value in the first directory of a TIFF structure; an EXIF block is one.
fn read(block: &[u8]) -> Option<u16> {
    let is_little = match block.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = [*block.get(at)?, *block.get(at + 1)?];
        Some(if is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let (high, low) = if is_little { (6, 4) } else { (4, 6) };
    let directory = usize::from(short(high)?) << 16 | usize::from(short(low)?);
    let entries = (0..usize::from(short(directory)?)).map(|number| directory + 2 + number * 12);
    let entry = entries.take_while(|&at| at < block.len()).find(|&at| short(at) == Some(TAG))?;
    if short(entry + 2) == Some(SHORT) { short(entry + 8) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LITTLE: &[u8] = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0";
    const BIG: &[u8] = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0";

    #[test]
    fn both_byte_orders_are_read_and_broken_blocks_are_upright() {
        assert_eq!(Orientation::of(LITTLE), Orientation(6));
        assert_eq!(Orientation::of(BIG), Orientation(8));
        for end in 0..18 {
            assert_eq!(Orientation::of(&LITTLE[..end]), Orientation::UPRIGHT);
        }
        assert_eq!(Orientation::from_tag(9), Orientation::UPRIGHT);
    }

    #[test]
    fn every_orientation_moves_the_pixels_of_a_2x3_image() {
        // Rows of the stored image: ab, cd, ef.
        let stored: Vec<u8> = (b'a'..=b'f').flat_map(|letter| [letter; 3]).collect();
        let upright = |value| {
            let mut to = vec![1; 40];
            let size = Orientation(value).apply(&stored, 2, 3, &mut to);
            (size, to.iter().step_by(3).map(|&letter| char::from(letter)).collect::<String>())
        };
        for (value, expected) in [(1, "abcdef"), (2, "badcfe"), (3, "fedcba"), (4, "efcdab")] {
            assert_eq!(upright(value), ((2, 3), expected.to_owned()), "{value}");
        }
        for (value, expected) in [(5, "acebdf"), (6, "ecafdb"), (7, "fdbeca"), (8, "bdface")] {
            assert_eq!(upright(value), ((3, 2), expected.to_owned()), "{value}");
        }
    }

    #[test]
    fn a_segment_that_reaches_beyond_the_file_is_no_exif_block() {
        assert_eq!(jpeg_exif(b"\xff\xd8\xff\xe1\x00\x0aExif\0\0II"), Some(&b"II"[..]));
        assert_eq!(jpeg_exif(b"\xff\xd8\xff\xe0\x00\x03x\xff\xe1\x00\x0aExif\0\0II"), Some(&b"II"[..]));
        for file in [&b"\xff\xd8\xff\xe1\x00\x0bExif\0\0II"[..], b"\xff\xd8\xff\xe1\x00\x00", b"\xff\xd8\xff\xd9", b""]
        {
            assert_eq!(jpeg_exif(file), None, "{file:?}");
        }
    }
}
