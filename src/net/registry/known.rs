//! The repositories that are known to have a blob, from which a registry mounts it into others.

use crate::oci::Digest;
use crate::store::Store;

const RECORD: &str = "blob-repositories";
/// The repositories that are kept for a blob in one registry: a mount is tried from each, and one is enough.
const MOST_REPOSITORIES: usize = 4;

/// The repositories of `registry` that had the blob, the latest first.
pub(super) fn repositories(store: &Store, registry: &str, digest: &Digest) -> Vec<String> {
    store.record(RECORD, &key(registry, digest)).unwrap_or_default()
}

/// Notes that `repository` has the blob. Where that cannot be kept, a later push sends more than it had to.
pub(super) fn note(store: &Store, registry: &str, digest: &Digest, repository: &str) {
    let mut known = repositories(store, registry, digest);
    if known.first().map(String::as_str) == Some(repository) {
        return;
    }
    known.retain(|other| other != repository);
    known.insert(0, repository.to_owned());
    known.truncate(MOST_REPOSITORIES);
    let _ = store.put_record(RECORD, &key(registry, digest), &known);
}

fn key(registry: &str, digest: &Digest) -> Digest {
    Digest::of(format!("{registry} {digest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_repositories_of_a_blob_are_known() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let digest = Digest::of("a blob");
        for repository in ["a", "b", "c", "d", "e", "c"] {
            note(&store, "registry.test", &digest, repository);
        }
        assert_eq!(repositories(&store, "registry.test", &digest), ["c", "e", "d", "b"]);
        assert!(repositories(&store, "other.test", &digest).is_empty());
    }
}
