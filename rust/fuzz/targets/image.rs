//! Image files: any bytes must give a tensor or an error.

#![no_main]

use std::num::NonZeroU32;

use libfuzzer_sys::fuzz_target;
use runoff_core::preprocess::Preprocessor;
use runoff_core::protocol::{Interpolation, Preprocess};

/// Derives the preprocessing from the last bytes of the image, so the input consists only of the image.
fn spec(data: &[u8]) -> Preprocess {
    let last = data.last_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let crop = NonZeroU32::MIN.saturating_add(last % 32);
    Preprocess {
        crop,
        resize: crop.saturating_add(last >> (last % 32)),
        interpolation: if last & 64 == 0 { Interpolation::Bilinear } else { Interpolation::Bicubic },
        mean: [0.0; 3],
        std: [1.0; 3],
    }
}

fuzz_target!(|data: &[u8]| {
    let mut preprocessor = Preprocessor::new(&spec(data)).expect("a spec that fits");
    let mut tensor = vec![-1.0; preprocessor.tensor_len()];
    if preprocessor.load(&runoff_fuzz::file("image", data), &mut tensor).is_ok() {
        assert!(tensor.iter().all(|value| (0.0..=255.0).contains(value)));
    }
});
