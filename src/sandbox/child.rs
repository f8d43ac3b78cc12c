//! The way of a process from clone to exec.
//!
//! It begins as a copy of imgforge with one thread of many: the others may have held any lock, that of the allocator too.
//! So nothing here allocates, locks or panics. rustix makes its system calls itself; those of the C library that are
//! used are async-signal-safe.

use std::ffi::{CStr, c_char};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, write};
use rustix::process::{
    Gid, Resource, Rlimit, Signal, Uid, chdir, getrlimit, set_parent_process_death_signal, setrlimit, setsid,
    umask,
};
use rustix::system::sethostname;
use rustix::thread::{
    CapabilitySet, CapabilitySets, UnshareFlags, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid, unshare_unsafe,
};

use super::SetupStep;
use super::prepared::{MOST_OF_USER, NOBODY, Prepared, Walls};
use super::root;

/// The descriptor on which a failed step is reported; it closes on exec.
const REPORT: RawFd = 3;
/// Open files that are closed one by one, where the kernel lacks `close_range` (before Linux 5.9).
const MOST_OPEN: RawFd = 65_536;

/// The ends of pipes that a program gets, all above the descriptors that they become.
pub(super) struct ChildEnds {
    pub input: OwnedFd,
    pub output: OwnedFd,
    pub errors: OwnedFd,
    pub report: OwnedFd,
}

/// The pointers that exec takes: each list ends with a null pointer, and its texts outlive it.
pub(super) struct ExecPointers {
    pub arguments: Vec<*const c_char>,
    pub environment: Vec<*const c_char>,
}

type Failed = (SetupStep, Errno);

/// A failed step as it is reported.
pub(super) fn reported(report: &[u8]) -> Option<(SetupStep, io::Error)> {
    let (step, number) = report.split_first()?;
    let number = i32::from_le_bytes(number.try_into().ok()?);
    Some((SetupStep::of_number(*step)?, io::Error::from_raw_os_error(number)))
}

/// Becomes the program, or reports the step that failed and ends.
pub(super) fn become_program(
    prepared: &Prepared,
    pointers: &ExecPointers,
    ends: &ChildEnds,
    walls: Walls,
) -> ! {
    let (step, errno) = match steps(prepared, ends, walls) {
        Ok(()) => {
            // SAFETY: the program and the lists are as `execve` wants them; it returns only when it failed.
            unsafe {
                let (arguments, environment) = (pointers.arguments.as_ptr(), pointers.environment.as_ptr());
                libc::execve(prepared.program.as_ptr(), arguments, environment);
            }
            (SetupStep::Exec, last_error())
        }
        Err(failed) => failed,
    };
    let [a, b, c, d] = errno.raw_os_error().to_le_bytes();
    // SAFETY: the descriptor was put there by the first step; if that failed, the write fails, and imgforge sees an end.
    let _ = write(unsafe { BorrowedFd::borrow_raw(REPORT) }, &[step as u8, a, b, c, d]);
    // SAFETY: it ends the process at once.
    unsafe { libc::_exit(127) }
}

fn steps(prepared: &Prepared, ends: &ChildEnds, walls: Walls) -> Result<(), Failed> {
    let at = |step: SetupStep| move |error: Errno| (step, error);
    arrange_files(ends).map_err(at(SetupStep::Files))?;
    if walls == Walls::OfUser {
        map_user(prepared).map_err(at(SetupStep::Users))?;
    }
    // Where memory ends, the kernel ends this process first; a kernel that does not let it changes nothing.
    let _ = write_file(c"/proc/self/oom_score_adj", b"1000");
    let mut is_alone = false;
    if walls != Walls::Absent {
        sethostname(b"sandbox").map_err(at(SetupStep::Namespaces))?;
        root::enter(prepared)?;
        is_alone = drop_privileges(walls).map_err(at(SetupStep::Privileges))?;
    }
    set_no_new_privs(true).map_err(at(SetupStep::Privileges))?;
    limit(prepared, walls, is_alone).map_err(at(SetupStep::Limits))?;
    close_from(REPORT + 1);
    if walls != Walls::Absent {
        install_filter(prepared).map_err(at(SetupStep::Filter))?;
    }
    Ok(())
}

/// Puts the pipes where a program expects them, and closes every other file of imgforge.
fn arrange_files(ends: &ChildEnds) -> Result<(), Errno> {
    let places = [(&ends.input, 0), (&ends.output, 1), (&ends.errors, 2), (&ends.report, REPORT)];
    for (end, place) in places {
        let flags = if place == REPORT { libc::O_CLOEXEC } else { 0 };
        // SAFETY: nothing in this process uses the files that are replaced.
        if unsafe { libc::dup3(end.as_raw_fd(), place, flags) } < 0 {
            return Err(last_error());
        }
    }
    close_from(REPORT + 1);
    Ok(())
}

fn close_from(first: RawFd) {
    // SAFETY: nothing in this process uses the files that are closed.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) != 0 {
            for descriptor in first..MOST_OPEN {
                libc::close(descriptor);
            }
        }
    }
}

fn map_user(prepared: &Prepared) -> Result<(), Errno> {
    let (users, groups) = &prepared.maps;
    write_file(c"/proc/self/setgroups", b"deny")?;
    write_file(c"/proc/self/uid_map", users.as_bytes())?;
    write_file(c"/proc/self/gid_map", groups.as_bytes())
}

fn write_file(path: &CStr, content: &[u8]) -> Result<(), Errno> {
    let file = open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    write(&file, content).map(drop)
}

/// Gives up every capability; root becomes nobody, whose user namespace knows no user. Returns whether there is a user
/// namespace, in which the processes of the user are counted.
fn drop_privileges(walls: Walls) -> Result<bool, Errno> {
    let mut is_alone = true;
    empty_bounding_set();
    if walls == Walls::OfRoot {
        let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        set_thread_groups(&[])?;
        set_thread_res_gid(group, group, group)?;
        set_thread_res_uid(user, user, user)?;
        // A machine may forbid it to nobody, who has no rights without it either.
        // SAFETY: files are not unshared.
        is_alone = unsafe { unshare_unsafe(UnshareFlags::NEWUSER) }.is_ok();
        empty_bounding_set();
    }
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(is_alone)
}

/// Takes every capability from the programs to come. One that the kernel lacks is no loss.
fn empty_bounding_set() {
    for number in 0..u64::BITS {
        let _ = remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number));
    }
}

/// A session without a terminal, limits, no signal ignored or blocked, and death with imgforge.
fn limit(prepared: &Prepared, walls: Walls, is_alone: bool) -> Result<(), Errno> {
    setsid()?;
    chdir(c"/")?;
    umask(Mode::WGRP | Mode::WOTH);
    for (resource, most) in prepared.limits {
        // All processes of the user count where it has no namespace of its own.
        let most = match (resource, walls) {
            (Resource::Nproc, Walls::Absent) => continue,
            (Resource::Nproc, _) if !is_alone => most.max(MOST_OF_USER),
            _ => most,
        };
        let most = getrlimit(resource).maximum.map_or(most, |maximum| maximum.min(most));
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    reset_signals();
    // Last, because a change of the user takes it back.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if is_orphan() { Err(Errno::SRCH) } else { Ok(()) }
}

fn reset_signals() {
    // SAFETY: no handler of imgforge runs any more, and those of the program are its own. A signal that has no handler to
    // set, as KILL, is refused.
    unsafe {
        for signal in 1..=libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

/// Returns whether imgforge has ended already: nobody would be told of its death.
fn is_orphan() -> bool {
    // SAFETY: the descriptor was put there by the first step.
    let report = unsafe { BorrowedFd::borrow_raw(REPORT) };
    let mut asked = [PollFd::new(&report, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut asked, Some(&at_once)).is_ok() && asked[0].revents().contains(PollFlags::ERR)
}

fn install_filter(prepared: &Prepared) -> Result<(), Errno> {
    let filter = &prepared.filter;
    let length = u16::try_from(filter.len()).map_err(|_| Errno::INVAL)?;
    // The kernel only reads it.
    let program = libc::sock_fprog { len: length, filter: filter.as_ptr().cast_mut().cast() };
    // SAFETY: the program has that many instructions, in the form of the kernel, and outlives the call.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}
