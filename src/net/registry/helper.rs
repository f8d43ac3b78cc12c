//! Programs that keep logins: `docker-credential-NAME`.
//!
//! <https://github.com/docker/docker-credential-helpers>

use std::io::{self, Read, Write};
use std::process::{self, Child, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::credentials::Secret;

/// The bytes of a helper's answer: tokens of cloud registries have a few KB.
const LONGEST_REPLY: u64 = 64 << 10;
/// The time for an answer: some helpers ask a cloud for a token, or a person for a finger.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A user and a secret.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct HelperLogin {
    pub user: String,
    pub secret: Secret,
}

/// Asks the helper `program` for the login at `server`; `None` where it has none.
pub(super) fn ask(program: &str, server: &str) -> io::Result<Option<HelperLogin>> {
    let mut child = process::Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let answer = converse(&mut child, server);
    // One that has ended is only waited for.
    let _ = child.kill();
    let status = child.wait()?;
    let answer = answer?;
    match status.success() {
        true => parse(&answer).map(Some),
        // The words of the helpers' own library.
        false if String::from_utf8_lossy(&answer).contains("credentials not found") => Ok(None),
        false => Err(io::Error::other(format!("it ended with {status}"))),
    }
}

/// Writes the server's name and reads the answer, until the program has ended.
fn converse(child: &mut Child, server: &str) -> io::Result<Vec<u8>> {
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let mut output = output.ok_or(io::ErrorKind::BrokenPipe)?.take(LONGEST_REPLY + 1);
    let (sender, answers) = mpsc::channel();
    thread::spawn(move || {
        let mut answer = Vec::new();
        let read = output.read_to_end(&mut answer).map(|_| answer);
        // Nobody waits any more for what comes too late.
        let _ = sender.send(read);
    });
    // A helper that does not read what it is asked may still answer.
    let _ = input.map(|mut input| input.write_all(server.as_bytes()));
    let late = || io::Error::new(io::ErrorKind::TimedOut, "it did not end in time");
    let end = Instant::now() + LONGEST_WAIT;
    while child.try_wait()?.is_none() {
        if Instant::now() > end {
            return Err(late());
        }
        thread::sleep(Duration::from_millis(5));
    }
    let left = end.saturating_duration_since(Instant::now());
    let answer = answers.recv_timeout(left).map_err(|_| late())??;
    match answer.len() as u64 > LONGEST_REPLY {
        true => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it said more than {LONGEST_REPLY} bytes"),
        )),
        false => Ok(answer),
    }
}

fn parse(answer: &[u8]) -> io::Result<HelperLogin> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct HelperReply {
        username: String,
        secret: String,
    }
    // serde's own words may quote the answer.
    let wrong =
        |_| io::Error::new(io::ErrorKind::InvalidData, "its answer is not that of a credential helper");
    let HelperReply { username, secret } = serde_json::from_slice(answer).map_err(wrong)?;
    Ok(HelperLogin { user: username, secret: Secret::new(secret) })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn check(script: &str, expected: &str) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("docker-credential-test");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let shown = match ask(path.to_str().unwrap(), "registry.test") {
            Ok(Some(login)) => format!("{} {}", login.user, login.secret.reveal()),
            Ok(None) => "none".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn helpers_are_asked_on_their_input_and_bounded() {
        check(
            r#"[ "$1" = get ] && read -r server; echo "{\"ServerURL\":\"$server\",\"Username\":\"me\",\"Secret\":\"at $server\"}""#,
            "me at registry.test",
        );
        check("echo 'credentials not found in native keychain'; exit 1", "none");
        check("echo 's3cret is wrong'; exit 3", "it ended with exit status: 3");
        check("echo '{\"Username\":\"s3cret\"}'", "its answer is not that of a credential helper");
        check("exec yes", "it said more than 65536 bytes");
        assert_eq!(
            ask("/none/docker-credential-x", "a").map(|_| ()).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
