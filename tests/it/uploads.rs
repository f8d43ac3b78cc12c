//! Large blobs arrive in registries, whatever happens to the requests that carry them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use imgforge::net::http::{Http, HttpError, HttpSettings};
use imgforge::net::registry::{BlobContent, Logins, OutgoingBlob, Registries, RegistrySettings};
use imgforge::oci::Digest;
use imgforge::store::Store;
use serde_json::json;
use tempfile::TempDir;

use crate::support::registry::{Call, Content, Registry, Reply};

const MIB: usize = 1 << 20;

/// A blob of 150 MiB, most of which is a hole.
fn blob(directory: &TempDir) -> OutgoingBlob {
    let file = File::create_new(directory.path().join("blob")).unwrap();
    file.write_all_at(b"the end", 150 * MIB as u64 - 7).unwrap();
    let digest = Digest::of(std::fs::read(directory.path().join("blob")).unwrap());
    let file = File::open(directory.path().join("blob")).unwrap();
    OutgoingBlob { digest, size: 150 * MIB as u64, content: BlobContent::File(Arc::new(file)) }
}

/// The outcome of pushing that blob, and the requests with content: their method, their range and their size.
fn pushed(
    twist: impl Fn(&Call, &mut Content) -> Option<Reply> + Send + Sync + 'static,
) -> (Result<(), HttpError>, Vec<String>) {
    let directory = TempDir::new().unwrap();
    let registry = Registry::twisted(twist);
    let blob = blob(&directory);
    let settings = HttpSettings { backoff: Duration::from_millis(1), ..HttpSettings::default() };
    let http = Arc::new(Http::new(settings).unwrap());
    let store = Store::open(directory.path().join("store")).unwrap();
    let auths = json!({"auths": {registry.host(): {"username": "me", "password": "s3cret"}}}).to_string();
    let logins = Logins::of(&|name| (name == "DOCKER_AUTH_CONFIG").then(|| auths.clone()), 0);
    let registries = Registries::new(http, store, RegistrySettings { logins, ..RegistrySettings::default() });
    let reference = format!("{}/team/app:v1", registry.host()).parse().unwrap();
    let repository = registries.repository(&reference).unwrap();
    let digest = blob.digest;
    let outcome = repository.push_blob(digest, blob.size, || Ok::<_, HttpError>(blob.content)).map(drop);
    let has_it = registry.content().blobs.contains_key(&("team/app".to_owned(), digest.to_string()));
    assert_eq!(has_it, outcome.is_ok());
    let shown = |call: &Call| {
        let range = call.headers.get("content-range").map(String::as_str).unwrap_or("whole");
        format!("{} {range} {}", call.method, call.body.len() / MIB)
    };
    let calls = registry.take_calls();
    (outcome, calls.iter().filter(|call| !call.body.is_empty()).map(shown).collect())
}

const IN_PARTS: [&str; 3] =
    ["PATCH 0-67108863 64", "PATCH 67108864-134217727 64", "PATCH 134217728-157286399 22"];

#[test]
fn what_is_lost_with_a_broken_request_is_sent_in_parts() {
    // A proxy passes on whole requests only: of a broken one the registry has nothing, and says so, or knows of no upload.
    for is_known in [true, false] {
        let broken = AtomicUsize::new(0);
        let (outcome, sent) = pushed(move |call, content| {
            let is_first = call.method == "PATCH" && broken.fetch_add(1, Ordering::SeqCst) == 0;
            let is_forgotten = !is_known && call.method == "GET" && call.path.contains("/uploads/");
            match (is_first, is_forgotten) {
                (true, _) => Some(Reply::new(502)),
                (_, true) => {
                    content.uploads_mut().clear();
                    Some(Reply::error(404, "BLOB_UPLOAD_UNKNOWN"))
                }
                _ => None,
            }
        });
        outcome.unwrap();
        assert_eq!(sent, [&["PATCH whole 150"], &IN_PARTS[..]].concat(), "{is_known}");
    }
}

#[test]
fn nothing_is_sent_twice_that_a_finished_part_had() {
    // Every other request breaks before the registry gets it.
    let broken = AtomicUsize::new(0);
    let (outcome, sent) = pushed(move |call, _| {
        let is_broken = call.method == "PATCH" && broken.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
        is_broken.then(|| Reply::new(503).with("Retry-After", "0"))
    });
    outcome.unwrap();
    let twice: Vec<&str> = IN_PARTS.iter().flat_map(|part| [*part, *part]).skip(1).collect();
    assert_eq!(sent, [&["PATCH whole 150"], &twice[..]].concat());
}

#[test]
fn a_registry_that_takes_no_parts_gets_the_whole_again() {
    let broken = AtomicUsize::new(0);
    let (outcome, sent) = pushed(move |call, _| {
        if call.headers.contains_key("content-range") {
            return Some(Reply::error(400, "UNSUPPORTED"));
        }
        let is_first = call.method == "PATCH" && broken.fetch_add(1, Ordering::SeqCst) == 0;
        is_first.then(|| Reply::new(502))
    });
    outcome.unwrap();
    assert_eq!(sent, ["PATCH whole 150", "PATCH 0-67108863 64", "PATCH whole 150"]);
}

#[test]
fn an_upload_that_never_gets_further_ends() {
    let (outcome, sent) = pushed(|call, _| (call.method == "PATCH").then(|| Reply::new(502)));
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("502") && error.contains("team/app"), "{error}");
    assert!(sent.len() < 10, "{sent:?}");
}

#[test]
fn uploads_follow_redirects_and_show_no_login_elsewhere() {
    let (outcome, sent) = pushed(|call, _| {
        let is_upload = call.path.contains("/blobs/uploads/");
        let has_login = call.headers.contains_key("authorization");
        // The name of the same server by which it is another origin.
        if is_upload && call.headers["host"].starts_with("localhost") {
            return has_login.then(|| Reply::new(500));
        }
        if !has_login {
            return Some(Reply::new(401).with("WWW-Authenticate", "Basic realm=\"x\""));
        }
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&call.query).finish();
        let port = call.headers["host"].rsplit(':').next().unwrap();
        let place = format!("http://localhost:{port}{}?{query}", call.path);
        let status = if call.method == "PUT" { 308 } else { 307 };
        is_upload.then(|| Reply::new(status).with("Location", place))
    });
    outcome.unwrap();
    assert_eq!(sent, ["PATCH whole 150"; 1]);

    let (outcome, _) = pushed(|call, _| {
        let place = format!("http://{}{}?again=1", call.headers["host"], call.path);
        call.path.contains("/blobs/uploads/").then(|| Reply::new(307).with("Location", place))
    });
    let error = outcome.unwrap_err();
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(cause.contains("redirects more than"), "{error} {cause}");
}
