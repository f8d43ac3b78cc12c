//! `/etc/ssl/certs`, as update-ca-certificates fills it with every certificate the package ships.
//!
//! <https://manpages.debian.org/update-ca-certificates.8>

use std::collections::BTreeMap;

use super::tree::Tree;
use crate::debian::{keystore, script, x509};

const SHIPPED: &str = "usr/share/ca-certificates";
const LIST: &str = "/etc/ca-certificates.conf";
/// The certificates that an administrator adds.
const LOCAL: &str = "usr/local/share/ca-certificates";
const CERTIFICATES: &str = "etc/ssl/certs";

pub(super) fn write(tree: &mut Tree<'_>) {
    let mut certificates = tree.files_below(SHIPPED);
    certificates.retain(|path| path.ends_with(".crt"));
    let is_new = tree.configured("ca-certificates").is_some();
    let is_java_new =
        tree.configured("ca-certificates-java").is_some() && tree.package("ca-certificates").is_some();
    if certificates.is_empty() || !(is_new || is_java_new) {
        return;
    }
    if is_new {
        write_directory(tree, &certificates);
    }
    if tree.package("ca-certificates-java").is_some() && tree.has("usr/bin/java") {
        write_keystore(tree, &certificates);
    }
}

fn write_directory(tree: &mut Tree<'_>, certificates: &[String]) {
    let chosen = tree.text(LIST);
    tree.file(
        LIST,
        0o644,
        chosen.map_or_else(|| list(tree, certificates), |chosen| with_new(chosen, certificates)),
    );
    tree.directory(LOCAL, 0o755, 0);
    let mut local = tree.files_below(LOCAL);
    local.retain(|path| path.ends_with(".crt"));
    let mut bundle = Vec::new();
    let mut links = BTreeMap::new();
    let deselected = tree.text(LIST).unwrap_or_default();
    let is_chosen =
        |path: &&String| !deselected.lines().any(|line| line.strip_prefix('!') == Some(listed_name(path)));
    for path in certificates.iter().filter(is_chosen).chain(&local) {
        let pem = tree.bytes(path).unwrap_or_default();
        bundle.extend_from_slice(&pem);
        if !pem.ends_with(b"\n") {
            bundle.push(b'\n');
        }
        links.insert(link_name(path), (format!("/{path}"), x509::subject_hash(&pem)));
    }
    tree.file(&format!("{CERTIFICATES}/ca-certificates.crt"), 0o644, bundle);
    for (name, (target, _)) in &links {
        tree.symlink(&format!("{CERTIFICATES}/{name}"), target);
    }
    // The links OpenSSL looks up are openssl's to make.
    if tree.package("openssl").is_some() {
        let hashed = links.iter().filter_map(|(name, (_, hash))| Some((name.as_str(), hash.clone()?)));
        for (link, name) in hash_links(hashed) {
            tree.symlink(&format!("{CERTIFICATES}/{link}"), name);
        }
    }
}

/// Java's keystore of the same certificates.
fn write_keystore(tree: &mut Tree<'_>, certificates: &[String]) {
    let mut trusted = Vec::new();
    for path in certificates {
        let pem = tree.bytes(path).unwrap_or_default();
        let alias = format!("debian:{}", link_name(path).to_lowercase());
        trusted.extend(x509::certificate(&pem).map(|certificate| (alias, certificate.to_vec())));
    }
    let mtime = tree.input().mtime;
    tree.file(&format!("{CERTIFICATES}/java/cacerts"), 0o644, keystore::keystore(&trusted, mtime));
}

/// `/etc/ca-certificates.conf`: the script's own introduction, and the chosen certificates.
fn list(tree: &Tree<'_>, certificates: &[String]) -> String {
    let postinst = tree.control("ca-certificates", "postinst").unwrap_or_default();
    let list = script::heredoc(&postinst, LIST).unwrap_or_default();
    with_new(list, certificates)
}

/// A list with the certificates that it does not mention: chosen, or with a `!` that takes them out.
fn with_new(mut list: String, certificates: &[String]) -> String {
    for name in certificates.iter().map(|path| listed_name(path)) {
        if !list.lines().any(|line| line.trim_start_matches('!') == name) {
            list.push_str(name);
            list.push('\n');
        }
    }
    list
}

fn listed_name(path: &str) -> &str {
    path.trim_start_matches(SHIPPED).trim_start_matches('/')
}

/// The name under `/etc/ssl/certs` of a certificate file.
fn link_name(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".crt");
    let replaced = name.replace([' ', ','], "_").replace(['(', ')'], "=");
    format!("{replaced}.pem")
}

/// `HASH.N` and the certificate it leads to; certificates of one subject are numbered in their order.
fn hash_links<'a>(certificates: impl Iterator<Item = (&'a str, String)>) -> Vec<(String, &'a str)> {
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    let links = certificates.map(|(name, hash)| {
        let number = count.entry(hash.clone()).or_default();
        *number += 1;
        (format!("{hash}.{}", *number - 1), name)
    });
    links.collect()
}

#[cfg(test)]
mod tests {
    use super::super::tree::example::Example;
    use super::*;

    #[test]
    fn writes_the_list_the_links_and_the_bundle() {
        let postinst = "cat > /etc/ca-certificates.conf <<EOF\n# why\nEOF\n";
        let example = Example::default()
            .package("ca-certificates", &[("postinst", postinst)])
            .directory("etc/ssl/certs")
            .directory("usr/local/share")
            .file("usr/share/ca-certificates/mozilla/B (x), y.crt", "B\n")
            .file("usr/share/ca-certificates/mozilla/A.crt", "A")
            .file("usr/share/ca-certificates/mozilla/README", "no");
        let expected = [
            "etc/ca-certificates.conf 644 0:0 # why\nmozilla/A.crt\nmozilla/B (x), y.crt\n",
            "etc/ssl/certs/A.pem -> /usr/share/ca-certificates/mozilla/A.crt",
            "etc/ssl/certs/B_=x=__y.pem -> /usr/share/ca-certificates/mozilla/B (x), y.crt",
            "etc/ssl/certs/ca-certificates.crt 644 0:0 A\nB\n",
            "usr/local/share/ca-certificates/ 755 0:0",
        ];
        assert_eq!(example.run(write), expected);
    }

    #[test]
    fn certificates_of_one_subject_are_numbered() {
        let names = [("a.pem", "12".to_owned()), ("b.pem", "34".to_owned()), ("c.pem", "12".to_owned())];
        let links = hash_links(names.into_iter());
        assert_eq!(links, [("12.0".into(), "a.pem"), ("34.0".into(), "b.pem"), ("12.1".into(), "c.pem")]);
    }
}
