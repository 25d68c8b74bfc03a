//! Determines how the JPEG decoder was built, for programs to report.

#[path = "src/image/built.rs"]
mod built;

use std::path::Path;
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/image/built.rs");
    // the folder of the headers that `turbojpeg-sys` found or installed; unset for the system's headers
    let folders = env::var("DEP_TURBOJPEG_INCLUDE").unwrap_or_default();
    let mut headers = folders.split(',').map(|folder| Path::new(folder).join("jconfig.h"));
    let header = headers.find_map(|path| fs::read_to_string(path).ok());
    println!("cargo:rustc-env=RUNOFF_JPEG_DECODER={}", built::describe(&header.unwrap_or_default()));
}
