//! Turns: iterations on demand, which interleave live runners.

use std::io::{self, BufRead, Write};

use runoff_session::{Error, Kind};
use serde::Serialize;

/// A command, from one line of stdin.
#[derive(Debug, PartialEq, Eq)]
pub enum TurnCommand {
    /// A turn: the first item of each iteration's batch.
    Turn(Vec<usize>),
    /// The outputs of the latest iteration.
    Outputs,
}

/// Writes `ready`, then responds to each line of stdin until its end; there are `count` items.
pub fn serve(count: usize, mut answer: impl FnMut(TurnCommand) -> Result<String, Error>) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    write_line(&mut stdout, "ready")?;
    for line in io::stdin().lock().split(b'\n') {
        let line = line.map_err(|error| lost("stdin", &error))?;
        let command = read(&String::from_utf8_lossy(&line), count)?;
        write_line(&mut stdout, &answer(command)?)?;
    }
    Ok(())
}

/// `message` as one line of JSON.
pub fn json(message: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(message).map_err(|error| lost("stdout", &error.into()))
}

fn read(line: &str, count: usize) -> Result<TurnCommand, Error> {
    if line.trim() == "outputs" {
        return Ok(TurnCommand::Outputs);
    }
    let item = |word: &str| {
        let item = word.parse().ok().filter(|item: &usize| *item < count && item.to_string() == word);
        item.ok_or_else(|| no_item(word, count))
    };
    line.split_ascii_whitespace().map(item).collect::<Result<_, _>>().map(TurnCommand::Turn)
}

fn no_item(word: &str, count: usize) -> Error {
    let shown: String = word.chars().take(80).collect();
    let message = format!("stdin: {shown:?} is not an index of the {count} items");
    Error::new(Kind::BadRequest, message, "a turn's line holds indices of items, or the word outputs")
}

fn write_line(stdout: &mut impl Write, line: &str) -> Result<(), Error> {
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).map_err(|error| lost("stdout", &error))
}

fn lost(stream: &str, error: &io::Error) -> Error {
    Error::new(Kind::Internal, format!("{stream}: {error}"), "keep both pipes open until the last turn")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_name_items_or_request_outputs() {
        let command = |line| read(line, 12).expect(line);
        assert_eq!(command("3 0 11"), TurnCommand::Turn(vec![3, 0, 11]));
        assert_eq!(command("  7\t7 \r"), TurnCommand::Turn(vec![7, 7]));
        assert_eq!(command(""), TurnCommand::Turn(Vec::new()));
        assert_eq!(command(" outputs\r"), TurnCommand::Outputs);
    }

    #[test]
    fn anything_else_is_a_bad_request() {
        for (line, word) in [("0 12", "12"), ("-1", "-1"), ("+1 1", "+1"), ("01", "01"), ("1 outputs", "outputs")] {
            let error = read(line, 12).expect_err(line);
            assert_eq!(error.kind, Kind::BadRequest);
            assert!(error.message.contains(&format!("{word:?} is not an index of the 12 items")), "{error}");
        }
        let error = read(&"9".repeat(500), 12).expect_err("too long");
        assert!(error.message.len() < 200, "{error}");
    }
}
