//! Reads from libjpeg-turbo's `jconfig.h` how it was built; used by the build script.

/// Returns the library's name, its version, and `SIMD` or `scalar`, such as `libjpeg-turbo 3.1.0, SIMD`. Returns only
/// the name if `header`, the text of `jconfig.h`, contains no version.
pub fn describe(header: &str) -> String {
    let value = |name: &str| {
        let mut definitions = header.lines().filter_map(|line| line.strip_prefix("#define")).map(str::trim);
        definitions.find_map(|definition| definition.strip_prefix(name)).map(str::trim)
    };
    let Some(version) = value("LIBJPEG_TURBO_VERSION ") else { return "libjpeg-turbo".to_owned() };
    format!("libjpeg-turbo {version}, {}", if value("WITH_SIMD").is_some() { "SIMD" } else { "scalar" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_it_was_built_is_read() {
        let header = |last| format!("/* Version */\n#define LIBJPEG_TURBO_VERSION  3.1.0\n\n{last}\n");
        assert_eq!(describe(&header("#define WITH_SIMD 1")), "libjpeg-turbo 3.1.0, SIMD");
        assert_eq!(describe(&header("/* #undef WITH_SIMD */")), "libjpeg-turbo 3.1.0, scalar");
        assert_eq!(describe(""), "libjpeg-turbo");
    }
}
