//! Settings profiles: those of `python/runoff/profiles` by name, which a test checks, and files that `runoff tune` wrote.

use std::fs;
use std::path::Path;

use crate::error::{Error, Kind};
use crate::settings::{Optimization, Settings, Teardown};

/// Names of the profiles.
pub const NAMES: [&str; 3] = ["default", "cold", "latency"];

/// Returns the settings of the profile `name`, or of the TOML file with this path. Where the profile has no thread count,
/// it is 1.
///
/// # Errors
///
/// `bad-request`: for an unknown name, listing the available ones; for a file that cannot be read, or has an unknown key.
pub fn find(name: &str) -> Result<Settings, Error> {
    let plain = Settings { profile: name.to_owned(), ..Settings::default() };
    match name {
        "default" => Ok(plain),
        // `prepared` is a matter of the file that is loaded
        "cold" => Ok(Settings {
            optimization: Some(Optimization::Basic),
            spinning: Some(false),
            arena: Some(false),
            prepacking: Some(false),
            teardown: Some(Teardown::Skip),
            overlap: Some(true),
            ..plain
        }),
        "latency" => Ok(Settings {
            optimization: Some(Optimization::All),
            spinning: Some(true),
            arena: Some(true),
            prepacking: Some(true),
            ..plain
        }),
        _ if is_file(name) => read(name),
        _ => {
            let message = format!("no settings profile {name:?}");
            let hint = format!("the profiles are {}, and files whose name ends in .toml", NAMES.join(", "));
            Err(Error::new(Kind::BadRequest, message, hint))
        }
    }
}

/// Whether `name` is the path of a profile's file.
#[must_use]
pub fn is_file(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "toml")
}

fn read(path: &str) -> Result<Settings, Error> {
    let unreadable = |what: &str| {
        let message = format!("settings profile {path}: {what}");
        Error::new(Kind::BadRequest, message, "runoff tune --write FILE writes such files")
    };
    let text = fs::read_to_string(path).map_err(|error| unreadable(&error.to_string()))?;
    let settings: Settings = toml::from_str(&text).map_err(|error| unreadable(error.message()))?;
    Ok(Settings { profile: path.to_owned(), ..settings })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Prepared;

    #[test]
    fn every_name_is_found_and_others_are_refused() {
        for name in NAMES {
            assert_eq!(find(name).expect(name).profile, name);
        }
        let error = find("warm").expect_err("no such profile");
        assert!(error.hint.contains("latency"), "{error}");
    }

    #[test]
    fn a_file_is_read_and_one_line_names_what_is_wrong_with_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tuned.toml");
        let profile = |text: &str| {
            fs::write(&path, text).expect("written");
            find(path.to_str().expect("UTF-8"))
        };
        let settings = profile("# a comment\nthreads = 2\nspinning = false # 1.2x\nprepared = true\n").expect("read");
        assert_eq!(
            (settings.threads.get(), settings.spinning, settings.prepared),
            (2, Some(false), Some(Prepared::Fastest(true)))
        );
        assert!(settings.profile.ends_with("tuned.toml"));
        for (text, what) in [("spining = false", "unknown field `spining`"), ("threads = 0", "nonzero"), ("=", "")] {
            let error = profile(text).expect_err("refused").message;
            assert!(error.contains("tuned.toml: ") && error.contains(what) && !error.contains('\n'), "{error}");
        }
        assert!(find("nowhere.toml").expect_err("no file").message.contains("nowhere.toml"));
    }
}
