//! `direct_url.json`: the origin of a distribution that was not chosen from an index.
//!
//! <https://packaging.python.org/en/latest/specifications/direct-url-data-structure/>

use serde_json::json;

use crate::oci::Digest;

/// The file's name in the `.dist-info` directory.
pub const NAME: &str = "direct_url.json";

/// The text for an archive at `url`, which has no secrets.
fn of_archive(url: &str, sha256: &Digest) -> String {
    let hex = sha256.hex();
    let hashes = json!({"hash": format!("sha256={hex}"), "hashes": {"sha256": hex}});
    json!({"archive_info": hashes, "url": url}).to_string()
}

/// The URL of a wheel on the machine that builds: its file's name alone, since its directory has no meaning in the image, and
/// the same wheel from another directory gives the same image.
pub fn of_local(filename: &str) -> String {
    format!("file:///{filename}")
}

/// The URL of a project's directory on the machine that builds: its name alone, as of a wheel.
pub fn of_directory(name: &str) -> String {
    format!("file:///{name}/")
}

/// The text for a wheel from `url`, which has no secrets: of a directory, or else an archive.
pub fn text(url: &str, sha256: &Digest) -> String {
    match url.ends_with('/') {
        true => json!({"dir_info": {}, "url": url}).to_string(),
        false => of_archive(url, sha256),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_where_an_archive_is_from() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let expected = format!(
            r#"{{"archive_info":{{"hash":"sha256={hex}","hashes":{{"sha256":"{hex}"}}}},"url":"file:///a-1-py3-none-any.whl"}}"#
        );
        assert_eq!(text(&of_local("a-1-py3-none-any.whl"), &Digest::of("")), expected);
        assert_eq!(text(&of_directory("a"), &Digest::of("")), r#"{"dir_info":{},"url":"file:///a/"}"#);
    }
}
