//! Requests as lines on stdin, in the measure `load`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, BufRead};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use runoff_core::clock::{cpu_ns, now_ns};
use runoff_core::protocol::bad_request;
use runoff_runner::{Captured, Served, print};
use runoff_session::{Error, Kind};

use super::model::{Job, Model, Payload, Row, no_thread};
use super::queue::{Limits, Queue};

/// Maximum number of distinct outputs that are kept.
const MOST_KEPT: usize = 256;

/// What the thread that reads, and those that compute, share.
struct Pipe {
    queue: Queue<Job>,
    items: Vec<Payload>,
    /// By item and digest.
    kept: Mutex<BTreeMap<(usize, u32), Captured>>,
    /// Gets the end of stdin, or a failure.
    ended: Sender<Result<(), Error>>,
}

/// A line of stdin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line {
    id: u64,
    item: usize,
}

/// Writes `ready`, then responds to each line of stdin until its end.
///
/// # Errors
///
/// `bad-request` for another line, those of the first request that fails, and `internal` if stdout is closed.
pub fn serve(model: &Model<'_>, workers: usize, limits: Limits, items: Vec<Payload>) -> Result<Served, Error> {
    let (ended, outcomes) = channel();
    let (queue, kept) = (Queue::new(limits), Mutex::default());
    let pipe = Arc::new(Pipe { queue, items, kept, ended });
    write("ready\n")?;
    let before_ns = cpu_ns();
    let reader = Arc::clone(&pipe);
    // not joined: after a failure it may wait for a line that never comes
    let reading = thread::Builder::new().spawn(move || {
        let read = reader.read();
        reader.end(read);
    });
    reading.map_err(|error| no_thread(&error))?;
    let outcome = thread::scope(|scope| {
        let started = model.start(scope, workers, &pipe.queue, |error| pipe.end(Err(error)));
        let outcome = started.and_then(|()| outcomes.recv().unwrap_or(Ok(())));
        if outcome.is_err() {
            pipe.queue.clear();
        }
        pipe.queue.close();
        outcome
    });
    outcome?;
    // of requests that were computed after the end of stdin
    outcomes.try_iter().collect::<Result<(), Error>>()?;
    let kept = std::mem::take(&mut *pipe.lock_kept()).into_values().collect();
    Ok(Served { kept, cpu_ns: cpu_ns() - before_ns })
}

impl Pipe {
    fn read(self: &Arc<Self>) -> Result<(), Error> {
        for line in io::stdin().lock().lines() {
            let arrived_ns = now_ns();
            let line = parse(&line.map_err(|error| lost("stdin", &error))?, self.items.len())?;
            let (Line { id, item, .. }, pipe) = (line, Arc::clone(self));
            let reply = move |outputs: Result<Row<'_>, Error>| {
                let written = outputs.and_then(|row| pipe.respond(line, arrived_ns, row));
                written.unwrap_or_else(|error| pipe.end(Err(error)));
            };
            let job = Job::new(self.items[item].clone(), Box::new(reply));
            if let Err(job) = self.queue.push(job) {
                job.withdraw();
                write(&format!("{id} full\n"))?;
            }
        }
        Ok(())
    }

    fn respond(&self, line: Line, arrived_ns: u64, row: Row<'_>) -> Result<(), Error> {
        let (Line { id, item }, digest, batch) = (line, row.digest()?, row.batch);
        let mut kept = self.lock_kept();
        if !kept.contains_key(&(item, digest)) && kept.len() < MOST_KEPT {
            let prefix = Cow::Owned(format!("{digest:08x}."));
            kept.insert((item, digest), Captured { prefix, items: vec![item], tensors: row.tensors()? });
        }
        drop(kept);
        write(&format!("{id} {arrived_ns} {} {} {} {digest:08x}\n", batch.started_ns, batch.ended_ns, batch.count))
    }

    fn lock_kept(&self) -> std::sync::MutexGuard<'_, BTreeMap<(usize, u32), Captured>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, outcome: Result<(), Error>) {
        // later outcomes are not read
        let _ = self.ended.send(outcome);
    }
}

fn parse(line: &str, count: usize) -> Result<Line, Error> {
    let mut words = line.split_ascii_whitespace();
    let (id, item, rest) = (words.next(), words.next(), words.next());
    let id = id.and_then(|word| word.parse().ok());
    let item = item.and_then(|word| word.parse().ok()).filter(|&item| item < count);
    if let (Some(id), Some(item), None) = (id, item, rest) {
        return Ok(Line { id, item });
    }
    let shown: String = line.chars().take(80).collect();
    Err(bad_request(format!("stdin: {shown:?} is not ID ITEM, with {count} items")))
}

fn write(text: &str) -> Result<(), Error> {
    print(text).map_err(|error| lost("stdout", &error))
}

fn lost(stream: &str, error: &io::Error) -> Error {
    Error::new(Kind::Internal, format!("{stream}: {error}"), "keep both pipes open until the last response")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_number_and_an_item() {
        assert_eq!(parse("17 3", 4), Ok(Line { id: 17, item: 3 }));
        assert_eq!(parse(" 0\t0\r", 4), Ok(Line { id: 0, item: 0 }));
        for line in ["", "1", "1 4", "-1 0", "1 0 kept", "1 0 0", "a 0", "1.0 0"] {
            let error = parse(line, 4).expect_err(line);
            assert_eq!(error.kind, Kind::BadRequest);
            assert!(error.message.contains(&format!("{line:?}")), "{error}");
        }
        assert!(parse(&"9".repeat(500), 4).expect_err("too long").message.len() < 200);
    }
}
