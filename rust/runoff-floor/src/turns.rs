//! Inference on command, as the protocol's measure `turns` has it, on the one image that there is: item 0.

use std::io::{self, BufRead, Write};

use runoff_core::clock::now_ns;
use runoff_core::error::{Error, Kind};

/// Inferences after the second that are not kept.
const WARMUP: usize = 20;

/// Infers once, keeping nothing; the duration in nanoseconds.
type Infer<'a> = &'a mut dyn FnMut() -> Result<u64, Error>;

/// Warms up, says `ready`, then answers every line of zeros on stdin with as many durations, until its end.
///
/// # Errors
///
/// Those of `infer`; `bad-request` for a word that is not 0; `internal` when stdin or stdout fails.
pub fn serve(infer: Infer) -> Result<(), Error> {
    for _ in 0..=WARMUP {
        infer()?;
    }
    say("ready")?;
    for line in io::stdin().lock().lines() {
        let line = line.map_err(|error| stream("read stdin", &error))?;
        say(&turn(infer, &line)?)?;
    }
    Ok(())
}

/// Infers for each word of `line`; the durations as JSON.
fn turn(infer: Infer, line: &str) -> Result<String, Error> {
    let durations = line
        .split_ascii_whitespace()
        .map(|word| if word == "0" { infer() } else { Err(no_item(word)) })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(format!("{{\"inference\": {durations:?}}}"))
}

fn no_item(word: &str) -> Error {
    let message = format!("stdin: {word:?} is no item: there is one image, 0");
    Error::new(Kind::BadRequest, message, "write a 0 for each inference of a turn")
}

/// Times `work` alone, in nanoseconds; what it gives is dropped after the clock was read.
///
/// # Errors
///
/// Those of `work`.
pub fn timed<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<u64, Error> {
    let start = now_ns();
    let made = work();
    let end = now_ns();
    made.map(|_| end - start)
}

/// Writes a line to stdout, flushed.
///
/// # Errors
///
/// `internal` when nobody reads it.
pub fn say(line: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).map_err(|error| stream("write to stdout", &error))
}

fn stream(what: &str, error: &io::Error) -> Error {
    Error::new(Kind::Internal, format!("cannot {what}: {error}"), "keep both open until the program ends")
}
