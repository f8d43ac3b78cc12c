//! The files of proc and sysfs that libraries read of the machine while they are imported.
//!
//! A sandbox has neither file system: both show processes and settings that are none of an image's business. What a container
//! has of processors and memory is given as plain files: ONNX Runtime aborts where it cannot read how many processors there are.
//!
//! <https://docs.kernel.org/admin-guide/cputopology.html>, and proc(5)

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// The files, each by its path without the leading slash.
const FILES: [&str; 6] = [
    "proc/cpuinfo",
    "proc/meminfo",
    "sys/devices/system/cpu/kernel_max",
    "sys/devices/system/cpu/online",
    "sys/devices/system/cpu/possible",
    "sys/devices/system/cpu/present",
];

/// The directories at the top that have them.
pub(super) const TOPS: [&str; 2] = ["proc", "sys"];

/// The bytes of one file: the largest is `cpuinfo`, with 1.5 KB for a processor.
const LONGEST: u64 = 4 << 20;

/// Copies them into `directory`, as far as this machine has them.
pub(super) fn copy(directory: &Path) -> io::Result<()> {
    for top in TOPS {
        fs::create_dir(directory.join(top))?;
    }
    for file in FILES {
        let Ok(of_machine) = File::open(Path::new("/").join(file)) else { continue };
        let mut text = Vec::new();
        of_machine.take(LONGEST).read_to_end(&mut text)?;
        let copy = directory.join(file);
        copy.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(copy, text)?;
    }
    Ok(())
}
