//! Settings profiles by name: the session settings of `python/runoff/profiles`. A test checks that they agree.

use crate::error::{Error, Kind};
use crate::settings::{Optimization, Settings};

/// Names of the profiles.
pub const NAMES: [&str; 3] = ["default", "cold", "latency"];

/// Returns the settings of the profile `name`, with one thread.
///
/// # Errors
///
/// `bad-request`, listing the available names.
pub fn find(name: &str) -> Result<Settings, Error> {
    let plain = Settings { profile: name.to_owned(), ..Settings::default() };
    match name {
        "default" => Ok(plain),
        "cold" => Ok(Settings {
            optimization: Some(Optimization::Basic),
            spinning: Some(false),
            arena: Some(false),
            prepacking: Some(false),
            ..plain
        }),
        "latency" => Ok(Settings {
            optimization: Some(Optimization::All),
            spinning: Some(true),
            arena: Some(true),
            prepacking: Some(true),
            ..plain
        }),
        _ => {
            let message = format!("no settings profile {name:?}");
            Err(Error::new(Kind::BadRequest, message, format!("the profiles are {}", NAMES.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_others_are_refused() {
        for name in NAMES {
            assert_eq!(find(name).expect(name).profile, name);
        }
        let error = find("warm").expect_err("no such profile");
        assert!(error.hint.contains("latency"), "{error}");
    }
}
