//! The HTTP server: one thread reads and writes, and hands requests to the workers.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use runoff_session::{Error, Kind};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use super::model::Model;
use super::server::Server;
use crate::process::raise_open_files;

/// How long requests in flight may take after the server was told to end.
pub const END_TIME: Duration = Duration::from_secs(25);

/// Largest headers of a request, in bytes.
const MAX_HEADERS: usize = 64 << 10;

/// Connections that the system keeps until they are accepted.
const BACKLOG: i32 = 1024;

/// Connections in addition to those whose requests wait.
const SPARE_CONNECTIONS: usize = 1024;

/// Files that are open in addition to connections.
const OTHER_FILES: usize = 64;

/// Serves `model` with so many `workers` until the future that `begin` returns is ready; it is called when connections are
/// accepted. Then answers the requests that are in flight, and calls `end` with the number of those that are not answered in
/// [`END_TIME`], or with the failure that is returned. Workers may still compute then, and are waited for.
///
/// # Errors
///
/// Those of [`Model::start`], of a worker, of `begin` and of the system.
pub fn serve<E: Future<Output = ()>>(
    model: &Model<'_>,
    workers: usize,
    server: &Arc<Server>,
    listener: TcpListener,
    begin: impl FnOnce() -> io::Result<E>,
    end: impl FnOnce(&Result<usize, Error>),
) -> Result<(), Error> {
    let (failed, failures) = unbounded_channel();
    let fail = |error| {
        // the server may have ended
        let _ = failed.send(error);
    };
    thread::scope(|scope| {
        let outcome = model.start(scope, workers, &server.queue, fail).and_then(|()| {
            let lost =
                |error: io::Error| Error::new(Kind::Internal, format!("the server failed: {error}"), "report this");
            run(server, listener, begin, failures).map_err(lost)
        });
        end(&outcome);
        // those that nobody waits for any more
        server.queue.clear();
        server.queue.close();
        outcome.map(drop)
    })
}

fn run<E: Future<Output = ()>>(
    server: &Arc<Server>,
    listener: TcpListener,
    begin: impl FnOnce() -> io::Result<E>,
    mut failures: UnboundedReceiver<Error>,
) -> io::Result<usize> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(async {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let graceful = Arc::new(GracefulShutdown::new());
        let accepting = tokio::spawn(accept(Arc::clone(server), listener, Arc::clone(&graceful)));
        let mut end = pin!(begin()?);
        let ended = poll_fn(|context| match failures.poll_recv(context) {
            Poll::Ready(Some(error)) => Poll::Ready(Err(io::Error::other(error.message))),
            _ => end.as_mut().poll(context).map(Ok),
        });
        ended.await?;
        server.state.is_ending.store(true, Ordering::Relaxed);
        accepting.abort();
        // closes the socket, so that clients are refused
        let _ = accepting.await;
        let shutdown = async {
            if let Some(graceful) = Arc::into_inner(graceful) {
                graceful.shutdown().await;
            }
        };
        let is_cut_off = timeout(END_TIME, shutdown).await.is_err();
        // a response that is not written yet is no longer in flight
        Ok(server.state.in_flight.load(Ordering::Relaxed).max(is_cut_off.into()))
    })
}

/// Accepts connections, and serves each in a task that `graceful` watches.
async fn accept(server: Arc<Server>, listener: tokio::net::TcpListener, graceful: Arc<GracefulShutdown>) {
    let most = server.max_queue.saturating_add(SPARE_CONNECTIONS).min(Semaphore::MAX_PERMITS);
    raise_open_files(most.saturating_add(OTHER_FILES));
    let places = Arc::new(Semaphore::new(most));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(server.idle_time).max_buf_size(MAX_HEADERS);
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // too many open files, or a client that has gone
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        configure(&stream);
        let server = Arc::clone(&server);
        let service = service_fn(move |request| {
            let server = Arc::clone(&server);
            async move { Ok::<_, Infallible>(server.respond(request).await) }
        });
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // a client that fails is of no interest to the others
            let _ = connection.await;
            drop(place);
        });
    }
}

/// Sends what is written at once, and ends the connection of a client that does not read. Where that is not possible, the
/// connection works too.
fn configure(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(super::server::BODY_TIME));
}

/// Listens on a port of an address or a name of this machine; returns the socket and its address.
///
/// # Errors
///
/// `bad-request`, naming it.
pub fn listen(host: &str, port: u16) -> Result<(TcpListener, SocketAddr), Error> {
    let bound = TcpListener::bind((host, port)).and_then(|listener| {
        // connections that wait to be accepted; the standard library's 128 are few for an open loop
        socket2::SockRef::from(&listener).listen(BACKLOG)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    bound.map_err(|error| {
        let reason = error.to_string();
        let message =
            format!("cannot listen on {host}:{port}: {}", reason.split(" (os error").next().unwrap_or_default());
        Error::new(Kind::BadRequest, message, "choose another --host or --port; port 0 is any that is free")
    })
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::serve::queue::{Limits, Queue};
    use crate::serve::server::{Parts, State};

    #[test]
    fn a_worker_that_fails_ends_the_server() {
        let server = Arc::new(Server {
            queue: Queue::new(Limits { batch: 1, wait: Duration::ZERO, queue: 1 }),
            max_queue: 1,
            labels: None,
            inputs: Parts::new(&[], Vec::new(), 1).expect("no inputs"),
            max_body: 1,
            idle_time: Duration::from_secs(1),
            state: State::default(),
        });
        let (listener, _) = listen("127.0.0.1", 0).expect("a port");
        let (failed, failures) = unbounded_channel();
        let begin = || {
            failed.send(Error::memory("a worker")).expect("a receiver");
            Ok(pending())
        };
        let error = run(&server, listener, begin, failures).expect_err("a failure");
        assert_eq!(error.to_string(), "not enough memory for a worker");
    }
}
