//! Package URLs: the names of packages among all kinds.
//!
//! <https://github.com/package-url/purl-spec>

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The characters that are written as they are, beside letters and digits.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_').remove(b'~').remove(b':');

/// The purl of a package: `pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12`. Qualifiers without a value are left out;
/// they come sorted by name.
pub fn purl(path: &[&str], version: Option<&str>, qualifiers: &[(&str, Option<&str>)]) -> String {
    let path: Vec<String> = path.iter().map(|part| encoded(part)).collect();
    let version = version.map(|version| format!("@{}", encoded(version))).unwrap_or_default();
    let qualifiers = qualifiers.iter().filter_map(|(name, value)| Some((name, (*value)?)));
    let qualifiers: Vec<String> =
        qualifiers.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    let mark = if qualifiers.is_empty() { "" } else { "?" };
    format!("pkg:{}{version}{mark}{}", path.join("/"), qualifiers.join("&"))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_versions_and_qualifiers_are_encoded() {
        let check = |purl: String, expected: &str| assert_eq!(purl, expected);
        check(purl(&["pypi", "torch"], Some("2.6.0+cu124"), &[]), "pkg:pypi/torch@2.6.0%2Bcu124");
        let qualifiers = [("arch", Some("amd64")), ("distro", None), ("upstream", Some("gcc 12"))];
        check(
            purl(&["deb", "debian", "libstdc++6"], Some("1:12.2.0-14"), &qualifiers),
            "pkg:deb/debian/libstdc%2B%2B6@1:12.2.0-14?arch=amd64&upstream=gcc%2012",
        );
        check(purl(&["generic", "x"], None, &[]), "pkg:generic/x");
    }
}
