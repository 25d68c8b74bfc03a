//! A bounded queue of requests, from which workers take batches.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A request that may be computed together with others.
pub trait Joinable {
    /// Whether this request can be in one batch with `first`.
    fn joins(&self, first: &Self) -> bool;
}

/// Limits of a queue.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Maximum number of requests in a batch.
    pub batch: usize,
    /// How long the oldest request waits for others to fill a batch.
    pub wait: Duration,
    /// Maximum number of requests that wait.
    pub queue: usize,
}

/// Identifies a request, so that it can be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// A queue with any number of producers and workers.
pub struct Queue<T> {
    limits: Limits,
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    /// Oldest first, so by ticket.
    waiting: VecDeque<Waiting<T>>,
    next: u64,
    /// Maximum number of requests in a batch.
    batch: usize,
    is_closed: bool,
}

struct Waiting<T> {
    ticket: Ticket,
    /// When a batch no longer waits for others on account of this request.
    due: Instant,
    request: T,
}

impl<T: Joinable> Queue<T> {
    pub fn new(limits: Limits) -> Self {
        let state = State { waiting: VecDeque::new(), next: 0, batch: limits.batch, is_closed: false };
        Self { limits, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Adds a request.
    ///
    /// # Errors
    ///
    /// The request, if the queue is full or closed.
    pub fn push(&self, request: T) -> Result<Ticket, T> {
        let due = Instant::now() + self.limits.wait;
        let mut state = self.lock();
        if state.is_closed || state.waiting.len() >= self.limits.queue {
            return Err(request);
        }
        let ticket = Ticket(state.next);
        state.next += 1;
        state.waiting.push_back(Waiting { ticket, due, request });
        drop(state);
        self.changed.notify_one();
        Ok(ticket)
    }

    /// Removes a request that no worker has taken yet.
    pub fn cancel(&self, ticket: Ticket) {
        let mut state = self.lock();
        let found = state.waiting.binary_search_by_key(&ticket, |waiting| waiting.ticket);
        let removed = found.ok().and_then(|index| state.waiting.remove(index));
        drop(state);
        drop(removed);
    }

    /// Waits for requests; returns the oldest and those that join it, oldest first. A batch is complete if it is full, if none
    /// can join it, if its oldest request has waited long enough, or if the queue is closed. Returns `None` once that is so and
    /// none is left.
    pub fn take(&self) -> Option<Vec<T>> {
        let mut state = self.lock();
        loop {
            let Some(oldest) = state.waiting.front() else {
                if state.is_closed {
                    return None;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let joins = |waiting: &&Waiting<T>| waiting.request.joins(&oldest.request);
            let count = || state.waiting.iter().filter(joins).take(state.batch).count();
            // two requests that do not join themselves do not join each other either
            let is_full = !joins(&oldest) || count() == state.batch;
            let left = if is_full { Duration::ZERO } else { oldest.due.saturating_duration_since(Instant::now()) };
            if left.is_zero() || state.is_closed {
                let most = state.batch;
                let batch = state.take(most);
                let is_more = !state.waiting.is_empty();
                drop(state);
                if is_more {
                    // the push of these requests may have woken this worker
                    self.changed.notify_one();
                }
                return Some(batch);
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Number of requests that wait.
    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Has requests taken one by one from now on; returns whether they were not.
    pub fn stop_batching(&self) -> bool {
        let before = std::mem::replace(&mut self.lock().batch, 1);
        self.changed.notify_all();
        before > 1
    }

    /// Refuses further requests; workers take what waits, then get `None`.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Removes all requests that wait.
    pub fn clear(&self) {
        let removed = std::mem::take(&mut self.lock().waiting);
        drop(removed);
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Joinable> State<T> {
    /// Removes the oldest request and up to `most - 1` that join it.
    fn take(&mut self, most: usize) -> Vec<T> {
        let mut batch: Vec<T> = self.waiting.pop_front().map(|waiting| waiting.request).into_iter().collect();
        let mut index = 0;
        while batch.len() < most && index < self.waiting.len() {
            if self.waiting[index].request.joins(&batch[0]) {
                batch.extend(self.waiting.remove(index).map(|waiting| waiting.request));
            } else {
                index += 1;
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// A shape and a number; the shape - joins no other.
    impl Joinable for (char, u32) {
        fn joins(&self, first: &Self) -> bool {
            self.0 == first.0 && self.0 != '-'
        }
    }

    fn queue(batch: usize, wait_ms: u64, queue: usize) -> Queue<(char, u32)> {
        Queue::new(Limits { batch, wait: Duration::from_millis(wait_ms), queue })
    }

    fn push(queue: &Queue<(char, u32)>, requests: &[(char, u32)]) -> Vec<Ticket> {
        requests.iter().map(|&request| queue.push(request).expect("room")).collect()
    }

    #[test]
    fn batches_are_the_oldest_that_fit_in_order() {
        let queue = queue(3, 0, 9);
        push(&queue, &[('a', 0), ('b', 1), ('a', 2), ('b', 3), ('a', 4), ('a', 5)]);
        assert_eq!(queue.take(), Some(vec![('a', 0), ('a', 2), ('a', 4)]));
        assert_eq!(queue.take(), Some(vec![('b', 1), ('b', 3)]));
        assert_eq!(queue.take(), Some(vec![('a', 5)]));
    }

    #[test]
    fn a_full_queue_refuses_until_a_request_is_taken_or_cancelled() {
        let queue = queue(1, 0, 2);
        let tickets = push(&queue, &[('a', 0), ('a', 1)]);
        assert_eq!(queue.push(('a', 2)), Err(('a', 2)));
        queue.cancel(tickets[0]);
        queue.cancel(tickets[0]);
        assert_eq!(queue.len(), 1);
        push(&queue, &[('a', 3)]);
        assert_eq!(queue.push(('a', 4)), Err(('a', 4)));
        assert_eq!((queue.take(), queue.take()), (Some(vec![('a', 1)]), Some(vec![('a', 3)])));
        queue.cancel(tickets[1]);
        assert_eq!(queue.push(('a', 5)).map(drop), Ok(()));
    }

    #[test]
    fn the_oldest_waits_for_others_no_longer_than_the_limit() {
        let queue = queue(2, 50, 9);
        let begun = Instant::now();
        push(&queue, &[('a', 0)]);
        assert_eq!(queue.take(), Some(vec![('a', 0)]));
        assert!(begun.elapsed() >= Duration::from_millis(50));
        // a full batch does not wait: this test would take an hour
        let queue = self::queue(2, 3_600_000, 9);
        thread::scope(|scope| {
            let workers: Vec<_> = (0..3).map(|_| scope.spawn(|| queue.take())).collect();
            push(&queue, &[('a', 0), ('b', 1), ('b', 2), ('a', 3)]);
            while queue.len() > 0 {
                thread::yield_now();
            }
            queue.close();
            let mut batches: Vec<_> =
                workers.into_iter().filter_map(|worker| worker.join().expect("a batch")).collect();
            batches.sort_unstable();
            assert_eq!(batches, [[('a', 0), ('a', 3)], [('b', 1), ('b', 2)]]);
        });
    }

    #[test]
    fn a_request_that_joins_no_other_does_not_wait() {
        for batch in [1, 8] {
            // if it does, this test takes an hour
            let queue = queue(batch, 3_600_000, 9);
            push(&queue, &[('-', 0), ('-', 1), ('a', 2)]);
            assert_eq!((queue.take(), queue.take()), (Some(vec![('-', 0)]), Some(vec![('-', 1)])));
            assert_eq!(queue.stop_batching(), batch == 8);
            assert!(!queue.stop_batching());
            assert_eq!(queue.take(), Some(vec![('a', 2)]));
        }
    }

    #[test]
    fn a_closed_queue_is_emptied_at_once() {
        let queue = queue(8, 3_600_000, 9);
        push(&queue, &[('a', 0), ('a', 1)]);
        queue.close();
        assert_eq!(queue.push(('a', 2)), Err(('a', 2)));
        assert_eq!((queue.take(), queue.take()), (Some(vec![('a', 0), ('a', 1)]), None));
        let queue = self::queue(8, 0, 9);
        push(&queue, &[('a', 0)]);
        queue.clear();
        queue.close();
        assert_eq!(queue.take(), None);
    }

    #[test]
    fn many_threads_lose_nothing() {
        let queue = queue(4, 1, 1 << 20);
        let taken = Mutex::new(Vec::new());
        let work = || {
            while let Some(batch) = queue.take() {
                assert!(batch.len() <= 4);
                taken.lock().expect("numbers").extend(batch);
            }
        };
        thread::scope(|scope| {
            (0..3).for_each(|_| drop(scope.spawn(work)));
            thread::scope(|scope| {
                for part in 0..3 {
                    let queue = &queue;
                    scope.spawn(move || (0..1000).all(|each| queue.push(('a', part * 1000 + each)).is_ok()));
                }
            });
            queue.close();
        });
        let mut taken = taken.into_inner().expect("numbers");
        taken.sort_unstable();
        assert!(taken.into_iter().eq((0..3000).map(|number| ('a', number))));
    }
}
