//! Inferences of one model or several, in turns, by one thread or several.

use std::io::{IsTerminal, Write, stderr};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use runoff_core::clock::now_ns;
use runoff_runner::malloc::keep_memory;
use runoff_session::{Buffers, Error, Kind, Parts, Results, Session, Value};

use crate::process::is_interrupted;
use crate::statistics;

/// Rounds that samples and time are spread over. In each, every model has one turn; ratios are paired by round.
const ROUNDS: usize = 25;

/// A turn that competes with others' lasts at least this long, so that few of its inferences find cold caches.
const SHORTEST_TURN: Duration = Duration::from_millis(20);

/// Most samples of a model: 400 MB.
const MOST_SAMPLES: usize = 10_000_000;

/// Most threads that call a session.
const MOST_CALLERS: usize = 1024;

/// Most seconds of `--min-time` and `--warmup-time`: a day.
const MOST_SECONDS: f64 = 86_400.0;

/// Flags for how much is measured.
#[derive(Debug, clap::Args)]
pub struct EffortArgs {
    /// Warm inferences of each model that are kept, at least.
    #[arg(long, value_name = "N", default_value = "100")]
    samples: NonZeroUsize,
    /// Time that they take, at least, or until there are ten million.
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    min_time: Duration,
    /// Inferences after the second that are run and not kept, at least.
    #[arg(long, value_name = "N", default_value = "8")]
    warmup: usize,
    /// Time that they take, at least.
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    warmup_time: Duration,
    /// Threads that call one session at the same time.
    #[arg(long, value_name = "N", default_value = "1")]
    pub concurrency: NonZeroUsize,
}

/// Reads a time in seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=MOST_SECONDS).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| format!("expected seconds, from 0 to {MOST_SECONDS}"))
}

impl EffortArgs {
    /// Checks the limits.
    ///
    /// # Errors
    ///
    /// `bad-request`, naming the flag.
    pub fn check(&self) -> Result<(), Error> {
        let numbers = [
            ("--samples", self.samples.get(), MOST_SAMPLES),
            ("--warmup", self.warmup, MOST_SAMPLES),
            ("--concurrency", self.concurrency.get(), MOST_CALLERS),
        ];
        numbers.into_iter().find(|(_, given, most)| given > most).map_or(Ok(()), |(flag, given, most)| {
            Err(Error::new(Kind::BadRequest, format!("{flag} {given}: more than {most}"), "use a smaller number"))
        })
    }

    /// What each caller does in the turns of `round`, of `rounds`.
    fn goal(&self, round: usize, rounds: usize, skipped: usize) -> Goal {
        let until = |round: usize| self.samples.get() * round / rounds;
        let samples = (until(round + 1) - until(round)).div_ceil(self.concurrency.get());
        let most = (MOST_SAMPLES / rounds / self.concurrency.get()).max(samples);
        let shortest = if skipped > 0 { SHORTEST_TURN } else { Duration::ZERO };
        Goal { samples, most, time: self.min_time.div_f64(statistics::to_f64(rounds)).max(shortest), skipped }
    }
}

/// What one caller does in a turn.
struct Goal {
    /// Samples to keep, at least.
    samples: usize,
    /// Samples to keep, at most.
    most: usize,
    /// Time to spend, at least.
    time: Duration,
    /// Inferences at the start that are not kept.
    skipped: usize,
}

/// How long one inference took, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub struct InferenceTimes {
    pub total_ns: u64,
    /// On a device.
    pub parts: Option<Parts>,
}

/// A thread's calls of a session.
struct Caller<'a> {
    session: &'a Session,
    items: &'a [Vec<Value<'a>>],
    next: usize,
    /// Tensors in the memory of the session's device, where it has one.
    buffers: Option<(Buffers, Results)>,
    kept: Vec<InferenceTimes>,
    /// Time from the first to the last kept inference of each turn, in all.
    span_ns: u64,
}

/// How the callers of a turn stand.
#[derive(Default)]
struct Together {
    started: AtomicUsize,
    done: AtomicUsize,
    failed: AtomicBool,
}

impl<'a> Caller<'a> {
    fn new(session: &'a Session, items: &'a [Vec<Value<'a>>]) -> Result<Self, Error> {
        let buffers = session.is_on_device().then(|| Buffers::new(session)).transpose()?;
        let buffers = buffers.map(|buffers| (buffers, Results::default()));
        Ok(Self { session, items, next: 0, buffers, kept: Vec::new(), span_ns: 0 })
    }

    /// Runs the model once, with room for another sample.
    fn call(&mut self) -> Result<InferenceTimes, Error> {
        self.kept.try_reserve(1).map_err(|_| Error::memory("the samples"))?;
        let values = &self.items[self.next % self.items.len()];
        self.next += 1;
        if let Some((buffers, results)) = &mut self.buffers {
            let parts = buffers.run(values, results)?;
            return Ok(InferenceTimes { total_ns: parts.total_ns(), parts: Some(parts) });
        }
        let begun_ns = now_ns();
        let outputs = self.session.run(values)?;
        let total_ns = now_ns() - begun_ns;
        drop(outputs);
        Ok(InferenceTimes { total_ns, parts: None })
    }

    /// Calls until each of `count` callers has reached the `goal`, and keeps what was measured while all of them called.
    fn turn(&mut self, goal: &Goal, together: &Together, count: usize) -> Result<(), Error> {
        let (mut skipped, mut kept, mut begun_ns, mut span_ns, mut is_done) = (0, 0, None, 0, false);
        together.started.fetch_add(1, Ordering::Relaxed);
        while together.done.load(Ordering::Relaxed) < count && !together.failed.load(Ordering::Relaxed) {
            let from_ns = now_ns();
            let all_call = together.started.load(Ordering::Relaxed) == count;
            let took = self.call().inspect_err(|_| together.failed.store(true, Ordering::Relaxed))?;
            if is_interrupted() {
                break;
            }
            if !all_call || is_done || skipped < goal.skipped {
                skipped += usize::from(all_call);
                continue;
            }
            self.kept.push(took);
            kept += 1;
            span_ns = now_ns() - *begun_ns.get_or_insert(from_ns);
            is_done = kept >= goal.most || kept >= goal.samples && Duration::from_nanos(span_ns) >= goal.time;
            together.done.fetch_add(usize::from(is_done), Ordering::Relaxed);
        }
        self.span_ns += span_ns;
        Ok(())
    }
}

/// A model that is measured.
pub struct Candidate<'a> {
    callers: Vec<Caller<'a>>,
    pub first_ns: u64,
    pub second_ns: u64,
    /// The median of each turn, in nanoseconds.
    pub rounds_ns: Vec<f64>,
}

impl<'a> Candidate<'a> {
    /// Runs the model for the first and the second time, and those that are not kept.
    ///
    /// # Errors
    ///
    /// Those of [`Session::run`] and [`Buffers::new`].
    pub fn warmed_up(session: &'a Session, items: &'a [Vec<Value<'a>>], effort: &EffortArgs) -> Result<Self, Error> {
        let callers =
            (0..effort.concurrency.get()).map(|_| Caller::new(session, items)).collect::<Result<Vec<_>, _>>()?;
        let mut candidate = Self { callers, first_ns: 0, second_ns: 0, rounds_ns: Vec::new() };
        candidate.first_ns = candidate.callers[0].call()?.total_ns;
        keep_memory();
        candidate.second_ns = candidate.callers[0].call()?.total_ns;
        let samples = effort.warmup.div_ceil(effort.concurrency.get());
        if samples > 0 || !effort.warmup_time.is_zero() {
            candidate.turn(&Goal { samples, most: MOST_SAMPLES, time: effort.warmup_time, skipped: 0 })?;
            candidate.callers.iter_mut().for_each(|caller| (caller.kept, caller.span_ns) = (Vec::new(), 0));
            candidate.rounds_ns.clear();
        }
        Ok(candidate)
    }

    /// What was kept: the calls of one thread after the other's.
    pub fn kept(&self) -> Vec<InferenceTimes> {
        self.callers.iter().flat_map(|caller| &caller.kept).copied().collect()
    }

    /// Inferences in a second, of all threads together.
    pub fn per_second(&self) -> f64 {
        let rate = |caller: &Caller<'_>| {
            statistics::to_f64(caller.kept.len()) * 1e9 / statistics::float(caller.span_ns.max(1))
        };
        self.callers.iter().map(rate).sum()
    }

    fn turn(&mut self, goal: &Goal) -> Result<(), Error> {
        let before: Vec<_> = self.callers.iter().map(|caller| caller.kept.len()).collect();
        let (count, together) = (self.callers.len(), Together::default());
        match &mut self.callers[..] {
            [only] => only.turn(goal, &together, count)?,
            several => call_at_once(several, goal, &together)?,
        }
        let kept = self.callers.iter().zip(before).flat_map(|(caller, before)| &caller.kept[before..]);
        let kept: Vec<u64> = kept.map(|took| took.total_ns).collect();
        self.rounds_ns.extend(statistics::median(&kept));
        Ok(())
    }
}

/// A turn of several callers, each on a thread of its own.
fn call_at_once(callers: &mut [Caller<'_>], goal: &Goal, together: &Together) -> Result<(), Error> {
    let count = callers.len();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for caller in callers {
            let started = thread::Builder::new().spawn_scoped(scope, move || caller.turn(goal, together, count));
            threads.push(started.map_err(|error| {
                together.failed.store(true, Ordering::Relaxed);
                let message = format!("--concurrency {count}: no more threads can be started: {error}");
                Error::new(Kind::BadRequest, message, "use a smaller number")
            })?);
        }
        let ended = threads.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err(Error::new(Kind::Internal, "a caller failed", "report this")))
        });
        ended.collect::<Vec<_>>().into_iter().collect()
    })
}

/// Measures the `candidates`: in each round, every one has a turn, in random order.
///
/// # Errors
///
/// Those of [`Session::run`].
pub fn measure(candidates: &mut [Candidate<'_>], effort: &EffortArgs, seed: u64) -> Result<(), Error> {
    let measured = take_turns(candidates, effort, seed);
    show_progress("");
    measured
}

fn take_turns(candidates: &mut [Candidate<'_>], effort: &EffortArgs, seed: u64) -> Result<(), Error> {
    let rounds = ROUNDS.min(effort.samples.get());
    // What follows the turn of another model finds its caches cold.
    let skipped = usize::from(candidates.len() > 1);
    let mut order: Vec<_> = (0..candidates.len()).collect();
    let mut random = Rng::with_seed(seed);
    for round in 0..rounds {
        random.shuffle(&mut order);
        for &place in &order {
            if is_interrupted() {
                return Ok(());
            }
            show_progress(&format!("round {} of {rounds}", round + 1));
            candidates[place].turn(&effort.goal(round, rounds, skipped))?;
        }
    }
    Ok(())
}

/// Replaces the line of progress, if a person sees it.
pub fn show_progress(line: &str) {
    if stderr().is_terminal() {
        // Nobody is told when this fails.
        let _ = write!(stderr(), "\r\x1b[K{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_share_the_samples_out() {
        for (samples, concurrency) in [(1, 1), (63, 1), (100, 1), (101, 4)] {
            let number = |number| NonZeroUsize::new(number).expect("not zero");
            let effort = EffortArgs {
                samples: number(samples),
                min_time: Duration::from_secs(5),
                warmup: 0,
                warmup_time: Duration::ZERO,
                concurrency: number(concurrency),
            };
            let rounds = ROUNDS.min(samples);
            let goals: Vec<_> = (0..rounds).map(|round| effort.goal(round, rounds, 0)).collect();
            let total = concurrency * goals.iter().map(|goal| goal.samples).sum::<usize>();
            assert!(goals.iter().all(|goal| goal.samples > 0 && goal.samples <= goal.most));
            assert!(total >= samples && (concurrency > 1 || total == samples), "{samples}: {total}");
            assert!(goals.iter().map(|goal| goal.time).sum::<Duration>().abs_diff(effort.min_time).as_nanos() < 1000);
        }
    }

    #[test]
    fn seconds_are_numbers_of_a_day_at_most() {
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        for text in ["NaN", "inf", "-1", "86401", "1e300", "", "1 s"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
