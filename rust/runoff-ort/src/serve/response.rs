//! Responses, and the reasons for those that fail.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use runoff_session::{Error, Kind};

/// A failed request.
pub struct Failure(pub StatusCode, pub Error);

/// A bad request.
pub fn bad(message: impl AsRef<str>, hint: impl Into<String>) -> Error {
    Error::new(Kind::BadRequest, message, hint)
}

/// A request that the server cannot take now.
pub fn unavailable(message: impl AsRef<str>) -> Failure {
    Failure(StatusCode::SERVICE_UNAVAILABLE, bad(message, "try again later"))
}

/// The status for a request that cannot be computed for a reason of `kind`.
pub const fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::ImageUnreadable | Kind::ImageTooLarge | Kind::BadRequest => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A response with `body`, of the media type `kind`.
pub fn plain(status: StatusCode, body: Bytes, kind: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// The response to a failed request.
pub fn failed(Failure(status, error): &Failure) -> Response<Full<Bytes>> {
    let body = serde_json::json!({"error": error.message, "hint": error.hint});
    let mut response = plain(*status, body.to_string().into(), "application/json");
    if *status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if matches!(*status, StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE) {
        // the rest of the body is not read
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
