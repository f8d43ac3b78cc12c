//! The root file system of a sandbox: an empty one in memory, the trees, four devices, and nothing that can be written
//! but scratch directories. Made by system calls alone: see `child`.

use std::ffi::CStr;
use std::os::fd::IntoRawFd;

use rustix::fs::{Mode, OFlags, mkdir, open, statvfs, symlink};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, mount_remount, unmount,
};
use rustix::process::{chdir, pivot_root};

use super::prepared::{DEVICES, FIRST_DESCRIPTOR, Prepared, PreparedTree};
use super::{SetupStep, TreeAccess};

/// Room for directories and the places of devices.
const SIZE: &CStr = c"mode=0755,size=64k,nr_inodes=256";
const NO_PRIVILEGES: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);
const DIRECTORY: Mode = Mode::RWXU.union(Mode::RGRP).union(Mode::XGRP).union(Mode::ROTH).union(Mode::XOTH);

/// Makes the root, and leaves that of the machine. Nothing is open but the first descriptors.
pub(super) fn enter(prepared: &Prepared) -> Result<(), (SetupStep, Errno)> {
    let of_root = |error| (SetupStep::Root, error);
    let of_trees = |error| (SetupStep::Trees, error);
    let of_devices = |error| (SetupStep::Devices, error);
    let propagation = MountPropagationFlags::REC.union(MountPropagationFlags::PRIVATE);
    mount_change(c"/", propagation).map_err(of_root)?;
    open_all(prepared)?;
    // Mounted over a directory that is surely there: what lies below is reached through descriptors.
    let place = prepared.trees.first().ok_or((SetupStep::Trees, Errno::NOENT))?.source.as_c_str();
    mount(c"tmpfs", place, c"tmpfs", NO_PRIVILEGES, SIZE).map_err(of_root)?;
    chdir(place).map_err(of_root)?;
    for tree in &prepared.trees {
        mount_tree(tree).map_err(of_trees)?;
    }
    for (path, target) in &prepared.links {
        symlink(target.as_c_str(), path.as_c_str()).map_err(of_trees)?;
    }
    mount_devices().map_err(of_devices)?;
    pivot_root(c".", c".").map_err(of_root)?;
    unmount(c".", UnmountFlags::DETACH).map_err(of_root)?;
    chdir(c"/").map_err(of_root)?;
    let closed = MountFlags::BIND.union(MountFlags::RDONLY).union(MountFlags::NOEXEC).union(NO_PRIVILEGES);
    mount_remount(c"/", closed, c"").map_err(of_root)
}

/// Opens devices and trees: each gets the descriptor by which it is mounted.
fn open_all(prepared: &Prepared) -> Result<(), (SetupStep, Errno)> {
    let mut expected = FIRST_DESCRIPTOR;
    let mut open_next = |path: &CStr, flags: OFlags| {
        let file = open(path, OFlags::PATH | OFlags::CLOEXEC | flags, Mode::empty())?;
        let is_next = usize::try_from(file.into_raw_fd()) == Ok(expected);
        expected += 1;
        if is_next { Ok(()) } else { Err(Errno::BADF) }
    };
    for (device, _, _) in DEVICES {
        open_next(device, OFlags::empty()).map_err(|error| (SetupStep::Devices, error))?;
    }
    for tree in &prepared.trees {
        open_next(&tree.source, OFlags::DIRECTORY).map_err(|error| (SetupStep::Trees, error))?;
    }
    Ok(())
}

fn mount_tree(tree: &PreparedTree) -> Result<(), Errno> {
    for directory in &tree.directories {
        match mkdir(directory.as_c_str(), DIRECTORY) {
            Err(Errno::EXIST) => {}
            result => result?,
        }
    }
    mount_bind(tree.handle.as_c_str(), tree.target.as_c_str())?;
    let access = match tree.access {
        TreeAccess::ReadOnly => MountFlags::RDONLY,
        TreeAccess::Scratch => MountFlags::empty(),
    };
    restrict(&tree.target, access.union(NO_PRIVILEGES))
}

fn mount_devices() -> Result<(), Errno> {
    mkdir(c"dev", DIRECTORY)?;
    for (_, target, handle) in DEVICES {
        drop(open(target, OFlags::CREATE | OFlags::CLOEXEC | OFlags::WRONLY, Mode::RUSR)?);
        mount_bind(handle, target)?;
        // Devices are written to all the same: only their modes and owners are not.
        restrict(target, MountFlags::RDONLY.union(MountFlags::NOSUID).union(MountFlags::NOEXEC))?;
    }
    Ok(())
}

/// Adds `flags` to a mount; a user may not take any away that the machine has set.
fn restrict(target: &CStr, flags: MountFlags) -> Result<(), Errno> {
    let kept = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    // In both, these flags have the same bits.
    let of_machine = u32::try_from(statvfs(target)?.f_flag.bits()).unwrap_or_default();
    let of_machine = MountFlags::from_bits_retain(of_machine).intersection(kept);
    mount_remount(target, MountFlags::BIND.union(flags).union(of_machine), c"")
}
