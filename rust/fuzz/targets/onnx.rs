//! ONNX files, as far as the core reads them itself: any bytes are a model whose weights lie in its folder, or an error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use runoff_core::onnx;

fuzz_target!(|data: &[u8]| {
    let path = runoff_fuzz::file("model.onnx", data);
    if let Ok(head) = onnx::read(&path) {
        let folder = path.parent().expect("a folder");
        assert!(head.external.iter().all(|file| file.starts_with(folder)));
    }
});
