//! Stands in for uv-install-wheel (an installer with launchers), which uv-distribution-types links and imgforge never
//! calls.

use std::fmt;
use std::io::Read;

pub enum WheelFile {}

impl WheelFile {
    pub fn parse(_text: &str) -> Result<Self, Error> {
        unreachable!("a stub")
    }

    pub fn tags(&self) -> Option<&[String]> {
        match *self {}
    }
}

pub struct RecordEntry {
    pub path: String,
}

pub fn read_record(_record: impl Read) -> Result<Vec<RecordEntry>, Error> {
    unreachable!("a stub")
}

#[derive(Debug)]
pub enum Error {}

impl fmt::Display for Error {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl std::error::Error for Error {}
