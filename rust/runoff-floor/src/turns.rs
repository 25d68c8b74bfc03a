//! Inference on command: so many for each line on stdin, one line of durations for each on stdout.

use std::io::{self, BufRead, Write};

use runoff_core::clock::now_ns;
use runoff_core::error::{Error, Kind};

/// Inferences after the second that are not kept.
const WARMUP: usize = 20;

/// Infers once, keeping nothing; the duration in nanoseconds.
type Infer<'a> = &'a mut dyn FnMut() -> Result<u64, Error>;

/// Warms up, says `ready`, then answers every number on stdin until its end.
///
/// # Errors
///
/// Those of `infer`; `bad-request` for a line that is not a number; `internal` when stdin or stdout fails.
pub fn serve(infer: Infer) -> Result<(), Error> {
    for _ in 0..=WARMUP {
        infer()?;
    }
    say("ready")?;
    for line in io::stdin().lock().lines() {
        let line = line.map_err(|error| stream("read stdin", &error))?;
        let count = line.trim().parse::<usize>().map_err(|_| {
            let message = format!("stdin: {line:?} is not a number of inferences");
            Error::new(Kind::BadRequest, message, "write a whole number on each line")
        })?;
        say(&turn(infer, count)?)?;
    }
    Ok(())
}

/// Infers `count` times; the durations as a JSON array.
fn turn(infer: Infer, count: usize) -> Result<String, Error> {
    let durations = (0..count).map(|_| infer()).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("{durations:?}"))
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
