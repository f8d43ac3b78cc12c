//! Repositories of git, fetched by the machine's own git: one commit, checked out into a directory.
//!
//! The program has a clean environment and no hooks, and follows no protocol but the one that is asked for. Logins are those
//! of the user's git: its credential helpers, and the agent of `ssh`.
//!
//! <https://git-scm.com/docs/git#_environment_variables>

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::failure::Hinted;
use crate::pypa::git_reference::{GitCommit, GitReference};

/// The time that one command may take: the largest repositories come within minutes.
const LONGEST_COMMAND: Duration = Duration::from_secs(15 * 60);
/// The time between two looks at whether it has ended.
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);
/// The bytes of its answers and complaints that are kept.
const LONGEST_SAID: u64 = 64 << 10;
/// The characters of a complaint that are shown: its end, where the reason is.
const MOST_SHOWN: usize = 500;
/// The variables that git needs to find its configuration, logins and certificates.
const PASSED_ON: [&str; 24] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "SSH_AUTH_SOCK",
    "SSH_ASKPASS",
    "GIT_ASKPASS",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_SSL_CAINFO",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_CONFIG_NOSYSTEM",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
];
/// The settings that hold whatever else is configured: nothing of a repository is run, and its files are those that it has.
const SETTINGS: [&str; 17] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.autocrlf=false",
    "core.eol=lf",
    "core.symlinks=true",
    "core.fileMode=true",
    "core.attributesFile=/dev/null",
    "filter.lfs.smudge=",
    "filter.lfs.process=",
    "filter.lfs.required=false",
    "init.defaultBranch=main",
    "gc.auto=0",
    "maintenance.auto=false",
    "fetch.recurseSubmodules=false",
    "http.lowSpeedLimit=1024",
    "http.lowSpeedTime=30",
    "advice.detachedHead=false",
];

/// The reason why a repository gives no files.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum GitError {
    #[error("there is no program `git` on this machine")]
    NoProgram,
    #[error("could not run `git`")]
    Run(#[source] io::Error),
    #[error("`git {command}` of `{repository}` took longer than {} minutes", LONGEST_COMMAND.as_secs() / 60)]
    Slow { command: String, repository: String },
    #[error("`{repository}` could not be fetched: {said}")]
    Failed { repository: String, said: String },
    #[error("`{repository}` has no branch, tag or commit `{revision}`: {said}")]
    NoRevision { repository: String, revision: String, said: String },
    #[error("`{repository}` does not have the commit {commit} any more, which is locked: {said}")]
    Gone { repository: String, commit: GitCommit, said: String },
    #[error("`{repository}` needs the submodules that could not be fetched: {said}")]
    Submodules { repository: String, said: String },
}

impl Hinted for GitError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoProgram => "install git: sources in repositories are fetched by it".into(),
            Self::Run(error) => return error.hint(),
            Self::Slow { .. } | Self::Failed { .. } => {
                "try `git ls-remote` of that URL: logins are those of your git, its credential helpers and the agent of \
                 ssh, and nothing is asked for"
                    .into()
            }
            Self::NoRevision { .. } => {
                "check the name behind `@`; a commit is written with all of its digits".into()
            }
            Self::Gone { .. } => {
                "its history was rewritten: lock again, `imgforge lock --upgrade=NAME`, or with the tool that made the \
                 lock, after a look at what changed"
                    .into()
            }
            Self::Submodules { .. } => {
                "submodules are fetched by `https` and `ssh` alone, with the logins of your git".into()
            }
        })
    }
}

/// The output of a command of git.
struct GitAnswer {
    is_success: bool,
    printed: String,
    complaint: String,
}

/// A repository on its way into a directory.
pub struct GitCheckout<'a> {
    reference: &'a GitReference,
    directory: &'a Path,
}

impl<'a> GitCheckout<'a> {
    /// The repository of `reference`, to be checked out into the empty `directory`.
    pub fn new(reference: &'a GitReference, directory: &'a Path) -> Self {
        Self { reference, directory }
    }

    /// The commit of the branch or tag that is asked for, as the repository tells it; `None` where it has none of that name.
    pub fn listed(&self) -> Result<Option<GitCommit>, GitError> {
        let asked = self.reference.revision.as_deref().unwrap_or("HEAD");
        let url = self.reference.repository.as_str();
        let answer =
            self.git(&["ls-remote", "-q", "--end-of-options", url, asked, &format!("{asked}^{{}}")])?;
        let listed = answer.printed.clone();
        self.answered(answer)?;
        let names = [
            format!("refs/tags/{asked}^{{}}"),
            format!("refs/tags/{asked}"),
            format!("refs/heads/{asked}"),
            asked.to_owned(),
        ];
        let commit_of = |name: &String| {
            let mut lines = listed.lines().filter_map(|line| line.split_once('\t'));
            lines.find(|(_, listed)| listed == name)?.0.parse().ok()
        };
        Ok(names.iter().find_map(commit_of))
    }

    /// Fetches the commit, submodules included, and gives its name: the one that is known, or else that of the revision.
    pub fn fetch(&self) -> Result<GitCommit, GitError> {
        self.done(&["init", "-q", "--template="])?;
        let commit = self.commit()?;
        self.done(&["checkout", "-q", "--force", "--detach", commit.as_str()])?;
        if self.directory.join(".gitmodules").exists() {
            self.submodules()?;
        }
        Ok(commit)
    }

    fn commit(&self) -> Result<GitCommit, GitError> {
        let asked = match (&self.reference.commit, &self.reference.revision) {
            (Some(commit), _) => commit.as_str(),
            (None, Some(revision)) => revision,
            (None, None) => "HEAD",
        };
        let url = self.reference.repository.as_str();
        // One commit alone, where the server gives that; otherwise everything, in which it may be found.
        let one = ["fetch", "-q", "--no-tags", "--depth=1", "--end-of-options", url, asked];
        let first = self.git(&one)?;
        let found = match first.is_success {
            true => self.git(&["rev-parse", "--verify", "-q", "FETCH_HEAD^{commit}"])?,
            false => {
                let all = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];
                let everything = [&["fetch", "-q", "--no-tags", "--end-of-options", url], &all[..]].concat();
                self.answered(self.git(&everything)?)?;
                self.named(asked)?
            }
        };
        match (found.printed.trim().parse::<GitCommit>(), &self.reference.commit) {
            (Ok(commit), None) => Ok(commit),
            (Ok(commit), Some(locked)) if commit == *locked => Ok(commit),
            _ => Err(self.missing(asked, &first.complaint)),
        }
    }

    /// The commit of a name in what was fetched, a tag before a branch.
    fn named(&self, asked: &str) -> Result<GitAnswer, GitError> {
        let names = [format!("refs/tags/{asked}"), format!("refs/remotes/origin/{asked}"), asked.to_owned()];
        let mut last = None;
        for name in names {
            let answer = self.git(&[
                "rev-parse",
                "--verify",
                "-q",
                "--end-of-options",
                &format!("{name}^{{commit}}"),
            ])?;
            match answer.is_success {
                true => return Ok(answer),
                false => last = Some(answer),
            }
        }
        last.ok_or(GitError::NoProgram)
    }

    fn submodules(&self) -> Result<(), GitError> {
        let update = ["submodule", "update", "-q", "--init", "--recursive", "--checkout", "--force"];
        // A repository of this machine has no say in which others are read.
        let protocols = match self.reference.repository.scheme() {
            "http" => "http:https",
            _ => "https:ssh",
        };
        let answer = self.run(&update, protocols)?;
        match answer.is_success {
            true => Ok(()),
            false => Err(GitError::Submodules {
                repository: self.reference.shown(),
                said: end_of(&answer.complaint),
            }),
        }
    }

    fn missing(&self, asked: &str, complaint: &str) -> GitError {
        let (repository, said) = (self.reference.shown(), end_of(complaint));
        match &self.reference.commit {
            Some(commit) => GitError::Gone { repository, commit: commit.clone(), said },
            None => GitError::NoRevision { repository, revision: asked.to_owned(), said },
        }
    }

    fn done(&self, arguments: &[&str]) -> Result<(), GitError> {
        self.answered(self.git(arguments)?)
    }

    fn answered(&self, answer: GitAnswer) -> Result<(), GitError> {
        match answer.is_success {
            true => Ok(()),
            false => Err(GitError::Failed {
                repository: self.reference.shown(),
                said: end_of(&self.without_login(&answer.complaint)),
            }),
        }
    }

    /// A text of git, in which it may repeat the URL that it was given.
    fn without_login(&self, text: &str) -> String {
        text.replace(self.reference.repository.as_str(), &self.reference.shown())
    }

    fn git(&self, arguments: &[&str]) -> Result<GitAnswer, GitError> {
        let protocols = match self.reference.repository.scheme() {
            "http" => "http:https",
            scheme => scheme,
        };
        self.run(arguments, protocols)
    }

    fn run(&self, arguments: &[&str], protocols: &str) -> Result<GitAnswer, GitError> {
        let mut command = command(protocols, self.directory);
        let spawned = command.args(arguments).spawn();
        let child = spawned.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => GitError::NoProgram,
            _ => GitError::Run(error),
        })?;
        let told = arguments.first().copied().unwrap_or_default();
        let answer = watched(child, Instant::now() + LONGEST_COMMAND).map_err(GitError::Run)?;
        let answer = answer
            .ok_or_else(|| GitError::Slow { command: told.to_owned(), repository: self.reference.shown() })?;
        Ok(GitAnswer { complaint: self.without_login(&answer.complaint), ..answer })
    }
}

/// git in `directory`, which reaches repositories by these protocols.
fn command(protocols: &str, directory: &Path) -> Command {
    let mut command = Command::new("git");
    let passed_on: Vec<(&str, OsString)> =
        PASSED_ON.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))).collect();
    command.env_clear().envs(passed_on);
    if let (None, Some(certificates)) =
        (std::env::var_os("GIT_SSL_CAINFO"), std::env::var_os("SSL_CERT_FILE"))
    {
        command.env("GIT_SSL_CAINFO", certificates);
    }
    if std::env::var_os("GIT_SSH_COMMAND").is_none() && std::env::var_os("GIT_SSH").is_none() {
        command.env("GIT_SSH_COMMAND", "ssh -oBatchMode=yes");
    }
    command
        .env("LC_ALL", "C.UTF-8")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ALLOW_PROTOCOL", protocols)
        .env("GIT_LFS_SKIP_SMUDGE", "1")
        .env("GIT_CEILING_DIRECTORIES", directory.parent().unwrap_or(directory));
    for setting in SETTINGS {
        command.args(["-c", setting]);
    }
    command.arg("-C").arg(directory);
    // A group of its own, so that what it starts ends with it.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    command
}

/// Waits for a command; `None` for one that was ended at `deadline`.
fn watched(mut child: Child, deadline: Instant) -> io::Result<Option<GitAnswer>> {
    let (printed, complaint) = (heard(child.stdout.take()), heard(child.stderr.take()));
    let status = loop {
        match child.try_wait()? {
            Some(status) => break Some(status),
            None if Instant::now() >= deadline => break None,
            None => thread::sleep(BETWEEN_LOOKS),
        }
    };
    if status.is_none() {
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        group.map(|group| kill_process_group(group, Signal::KILL));
        child.wait()?;
    }
    let text = |said: thread::JoinHandle<String>| said.join().unwrap_or_default();
    let (printed, complaint) = (text(printed), text(complaint));
    Ok(status.map(|status| GitAnswer { is_success: status.success(), printed, complaint }))
}

/// The text that comes out of a pipe, as far as it is kept.
fn heard(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut kept = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.by_ref().take(LONGEST_SAID).read_to_end(&mut kept);
            let _ = io::copy(&mut pipe, &mut io::sink());
        }
        String::from_utf8_lossy(&kept).into_owned()
    })
}

/// The last words of a complaint.
fn end_of(complaint: &str) -> String {
    let text = complaint.split_whitespace().collect::<Vec<_>>().join(" ");
    let begin = text.chars().count().saturating_sub(MOST_SHOWN);
    text.chars().skip(begin).collect()
}
