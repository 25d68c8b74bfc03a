//! Turns: iterations on demand, so that runners side by side can take them one after the other.

use std::io::{self, BufRead, Write};

use crate::error::{Error, Kind};

/// Says `ready`, then answers every line `N` on stdin with the durations of `N` iterations, until stdin ends.
///
/// `iterate` runs one and returns how long its inference took, in nanoseconds.
pub fn take(mut iterate: impl FnMut() -> Result<u64, Error>) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    tell(&mut stdout, "ready")?;
    for line in io::stdin().lock().lines() {
        let line = line.map_err(|error| lost("stdin", &error))?;
        let count: usize = line
            .trim()
            .parse()
            .map_err(|_| Error::bad_request(format!("stdin: {line:?} is not a number of iterations")))?;
        let durations = (0..count).map(|_| iterate()).collect::<Result<Vec<_>, _>>()?;
        tell(&mut stdout, &format!("{durations:?}"))?;
    }
    Ok(())
}

fn tell(stdout: &mut impl Write, line: &str) -> Result<(), Error> {
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).map_err(|error| lost("stdout", &error))
}

fn lost(stream: &str, error: &io::Error) -> Error {
    Error::new(Kind::Internal, format!("{stream}: {error}"), "whoever takes turns must keep both pipes open")
}
