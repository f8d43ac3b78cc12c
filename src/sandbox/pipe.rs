//! The ends of pipes to a program that need not answer.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// The longest single wait: when imgforge itself is stopped meanwhile, no more than this counts.
const SLICE: Duration = Duration::from_millis(200);

/// The end of a pipe to a program: reading and writing wait for it as long as its patience lasts, all together.
#[derive(Debug)]
pub struct TimedPipe {
    file: File,
    patience: Duration,
}

impl TimedPipe {
    pub(super) fn new(end: OwnedFd) -> io::Result<Self> {
        fcntl_setfl(&end, fcntl_getfl(&end)? | OFlags::NONBLOCK)?;
        Ok(Self { file: end.into(), patience: Duration::ZERO })
    }

    /// Sets how long the program is waited for from now on.
    pub fn allow(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Does `work` until it need not wait.
    fn patiently<T>(
        &mut self,
        flags: PollFlags,
        mut work: impl FnMut(&mut File) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            match work(&mut self.file) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(flags)?,
                result => return result,
            }
        }
    }

    fn wait(&mut self, flags: PollFlags) -> io::Result<()> {
        if self.patience.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let slice = self.patience.min(SLICE);
        let begin = Instant::now();
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(slice.subsec_nanos()) };
        match poll(&mut [PollFd::new(&self.file, flags)], Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            result => drop(result?),
        }
        self.patience = self.patience.saturating_sub(begin.elapsed().min(slice));
        Ok(())
    }
}

impl Read for TimedPipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.patiently(PollFlags::IN, |file| file.read(buffer))
    }
}

impl Write for TimedPipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.patiently(PollFlags::OUT, |file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> (TimedPipe, TimedPipe) {
        let (output, input) = rustix::pipe::pipe().unwrap();
        (TimedPipe::new(output).unwrap(), TimedPipe::new(input).unwrap())
    }

    #[test]
    fn what_comes_in_time_is_read_and_an_end_is_an_end() {
        let (mut output, mut input) = ends();
        output.allow(Duration::from_secs(10));
        let writer = std::thread::spawn(move || {
            for byte in b"slow" {
                std::thread::sleep(Duration::from_millis(5));
                input.write_all(&[*byte]).unwrap();
            }
        });
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        assert_eq!(text, "slow");
        writer.join().unwrap();
    }

    #[test]
    fn who_never_answers_never_reads_or_trickles_is_given_up() {
        let patience = Duration::from_millis(50);
        let (mut output, mut input) = ends();
        output.allow(patience);
        assert_eq!(output.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::TimedOut);
        input.allow(patience);
        assert_eq!(input.write_all(&[0; 1 << 20]).unwrap_err().kind(), io::ErrorKind::TimedOut);

        let (mut output, mut input) = ends();
        output.allow(patience);
        let trickle = std::thread::spawn(move || {
            while input.write_all(&[0]).is_ok() {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        assert_eq!(output.read_to_end(&mut Vec::new()).unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(output);
        trickle.join().unwrap();
    }
}
