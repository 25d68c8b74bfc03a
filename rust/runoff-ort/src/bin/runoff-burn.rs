//! Runs a program, then burns CPU for a share of the time that it took: a slow-down of known size.

#![forbid(unsafe_code)]

use std::env;
use std::ffi::OsString;
use std::hint::spin_loop;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

const USAGE: &str = "usage: runoff-burn SHARE PROGRAM [ARGUMENT...]";

/// Exit code of a bad command line.
const BAD_ARGUMENTS: u8 = 2;
/// Exit code when the program cannot be started, as shells have it.
const NOT_STARTED: u8 = 127;
/// What a shell adds to the number of the signal that ended a program.
const SIGNALLED: i32 = 128;

fn main() -> ExitCode {
    let (share, mut program) = match parse(env::args_os().skip(1)) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&format!("{message}\n{USAGE}"), BAD_ARGUMENTS),
    };
    let began = Instant::now();
    match program.status() {
        Ok(status) => {
            burn(began.elapsed().as_secs_f64() * share);
            exit_code(status)
        }
        Err(error) => fail(&format!("cannot start {}: {error}", program.get_program().display()), NOT_STARTED),
    }
}

fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<(f64, Command), String> {
    let share = arguments.next().ok_or("SHARE is missing")?;
    let share = share.to_string_lossy();
    let number = share.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    let number = number.ok_or_else(|| format!("SHARE is {share:?}, not a number from 0"))?;
    let mut program = Command::new(arguments.next().ok_or("PROGRAM is missing")?);
    program.args(arguments);
    Ok((number, program))
}

/// Keeps one core busy for so many seconds of wall time.
fn burn(seconds: f64) {
    let (began, length) = (Instant::now(), Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
    while began.elapsed() < length {
        spin_loop();
    }
}

/// The program's own, or 128 and the number of the signal that ended it.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| SIGNALLED + signal));
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

fn fail(message: &str, code: u8) -> ExitCode {
    eprintln!("runoff-burn: {message}");
    ExitCode::from(code)
}
