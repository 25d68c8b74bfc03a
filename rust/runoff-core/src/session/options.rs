//! Conversion of settings to ONNX Runtime's options.

use std::num::NonZeroUsize;

use ort::environment::Environment;
use ort::ep;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use super::{Choice, Device, PRECISIONS, choice};
use crate::error::{Error, Kind};
use crate::protocol::{Execution, Optimization, Settings};

/// Maximum number of threads of a session. ONNX Runtime truncates the number to 32 bits and takes 0 as "all"; it aborts
/// the process if the system cannot start another thread.
const MOST_THREADS: usize = 1024;

/// Creates a builder with `settings`, and returns it with the device of its sessions. Settings that are `None` keep
/// ONNX Runtime's default.
///
/// # Errors
///
/// `bad-request` for too many threads, `provider-unavailable` or `runtime-failed`.
pub fn builder(environment: &Environment, settings: &Settings) -> Result<(SessionBuilder, Device), Error> {
    builder_for(environment, settings, &Choice::alone(&settings.provider))
}

/// As [`builder`], with providers in order of preference in place of the one that `settings` names: each takes what those
/// before it leave. Only where the CPU's is the last, it takes anything.
///
/// # Errors
///
/// As [`builder`], and `bad-request` for no provider, for one that is there twice or follows the CPU's, and for options
/// that cannot be any.
pub fn builder_for(
    environment: &Environment,
    settings: &Settings,
    choices: &[Choice],
) -> Result<(SessionBuilder, Device), Error> {
    check_threads("threads", Some(settings.threads))?;
    check_threads("inter_threads", settings.inter_threads)?;
    let device = choice::load(choices)?;
    check_precision(settings)?;
    let builder = configure(environment, settings).map_err(|error| Error::runtime("applying the settings", &error))?;
    Ok((choice::add(builder, settings, choices)?, device))
}

fn check_threads(name: &str, threads: Option<NonZeroUsize>) -> Result<(), Error> {
    let too_many = |threads| {
        let message = format!("settings.{name} is {threads}, more than {MOST_THREADS}");
        Err(Error::new(Kind::BadRequest, message, "use as many as this machine has cores: nproc"))
    };
    threads.filter(|threads| threads.get() > MOST_THREADS).map_or(Ok(()), too_many)
}

fn check_precision(settings: &Settings) -> Result<(), Error> {
    if !PRECISIONS.contains(&settings.precision.as_str()) {
        let message = format!("provider {:?} computes in fp32, not {:?}", settings.provider, settings.precision);
        return Err(Error::new(Kind::ProviderUnavailable, message, "set precision = \"fp32\""));
    }
    Ok(())
}

fn configure(environment: &Environment, settings: &Settings) -> ort::Result<SessionBuilder> {
    let mut builder = ort::session::Session::builder(environment)?.with_intra_threads(settings.threads.get())?;
    if let Some(threads) = settings.inter_threads {
        builder = builder.with_inter_threads(threads.get())?;
    }
    if let Some(level) = settings.optimization {
        builder = builder.with_optimization_level(match level {
            Optimization::Disable => GraphOptimizationLevel::Disable,
            Optimization::Basic => GraphOptimizationLevel::Level1,
            Optimization::Extended => GraphOptimizationLevel::Level2,
            Optimization::All => GraphOptimizationLevel::All,
        })?;
    }
    if let Some(spinning) = settings.spinning {
        builder = builder.with_intra_op_spinning(spinning)?.with_inter_op_spinning(spinning)?;
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
