//! Programs of engines: run, fed and read within bounds.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::process::{Child, Command, Stdio};
use std::thread;

use super::EngineError;

/// The bytes of a program's answer: the description of a thousand images has a few MB.
const LONGEST_REPLY: u64 = 64 << 20;
/// The bytes of a program's complaint that are kept.
const LONGEST_COMPLAINT: u64 = 64 << 10;
/// The characters of it that are shown: its end, where the reason is.
const MOST_SAID: usize = 500;

/// A program of an engine with its first arguments.
#[derive(Debug, Clone)]
pub(super) struct EngineProgram {
    pub engine: &'static str,
    pub program: &'static str,
    pub arguments: Vec<String>,
}

impl EngineProgram {
    /// The words that it prints.
    pub(super) fn ask<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Vec<u8>, EngineError> {
        self.run(arguments, Stdio::null(), Stdio::piped())
    }

    /// Has it read what comes through a pipe.
    pub(super) fn feed<A: AsRef<OsStr>>(
        &self,
        arguments: &[A],
        input: PipeReader,
    ) -> Result<(), EngineError> {
        self.run(arguments, input.into(), Stdio::null()).map(drop)
    }

    /// Has it write into a file.
    pub(super) fn write<A: AsRef<OsStr>>(&self, arguments: &[A], file: File) -> Result<(), EngineError> {
        self.run(arguments, Stdio::null(), file.into()).map(drop)
    }

    /// Opens what it prints as a stream, which ends with an error if the program fails.
    pub(super) fn open<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<ProgramOutput, EngineError> {
        let unusable = |source| EngineError::Program { program: self.program, source };
        let mut command = Command::new(self.program);
        command.args(&self.arguments).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(unusable)?;
        Ok(ProgramOutput { child, command: self.shown(arguments), has_ended: false })
    }

    fn run<A: AsRef<OsStr>>(
        &self,
        arguments: &[A],
        input: Stdio,
        output: Stdio,
    ) -> Result<Vec<u8>, EngineError> {
        let unusable = |source| EngineError::Program { program: self.program, source };
        let mut command = Command::new(self.program);
        command.args(&self.arguments).args(arguments);
        let mut child =
            command.stdin(input).stdout(output).stderr(Stdio::piped()).spawn().map_err(unusable)?;
        // It has the pipe now: who writes into it shall notice when the program ends.
        drop(command);
        let complaint = child.stderr.take().map(|errors| {
            thread::spawn(move || {
                let (mut kept, mut errors) = (Vec::new(), errors);
                let _ = errors.by_ref().take(LONGEST_COMPLAINT).read_to_end(&mut kept);
                let _ = std::io::copy(&mut errors, &mut std::io::sink());
                kept
            })
        });
        let mut printed = Vec::new();
        if let Some(output) = child.stdout.take() {
            output.take(LONGEST_REPLY + 1).read_to_end(&mut printed).map_err(unusable)?;
        }
        let status = child.wait().map_err(unusable)?;
        let complaint = complaint.and_then(|thread| thread.join().ok()).unwrap_or_default();
        if printed.len() as u64 > LONGEST_REPLY {
            return Err(EngineError::LongAnswer { engine: self.engine, limit: LONGEST_REPLY });
        }
        match status.success() {
            true => Ok(printed),
            false => {
                Err(EngineError::Failed { command: self.shown(arguments), status, said: end_of(&complaint) })
            }
        }
    }

    /// The command for people: the program and what it was to do.
    fn shown<A: AsRef<OsStr>>(&self, arguments: &[A]) -> String {
        let arguments =
            arguments.iter().take(2).map(|argument| argument.as_ref().to_string_lossy().into_owned());
        [self.program.to_owned()].into_iter().chain(arguments).collect::<Vec<_>>().join(" ")
    }
}

/// The output of a program that is running. It is ended when nobody reads any further.
#[derive(Debug)]
pub struct ProgramOutput {
    child: Child,
    command: String,
    has_ended: bool,
}

impl Read for ProgramOutput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.child.stdout.as_mut().map_or(Ok(0), |output| output.read(buffer))?;
        if count > 0 || buffer.is_empty() || self.has_ended {
            return Ok(count);
        }
        self.has_ended = true;
        // A complaint that no pipe holds is longer than a program has that only copies.
        let mut complaint = Vec::new();
        if let Some(errors) = self.child.stderr.take() {
            let _ = errors.take(LONGEST_COMPLAINT).read_to_end(&mut complaint);
        }
        let status = self.child.wait()?;
        let (command, said) = (self.command.clone(), end_of(&complaint));
        match status.success() {
            true => Ok(0),
            false => Err(io::Error::other(EngineError::Failed { command, status, said })),
        }
    }
}

impl Drop for ProgramOutput {
    fn drop(&mut self) {
        if !self.has_ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The last words of a complaint.
fn end_of(complaint: &[u8]) -> String {
    let text = String::from_utf8_lossy(complaint);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let begin = text.chars().count().saturating_sub(MOST_SAID);
    text.chars().skip(begin).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn shell(script: &str) -> EngineProgram {
        EngineProgram { engine: "shell", program: "sh", arguments: vec!["-c".into(), script.into()] }
    }

    #[test]
    fn a_program_is_asked_fed_and_heard() {
        let none: [&str; 0] = [];
        assert_eq!(shell("echo yes").ask(&none).unwrap(), b"yes\n");
        let (reader, mut writer) = std::io::pipe().unwrap();
        let feeding = thread::spawn(move || shell("grep -q needle").feed(&[""; 0], reader));
        writer.write_all(b"a needle\n").unwrap();
        drop(writer);
        feeding.join().unwrap().unwrap();
        let failed = shell("echo the reason >&2; exit 3").ask(&none).unwrap_err();
        assert_eq!(failed.to_string(), "`sh` ended with exit status: 3: the reason");
    }

    #[test]
    fn the_output_of_a_program_that_fails_ends_with_its_words() {
        let read = |script: &str| {
            let mut bytes = Vec::new();
            shell(script).open(&[""; 0]).unwrap().read_to_end(&mut bytes).map(|_| bytes)
        };
        assert_eq!(read("printf 'all of it'").unwrap(), b"all of it");
        let failed = read("echo half; echo no such blob >&2; exit 1").unwrap_err();
        assert_eq!(failed.to_string(), "`sh` ended with exit status: 1: no such blob");
        let endless = shell("while echo more; do :; done").open(&[""; 0]).unwrap();
        drop(endless);
    }

    #[test]
    fn who_feeds_a_program_that_ends_early_is_told() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let feeding = thread::spawn(move || shell("exit 1").feed(&[""; 0], reader));
        let mut written = Ok(());
        for _ in 0..1000 {
            written = written.and_then(|()| writer.write_all(&[0; 4096]));
        }
        assert_eq!(written.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
        assert!(feeding.join().unwrap().is_err());
    }
}
