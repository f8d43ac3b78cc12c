//! Failures as people read them: a message with its causes, a hint, and whose fault it is.

use std::error::Error;
use std::{fmt, io};

/// An error that knows the next step of its user.
///
/// Nothing else becomes a [`Failure`]: an error without an implementation does not compile on its way to the terminal.
pub trait Hinted: Error {
    /// The user's next step: the error's own hint, or else that of its cause.
    fn hint(&self) -> Option<String> {
        None
    }

    /// The side that is at fault.
    fn fault(&self) -> Fault {
        Fault::Job
    }

    /// The message line by line, where it has several lines of its own: those in names of others are none.
    fn lines(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The side that is at fault, which decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The recipe's, or that of a file which it names.
    Input,
    /// That of the work itself: the network, a disk, a server, an image.
    Job,
}

/// The reason for which a command failed.
pub struct Failure {
    /// The steps that failed, innermost first.
    context: Vec<String>,
    error: Box<dyn Error + Send + Sync>,
    hint: Option<String>,
    fault: Fault,
    lines: Vec<String>,
}

/// The result of what can fail for many reasons.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl<E: Hinted + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let of_io = || causes(&error).find_map(|cause| cause.downcast_ref::<io::Error>()?.hint());
        let (hint, fault, lines) = (error.hint().or_else(of_io), error.fault(), error.lines());
        Self { context: Vec::new(), error: Box::new(error), hint, fault, lines }
    }
}

impl Failure {
    /// A failure that has no further cause.
    pub fn new(message: impl Into<String>) -> Self {
        Message { text: message.into(), hint: None }.into()
    }

    /// The same, with a hint.
    pub fn advised(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Message { text: message.into(), hint: Some(hint.into()) }.into()
    }

    /// The hint of the outermost error that has one.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The message with its causes, line by line; a line break within a line is one of somebody's name.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = self.lines.clone();
        match lines.first_mut() {
            Some(first) => {
                *first = self.context.iter().fold(first.clone(), |text, step| format!("{step}: {text}"))
            }
            None => lines.push(self.to_string()),
        }
        lines
    }

    /// The side that is at fault.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// The error itself, if it is an `E`.
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.error.downcast_ref()
    }
}

/// The message, then each cause.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.context.iter().rev().try_for_each(|context| write!(f, "{context}: "))?;
        write!(f, "{}", self.error)?;
        causes(&*self.error).skip(1).try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// An error, its cause, the cause of that, and so on.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (**error).source())
}

/// Names the step that failed.
pub trait Context<T>: Sized {
    /// Adds the step.
    fn with_context<M: Into<String>>(self, message: impl FnOnce() -> M) -> Result<T>;

    /// Adds the step, as a text that is at hand.
    fn context(self, message: &'static str) -> Result<T> {
        self.with_context(|| message)
    }
}

impl<T, E: Into<Failure>> Context<T> for Result<T, E> {
    fn with_context<M: Into<String>>(self, message: impl FnOnce() -> M) -> Result<T> {
        self.map_err(|error| {
            let mut failure: Failure = error.into();
            failure.context.push(message().into());
            failure
        })
    }
}

impl<T> Context<T> for Option<T> {
    fn with_context<M: Into<String>>(self, message: impl FnOnce() -> M) -> Result<T> {
        self.ok_or_else(|| Failure::new(message()))
    }
}

/// An error that is a text.
#[derive(Debug)]
struct Message {
    text: String,
    hint: Option<String>,
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Message {}

impl Hinted for Message {
    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

impl Hinted for io::Error {
    fn hint(&self) -> Option<String> {
        match self.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Some("free some space, or point IMGFORGE_CACHE_DIR at a file system with more of it".into())
            }
            _ => None,
        }
    }
}

impl Hinted for serde_json::Error {}

impl Hinted for url::ParseError {}

impl Hinted for uv_normalize::InvalidNameError {}

impl Hinted for uv_distribution_filename::WheelFilenameError {}

impl Hinted for std::time::SystemTimeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("could not write `layer`")]
    struct Outer {
        source: io::Error,
    }

    impl Hinted for Outer {}

    fn full() -> Outer {
        Outer { source: io::ErrorKind::StorageFull.into() }
    }

    #[test]
    fn a_failure_is_told_with_what_was_being_done_and_every_cause() {
        let failure =
            Err::<(), _>(full()).context("no image was built").with_context(|| "sorry").unwrap_err();
        assert_eq!(
            failure.to_string(),
            "sorry: no image was built: could not write `layer`: no storage space"
        );
        assert!(failure.downcast_ref::<Outer>().is_some());
    }

    #[test]
    fn a_full_disk_is_named_however_deep_it_lies() {
        assert!(Failure::from(full()).hint().unwrap().starts_with("free some space"));
        let denied = Outer { source: io::ErrorKind::PermissionDenied.into() };
        assert_eq!(Failure::from(denied).hint(), None);
    }
}
