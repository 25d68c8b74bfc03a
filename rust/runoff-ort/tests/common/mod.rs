//! What the tests of the programs share.

use std::fs::File;
use std::path::{Path, PathBuf};

/// A file of the core's test data.
pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../runoff-session/tests/data").join(name)
}

/// Writes a small PNG file of one colour.
pub fn write_image(path: &Path, colour: [u8; 3]) {
    let file = File::create(path).expect("a file");
    let mut encoder = png::Encoder::new(file, 16, 12);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().expect("a header");
    writer.write_image_data(&colour.repeat(16 * 12)).expect("data");
    writer.finish().expect("an end");
}
