//! Preprocessing the first batch of images in a thread while the runtime starts and the model loads.

use std::path::PathBuf;
use std::thread::{Builder, JoinHandle};

use runoff_core::clock::now_ns;
use runoff_core::preprocess::Preprocessor;
use runoff_core::protocol::{Preprocess, Request, Workload};
use runoff_session::{Buffer, Dtype, Error, HELPER_THREAD, Kind};

/// A batch that a thread is preprocessing.
pub struct Prefetch(JoinHandle<Result<Begun, Error>>);

/// A preprocessed batch.
pub(crate) struct Begun {
    /// The preprocessor, for reuse.
    pub preprocessor: Preprocessor,
    /// float32, NCHW.
    pub elements: Buffer,
    /// Number of images.
    pub batch: usize,
    /// Duration in nanoseconds.
    pub took_ns: u64,
}

impl Prefetch {
    /// Starts a thread for the first `batch` images of `request`; `None` if the workload has none.
    pub(crate) fn begin(request: &Request, batch: usize) -> Result<Option<Self>, Error> {
        let (Workload::Classify, Some(preprocess)) = (request.workload, request.preprocess.clone()) else {
            return Ok(None);
        };
        let paths: Vec<PathBuf> = request.inputs.iter().filter_map(|item| item.image.clone()).collect();
        let thread = Builder::new().name(HELPER_THREAD.to_owned()).spawn(move || read(&preprocess, &paths, batch));
        let failed =
            |error| Error::new(Kind::Internal, format!("cannot start a thread: {error}"), "set overlap = false");
        thread.map(|thread| Some(Self(thread))).map_err(failed)
    }

    /// Waits for the batch.
    pub(crate) fn wait(self) -> Result<Begun, Error> {
        self.0.join().unwrap_or_else(|_| Err(Error::new(Kind::Internal, "prefetching images failed", "report this")))
    }
}

fn read(preprocess: &Preprocess, paths: &[PathBuf], batch: usize) -> Result<Begun, Error> {
    let begun_ns = now_ns();
    let mut preprocessor = Preprocessor::new(preprocess)?;
    let (len, side) = (preprocessor.tensor_len(), preprocessor.crop());
    let mut elements = Buffer::for_shape(Dtype::Float32, &[batch, 3, side, side])?;
    for (part, path) in elements.floats_mut().chunks_exact_mut(len).zip(paths.iter().cycle()) {
        preprocessor.load(path, part)?;
    }
    Ok(Begun { preprocessor, elements, batch, took_ns: now_ns() - begun_ns })
}
