//! Conversion of settings to ONNX Runtime's options.

use std::num::NonZeroUsize;

use ort::ep;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use super::PRECISIONS;
use crate::environment::Environment;
use crate::error::{Error, Kind};
use crate::settings::{Execution, Optimization, Settings};

/// Maximum number of threads of a session. ONNX Runtime truncates the number to 32 bits and takes 0 as "all"; it aborts
/// the process if the system cannot start another thread.
const MOST_THREADS: usize = 1024;

/// Maximum duration of spinning, in microseconds: a second. ONNX Runtime takes 32 bits.
const MOST_SPIN_US: usize = 1_000_000;
/// ONNX Runtime's own maximum.
const MOST_BACKOFF: usize = 64;

/// Checks the numbers of threads, and how long they spin.
///
/// # Errors
///
/// `bad-request` for too many.
pub fn check_threads(settings: &Settings) -> Result<(), Error> {
    let cores = "use as many as this machine has cores: nproc";
    check_number("threads", Some(settings.threads.get()), MOST_THREADS, cores)?;
    check_number("inter_threads", settings.inter_threads.map(NonZeroUsize::get), MOST_THREADS, cores)?;
    check_number("spin_duration_us", settings.spin_duration_us, MOST_SPIN_US, "1000 is usual")?;
    let backoff = settings.spin_backoff_max.map(NonZeroUsize::get);
    check_number("spin_backoff_max", backoff, MOST_BACKOFF, "8 is usual")
}

fn check_number(name: &str, number: Option<usize>, most: usize, hint: &str) -> Result<(), Error> {
    let too_many = |number| {
        let message = format!("settings.{name} is {number}, more than {most}");
        Err(Error::new(Kind::BadRequest, message, hint))
    };
    number.filter(|&number| number > most).map_or(Ok(()), too_many)
}

/// Checks the precision.
///
/// # Errors
///
/// `provider-unavailable` for an unknown one.
pub fn check_precision(settings: &Settings) -> Result<(), Error> {
    if !PRECISIONS.contains(&settings.precision.as_str()) {
        let message = format!("settings.precision is {:?}, not one of {}", settings.precision, PRECISIONS.join(", "));
        return Err(Error::new(Kind::ProviderUnavailable, message, "set precision = \"fp32\""));
    }
    Ok(())
}

/// Makes a builder with all settings except the provider.
pub fn configure(environment: &Environment, settings: &Settings) -> ort::Result<SessionBuilder> {
    let mut builder = ort::session::Session::builder(&environment.0)?.with_intra_threads(settings.threads.get())?;
    if let Some(threads) = settings.inter_threads {
        builder = builder.with_inter_threads(threads.get())?;
    }
    if let Some(level) = settings.optimization {
        builder = builder.with_optimization_level(graph_level(level))?;
    }
    if let Some(spinning) = settings.spinning {
        builder = builder.with_intra_op_spinning(spinning)?.with_inter_op_spinning(spinning)?;
    }
    for pool in ["intra_op", "inter_op"] {
        if let Some(spin_us) = settings.spin_duration_us {
            builder = builder.with_config_entry(format!("session.{pool}.spin_duration_us"), spin_us.to_string())?;
        }
        if let Some(backoff) = settings.spin_backoff_max {
            builder = builder.with_config_entry(format!("session.{pool}.spin_backoff_max"), backoff.to_string())?;
        }
    }
    if settings.force_spinning_stop {
        builder = builder.with_config_entry("session.force_spinning_stop", "1")?;
    }
    if let Some(prepacking) = settings.prepacking {
        builder = builder.with_prepacking(prepacking)?;
    }
    if let Some(execution) = settings.execution {
        builder = builder.with_parallel_execution(execution == Execution::Parallel)?;
    }
    if let Some(arena) = settings.arena {
        // Only if it is set: for `ort`, a CPU provider without an arena setting has no arena.
        let cpu = ep::CPU::default().with_arena_allocator(arena).build().error_on_failure();
        builder = builder.with_execution_providers([cpu])?;
    }
    for (name, side) in &settings.dimensions {
        builder = builder.with_dimension_override(name, i64::try_from(side.get()).unwrap_or(i64::MAX))?;
    }
    for (name, value) in &settings.config {
        builder = builder.with_config_entry(name, value)?;
    }
    Ok(builder)
}

/// ONNX Runtime's constant for a level.
pub const fn graph_level(level: Optimization) -> GraphOptimizationLevel {
    match level {
        Optimization::Disable => GraphOptimizationLevel::Disable,
        Optimization::Basic => GraphOptimizationLevel::Level1,
        Optimization::Extended => GraphOptimizationLevel::Level2,
        Optimization::Layout => GraphOptimizationLevel::Level3,
        Optimization::All => GraphOptimizationLevel::All,
    }
}
