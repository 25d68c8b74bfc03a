//! Threads of this process as the kernel reports them.

use std::fs;

/// Name for short-lived threads that run while a session is created: [`Session::threads`](crate::Session::threads) does
/// not count them.
pub const HELPER_THREAD: &str = "runoff-ahead";

/// Number of threads of this process, without helper threads; `None` if the kernel does not report it.
#[must_use]
pub fn thread_count() -> Option<usize> {
    let tasks = fs::read_dir("/proc/self/task").ok()?.filter_map(Result::ok);
    let is_helper = |name: String| name.trim_end() == HELPER_THREAD;
    Some(tasks.filter(|task| !fs::read_to_string(task.path().join("comm")).is_ok_and(is_helper)).count())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_threads() {
        assert!(thread_count().expect("tasks") >= 1);
    }

    #[test]
    fn helpers_fit_into_the_name_of_a_thread() {
        // The kernel keeps 15 bytes.
        assert!(HELPER_THREAD.len() <= 15);
    }
}
