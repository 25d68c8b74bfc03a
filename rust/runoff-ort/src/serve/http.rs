//! The HTTP server: one thread reads and writes, and hands requests to the workers.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
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
use tokio::time::timeout;

use super::model::Model;
use super::server::Server;

/// How long requests in flight may take after the server was told to end.
pub const END_TIME: Duration = Duration::from_secs(25);

/// Largest headers of a request, in bytes.
const MAX_HEADERS: usize = 64 << 10;

/// Connections that the system keeps until they are accepted.
const BACKLOG: i32 = 1024;

/// Connections in addition to those whose requests wait.
const SPARE_CONNECTIONS: usize = 256;

/// Serves `model` with so many `workers` until the future that `begin` returns is ready; it is called when connections are
/// accepted. Then answers the requests that are in flight; returns the number of those that are not answered in [`END_TIME`].
///
/// # Errors
///
/// Those of `begin` and of the system.
pub fn serve<E: Future<Output = ()>>(
    model: &Model<'_>,
    workers: usize,
    server: &Arc<Server>,
    listener: TcpListener,
    begin: impl FnOnce() -> io::Result<E>,
) -> Result<usize, Error> {
    let outcome = thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| model.work(&server.queue));
        }
        let outcome = run(server, listener, begin);
        // those that nobody waits for any more
        server.queue.clear();
        server.queue.close();
        outcome
    });
    outcome.map_err(|error| Error::new(Kind::Internal, format!("the server failed: {error}"), "report this"))
}

fn run<E: Future<Output = ()>>(
    server: &Arc<Server>,
    listener: TcpListener,
    begin: impl FnOnce() -> io::Result<E>,
) -> io::Result<usize> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(async {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let graceful = Arc::new(GracefulShutdown::new());
        let accepting = tokio::spawn(accept(Arc::clone(server), listener, Arc::clone(&graceful)));
        begin()?.await;
        server.state.is_ending.store(true, Ordering::Relaxed);
        accepting.abort();
        // closes the socket, so that clients are refused
        let _ = accepting.await;
        if let Some(graceful) = Arc::into_inner(graceful) {
            let _ = timeout(END_TIME, graceful.shutdown()).await;
        }
        Ok(server.state.in_flight.load(Ordering::Relaxed))
    })
}

/// Accepts connections, and serves each in a task that `graceful` watches.
async fn accept(server: Arc<Server>, listener: tokio::net::TcpListener, graceful: Arc<GracefulShutdown>) {
    let most = server.max_queue.saturating_add(SPARE_CONNECTIONS).min(Semaphore::MAX_PERMITS);
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

/// Listens on a port of an address or a name of this machine.
///
/// # Errors
///
/// `bad-request`, naming it.
pub fn listen(host: &str, port: u16) -> Result<TcpListener, Error> {
    let bound = TcpListener::bind((host, port)).and_then(|listener| {
        // connections that wait to be accepted; the standard library's 128 are few for an open loop
        socket2::SockRef::from(&listener).listen(BACKLOG)?;
        Ok(listener)
    });
    bound.map_err(|error| {
        let reason = error.to_string();
        let message =
            format!("cannot listen on {host}:{port}: {}", reason.split(" (os error").next().unwrap_or_default());
        Error::new(Kind::BadRequest, message, "choose another --host or --port; port 0 is any that is free")
    })
}
