//! The phases of the process, without gaps.

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// Phases so far; each starts at the end of the previous one.
pub struct Phases {
    began_ns: u64,
    done: Vec<Value>,
}

impl Phases {
    /// Begins the first phase now.
    pub fn begin() -> Self {
        Self { began_ns: now_ns(), done: Vec::new() }
    }

    /// Adds the phase from the spawn to the program's own code.
    pub fn spawned(&mut self, spawn_ns: Option<u64>) {
        self.done.extend(spawn_ns.map(|ns| json!({"name": "start", "start_ns": ns, "end_ns": self.began_ns})));
    }

    /// Ends the phase `name` now.
    pub fn end(&mut self, name: &str) {
        let now = now_ns();
        self.done.push(json!({"name": name, "start_ns": self.began_ns, "end_ns": now}));
        self.began_ns = now;
    }

    /// The phases for the result.
    pub fn done(&self) -> &[Value] {
        &self.done
    }
}

/// The system's monotonic clock, the same for every process.
fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
