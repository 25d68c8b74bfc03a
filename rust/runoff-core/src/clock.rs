//! Timestamps that are comparable between processes, and the phases of a runner.

use crate::memory;
use crate::protocol::{Measure, Memory, Once, Phase};

/// Reads the clock of Python's `time.monotonic_ns`, in nanoseconds: `CLOCK_MONOTONIC`.
#[cfg(not(target_os = "macos"))]
#[must_use]
pub fn now_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    nanoseconds(time.tv_sec, time.tv_nsec)
}

/// Reads the clock of Python's `time.monotonic_ns`, in nanoseconds: `CLOCK_UPTIME_RAW`, which stops while the machine
/// sleeps. `CLOCK_MONOTONIC` on macOS does not.
#[cfg(target_os = "macos")]
#[must_use]
#[allow(unsafe_code)]
pub fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the function writes to a local, and every version of macOS has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_UPTIME_RAW, &raw mut time) };
    nanoseconds(time.tv_sec, time.tv_nsec)
}

/// CPU time of all threads of this process, of user and system, in nanoseconds.
#[must_use]
pub fn cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    nanoseconds(time.tv_sec, time.tv_nsec)
}

fn nanoseconds(seconds: impl TryInto<u64>, rest: impl TryInto<u64>) -> u64 {
    seconds.try_into().unwrap_or_default() * 1_000_000_000 + rest.try_into().unwrap_or_default()
}

/// What is read after each phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// The time only.
    Time,
    /// The resident set size too.
    Resident,
    /// Resident memory by mapping, and the peak.
    Mappings,
}

impl Reading {
    /// What `measure` needs.
    #[must_use]
    pub fn of(measure: &Measure) -> Self {
        match measure {
            Measure::Once(Once { memory: true }) => Self::Resident,
            Measure::Mappings(_) => Self::Mappings,
            _ => Self::Time,
        }
    }
}

/// Phases without gaps: each starts at the end of the previous one.
#[derive(Debug)]
pub struct Phases {
    marks: Vec<Phase>,
    last_ns: u64,
    reading: Reading,
    memory: Memory,
}

impl Phases {
    /// Starts at `entry_ns`, the time of the first line of the runner's own code.
    ///
    /// With `spawn_ns`, the first phase is `start`, from `spawn_ns` to `entry_ns`. The time of a `reading` is part of the
    /// next phase.
    #[must_use]
    pub fn begin(spawn_ns: Option<u64>, entry_ns: u64, reading: Reading) -> Self {
        let mut phases = Self {
            marks: Vec::with_capacity(8),
            last_ns: spawn_ns.unwrap_or(entry_ns),
            reading,
            memory: Memory::default(),
        };
        if spawn_ns.is_some() {
            phases.mark_at("start", entry_ns);
        }
        phases
    }

    /// Ends the phase `name` now.
    pub fn mark(&mut self, name: &str) {
        self.mark_at(name, now_ns());
    }

    /// Ends the phase `name` at `end_ns`.
    pub fn mark_at(&mut self, name: &str, end_ns: u64) {
        self.marks.push(Phase { name: name.to_owned(), start_ns: self.last_ns, end_ns });
        self.last_ns = end_ns;
        match self.reading {
            Reading::Time => {}
            Reading::Resident => {
                self.memory.after.extend(memory::resident_bytes().map(|bytes| (name.to_owned(), bytes)));
            }
            Reading::Mappings => {
                self.memory.peak_after.extend(memory::peak_bytes().map(|bytes| (name.to_owned(), bytes)));
                self.memory.mappings.extend(memory::mappings().map(|found| (name.to_owned(), found)));
            }
        }
    }

    /// The phases so far, and the memory after each (none unless requested) with the peak.
    #[must_use]
    pub fn finish(self) -> (Vec<Phase>, Memory) {
        // The kernel notes the peak before pages are released, from counters that lag behind by some pages.
        let peak_bytes = memory::peak_bytes().max(self.memory.after.values().max().copied());
        (self.marks, Memory { peak_bytes, ..self.memory })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_clock_does_not_go_back() {
        let first = now_ns();
        assert!(first > 0);
        assert!(now_ns() >= first);
    }

    #[test]
    fn start_is_left_out_without_a_spawn_time() {
        let mut phases = Phases::begin(None, 5, Reading::Time);
        phases.mark_at("load", 7);
        let (marks, memory) = phases.finish();
        assert_eq!(marks, [Phase { name: "load".into(), start_ns: 5, end_ns: 7 }]);
        assert!(memory.after.is_empty());
    }

    #[test]
    fn memory_is_read_after_each_phase_when_asked_for() {
        let mut phases = Phases::begin(Some(1), 2, Reading::Resident);
        phases.mark("load");
        let (_, Memory { after, .. }) = phases.finish();
        if cfg!(target_os = "linux") {
            assert_eq!(after.keys().collect::<Vec<_>>(), ["load", "start"]);
            assert!(after.values().all(|&bytes| bytes > 0));
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn mappings_are_read_after_each_phase_when_asked_for() {
        let mut phases = Phases::begin(None, 2, Reading::Mappings);
        phases.mark("load");
        let (_, memory) = phases.finish();
        let resident: u64 = memory.mappings["load"].values().sum();
        assert!(memory.mappings["load"].keys().any(|name| name.starts_with('/')));
        assert!(resident > memory.peak_after["load"] / 2);
    }

    proptest! {
        #[test]
        fn phases_add_up(spawn in 0_u64..1_000, steps in prop::collection::vec(0_u64..1_000, 1..9)) {
            let entry = spawn + steps[0];
            let mut phases = Phases::begin(Some(spawn), entry, Reading::Time);
            let mut end = entry;
            for step in &steps[1..] {
                end += step;
                phases.mark_at("x", end);
            }
            let (marks, _) = phases.finish();
            prop_assert_eq!(marks[0].start_ns, spawn);
            prop_assert!(marks.windows(2).all(|pair| pair[0].end_ns == pair[1].start_ns));
            let total: u64 = marks.iter().map(|phase| phase.end_ns - phase.start_ns).sum();
            prop_assert_eq!(total, end - spawn);
        }
    }
}
