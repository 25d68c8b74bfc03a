//! Copies the docstrings of the stub into the module: `help()` shows the same text as an editor.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

const STUB: &str = "python/runoff_ort/__init__.pyi";

fn main() {
    println!("cargo::rerun-if-changed={STUB}");
    let stub = fs::read_to_string(STUB).expect("the stub");
    let mut arms = String::new();
    for (name, text) in documented(&stub) {
        writeln!(arms, "    ({name:?}) => {{ {text:?} }};").expect("a string grows");
    }
    let code = format!("macro_rules! stub {{\n{arms}}}\n");
    fs::write(Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("stub.rs"), code).expect("a file");
}

/// The docstrings of a stub, each with the dotted name of its class or function. The module's has an empty name.
fn documented(stub: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let (mut class, mut name) = ("", String::new());
    let mut lines = stub.lines();
    while let Some(line) = lines.next() {
        let (code, indent) = (line.trim_start(), line.len() - line.trim_start().len());
        if indent == 0 && !code.is_empty() && !code.starts_with(['"', '@', ')']) {
            class = "";
        }
        if let Some(rest) = code.strip_prefix("class ") {
            class = identifier(rest);
            name = class.to_owned();
        } else if let Some(rest) = code.strip_prefix("def ") {
            let dot = if class.is_empty() { "" } else { "." };
            name = format!("{class}{dot}{}", identifier(rest));
        } else if let Some(rest) = code.strip_prefix("\"\"\"") {
            let text = docstring(rest, indent, &mut lines);
            // without a name it is an attribute's docstring, which Python never shows, or the first one: the module's
            if !name.is_empty() || all.is_empty() {
                all.push((std::mem::take(&mut name), text));
            }
        }
    }
    all
}

fn identifier(code: &str) -> &str {
    code.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap_or_default()
}

fn docstring<'a>(first: &str, indent: usize, lines: &mut impl Iterator<Item = &'a str>) -> String {
    if let Some(whole) = first.strip_suffix("\"\"\"") {
        return whole.to_owned();
    }
    let mut text = first.to_owned();
    for line in lines {
        let line = line.get(indent..).unwrap_or_default();
        if let Some(last) = line.strip_suffix("\"\"\"") {
            text.push_str(if last.is_empty() { "" } else { "\n" });
            text.push_str(last);
            break;
        }
        text.push('\n');
        text.push_str(line);
    }
    text.trim_end().to_owned()
}
