//! Treatment of denormal numbers by this thread.

use std::hint::black_box;

/// `kept`, or `flushed` to zero; tested with half of the smallest normal float32.
pub fn denormals() -> &'static str {
    if black_box(f32::MIN_POSITIVE) * black_box(0.5) == 0.0 { "flushed" } else { "kept" }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    #![allow(unsafe_code)]

    use std::arch::asm;
    use std::thread;

    use super::*;

    /// Sets this thread's SSE control register, MXCSR.
    fn set_control(value: u32) {
        // SAFETY: the register belongs to this thread, which does nothing else, and the value masks all exceptions.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const value, options(readonly, nostack)) };
    }

    #[test]
    fn both_ways_are_told_apart() {
        const DEFAULT: u32 = 0x1f80;
        const FLUSH_TO_ZERO: u32 = 1 << 15;
        let state = |control| {
            let thread = thread::spawn(move || {
                set_control(control);
                let state = denormals();
                set_control(DEFAULT);
                state
            });
            thread.join().expect("no panic")
        };
        assert_eq!(state(DEFAULT), "kept");
        assert_eq!(state(DEFAULT | FLUSH_TO_ZERO), "flushed");
    }
}
