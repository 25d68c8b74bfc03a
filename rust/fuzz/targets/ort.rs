//! Models in ONNX Runtime's own format: any bytes must give a model that runs, or an error. ONNX Runtime parses them.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use runoff_session::{Buffer, Dtype, Environment, Error, Runtime, Session, Settings, Value, library_from_env};

/// Maximum number of elements of an input; dynamic dimensions are 1.
const MOST: usize = 1 << 12;

static RUNTIME: LazyLock<(Runtime, Environment)> = LazyLock::new(|| {
    let made = library_from_env().and_then(|library| Runtime::load(&library));
    let made = made.and_then(|runtime| runtime.make_environment().map(|environment| (runtime, environment)));
    made.unwrap_or_else(|error| panic!("{error}"))
});

fuzz_target!(|data: &[u8]| {
    if let Ok(session) = Session::open(&RUNTIME.1, &runoff_fuzz::file("model.ort", data), &Settings::default()) {
        let _ = run(&session);
    }
});

/// Runs the model on zeros.
fn run(session: &Session) -> Result<(), Error> {
    let mut given = Vec::new();
    for info in session.inputs() {
        let shape: Vec<usize> = info.shape.iter().map(|dim| dim.unwrap_or(1).min(MOST)).collect();
        let Some(dtype) = info.dtype.filter(|&dtype| dtype != Dtype::Str) else { return Ok(()) };
        if shape.iter().product::<usize>() > MOST {
            return Ok(());
        }
        given.push((dtype, Buffer::for_shape(dtype, &shape)?, shape));
    }
    let values = given.iter().map(value).collect::<Result<Vec<_>, _>>()?;
    session.run(&values).map(drop)
}

fn value((dtype, buffer, shape): &(Dtype, Buffer, Vec<usize>)) -> Result<Value<'_>, Error> {
    Value::over(*dtype, shape, buffer.bytes())
}
