//! The number of threads, tested in a separate process because other tests also start threads.

mod common;

use std::num::NonZeroUsize;

use common::{data, environment};
use runoff_session::{Session, Settings};

#[cfg(target_os = "linux")]
#[test]
fn threads_are_counted_not_repeated() {
    for threads in [1, 2, 4] {
        let settings = Settings { threads: NonZeroUsize::new(threads).expect("not zero"), ..Settings::default() };
        let session = Session::open(environment(), &data("add.onnx"), &settings).expect("a session");
        assert_eq!(session.threads(), Some(threads));
    }
}
