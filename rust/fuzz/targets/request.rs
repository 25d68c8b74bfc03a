//! Requests: any bytes must give a request, or an error that names a field.

#![no_main]

use libfuzzer_sys::fuzz_target;
use runoff_session::Kind;
use runoff_core::protocol::read_request;

fuzz_target!(|data: &[u8]| {
    if let Err(error) = read_request(&runoff_fuzz::file("request.json", data)) {
        assert_eq!(error.kind, Kind::BadRequest);
    }
});
