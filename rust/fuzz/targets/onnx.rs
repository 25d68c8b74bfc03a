//! ONNX files, as parsed by the core: any bytes must give a model with its weights in its folder, or an error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use runoff_session::onnx;

fuzz_target!(|data: &[u8]| {
    let path = runoff_fuzz::file("model.onnx", data);
    if let Ok(head) = onnx::read(&path) {
        let folder = path.parent().expect("a folder");
        assert!(head.external.iter().all(|file| file.starts_with(folder)));
    }
});
