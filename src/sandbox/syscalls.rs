//! The system calls that a sandboxed program may make: those of interpreters and compilers. Any other does not exist
//! for it, so that it does without; a call of another architecture (i386) ends it.

use std::collections::BTreeMap;
use std::io;

use libc::{c_long, c_ulong};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

/// Calls with any arguments, by what they are for.
const ALLOWED: &[&[c_long]] = &[
    // memory
    &[
        libc::SYS_brk,
        libc::SYS_madvise,
        libc::SYS_membarrier,
        libc::SYS_mincore,
        libc::SYS_mmap,
        libc::SYS_mprotect,
        libc::SYS_mremap,
        libc::SYS_msync,
        libc::SYS_munmap,
    ],
    // open files
    &[
        libc::SYS_close,
        libc::SYS_close_range,
        libc::SYS_copy_file_range,
        libc::SYS_dup,
        libc::SYS_dup3,
        libc::SYS_epoll_create1,
        libc::SYS_epoll_ctl,
        libc::SYS_epoll_pwait,
        libc::SYS_eventfd2,
        libc::SYS_fadvise64,
        libc::SYS_fallocate,
        libc::SYS_fcntl,
        libc::SYS_fdatasync,
        libc::SYS_flock,
        libc::SYS_fsync,
        libc::SYS_ftruncate,
        libc::SYS_lseek,
        libc::SYS_memfd_create,
        libc::SYS_pipe2,
        libc::SYS_ppoll,
        libc::SYS_pread64,
        libc::SYS_preadv,
        libc::SYS_pselect6,
        libc::SYS_pwrite64,
        libc::SYS_pwritev,
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_sendfile,
        libc::SYS_splice,
        libc::SYS_write,
        libc::SYS_writev,
    ],
    // paths
    &[
        libc::SYS_chdir,
        libc::SYS_faccessat,
        libc::SYS_faccessat2,
        libc::SYS_fchdir,
        libc::SYS_fchmod,
        libc::SYS_fchmodat,
        libc::SYS_fgetxattr,
        libc::SYS_flistxattr,
        libc::SYS_fstat,
        libc::SYS_fstatfs,
        libc::SYS_getcwd,
        libc::SYS_getdents64,
        libc::SYS_getxattr,
        libc::SYS_lgetxattr,
        libc::SYS_linkat,
        libc::SYS_listxattr,
        libc::SYS_llistxattr,
        libc::SYS_mkdirat,
        libc::SYS_newfstatat,
        libc::SYS_openat,
        libc::SYS_openat2,
        libc::SYS_readlinkat,
        libc::SYS_renameat2,
        libc::SYS_statfs,
        libc::SYS_statx,
        libc::SYS_symlinkat,
        libc::SYS_truncate,
        libc::SYS_umask,
        libc::SYS_unlinkat,
        libc::SYS_utimensat,
    ],
    // processes and threads
    &[
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_futex,
        libc::SYS_get_robust_list,
        libc::SYS_getcpu,
        libc::SYS_getpgid,
        libc::SYS_getpid,
        libc::SYS_getppid,
        libc::SYS_getpriority,
        libc::SYS_getrusage,
        libc::SYS_getsid,
        libc::SYS_gettid,
        libc::SYS_prlimit64,
        libc::SYS_rseq,
        libc::SYS_sched_getaffinity,
        libc::SYS_sched_getparam,
        libc::SYS_sched_getscheduler,
        libc::SYS_sched_yield,
        libc::SYS_set_robust_list,
        libc::SYS_set_tid_address,
        libc::SYS_setpgid,
        libc::SYS_setpriority,
        libc::SYS_setsid,
        libc::SYS_wait4,
        libc::SYS_waitid,
    ],
    // users, whom none of these changes
    &[
        libc::SYS_capget,
        libc::SYS_getegid,
        libc::SYS_geteuid,
        libc::SYS_getgid,
        libc::SYS_getgroups,
        libc::SYS_getresgid,
        libc::SYS_getresuid,
        libc::SYS_getuid,
    ],
    // signals
    &[
        libc::SYS_kill,
        libc::SYS_restart_syscall,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigpending,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_rt_sigsuspend,
        libc::SYS_rt_sigtimedwait,
        libc::SYS_sigaltstack,
        libc::SYS_signalfd4,
        libc::SYS_tgkill,
        libc::SYS_tkill,
    ],
    // time, chance, and what the machine is
    &[
        libc::SYS_clock_getres,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_getitimer,
        libc::SYS_getrandom,
        libc::SYS_gettimeofday,
        libc::SYS_nanosleep,
        libc::SYS_setitimer,
        libc::SYS_sysinfo,
        libc::SYS_timer_create,
        libc::SYS_timer_delete,
        libc::SYS_timer_settime,
        libc::SYS_timerfd_create,
        libc::SYS_timerfd_settime,
        libc::SYS_times,
        libc::SYS_uname,
    ],
    // the ends of socket pairs, and sockets of files: there is no other
    &[
        libc::SYS_accept4,
        libc::SYS_bind,
        libc::SYS_connect,
        libc::SYS_getpeername,
        libc::SYS_getsockname,
        libc::SYS_getsockopt,
        libc::SYS_listen,
        libc::SYS_recvfrom,
        libc::SYS_recvmsg,
        libc::SYS_sendmsg,
        libc::SYS_sendto,
        libc::SYS_setsockopt,
        libc::SYS_shutdown,
    ],
];

/// The older forms of these calls.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_alarm,
    libc::SYS_arch_prctl,
    libc::SYS_chmod,
    libc::SYS_creat,
    libc::SYS_dup2,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_fork,
    libc::SYS_getdents,
    libc::SYS_getpgrp,
    libc::SYS_getrlimit,
    libc::SYS_link,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_pause,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_rmdir,
    libc::SYS_select,
    libc::SYS_setrlimit,
    libc::SYS_stat,
    libc::SYS_symlink,
    libc::SYS_time,
    libc::SYS_unlink,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_vfork,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

/// The flags of clone that make namespaces. `clone3`, whose flags no filter sees, does not exist.
const NAMESPACES: libc::c_int = libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWUTS;
/// The controls of a terminal by which a program types into it.
const TYPING: [c_ulong; 2] = [libc::TIOCSTI as c_ulong, libc::TIOCLINUX as c_ulong];
/// The settings of itself that a process may change or ask for: not that it outlives imgforge.
const CONTROLS: [libc::c_int; 4] =
    [libc::PR_GET_NAME, libc::PR_SET_NAME, libc::PR_CAPBSET_READ, libc::PR_SET_VMA];

/// The filter as a program for the kernel.
pub(super) fn filter() -> io::Result<BpfProgram> {
    let failed = |error: seccompiler::BackendError| io::Error::other(error.to_string());
    let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(failed)?;
    let (absent, allow) = (SeccompAction::Errno(libc::ENOSYS as u32), SeccompAction::Allow);
    let filter = SeccompFilter::new(rules().map_err(failed)?, absent, allow, architecture);
    filter.and_then(BpfProgram::try_from).map_err(failed)
}

/// Each call with the forms in which it is allowed: none means all.
fn rules() -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
    use SeccompCmpOp::{Eq, MaskedEq, Ne};
    let condition =
        |index, operator, value| SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, value);
    let is_unix = || SeccompRule::new(vec![condition(0, Eq, libc::AF_UNIX as u64)?]);
    let of_control = |control: &libc::c_int| SeccompRule::new(vec![condition(0, Eq, *control as u64)?]);
    let not_typing = TYPING.iter().map(|control| condition(1, Ne, *control & 0xffff_ffff));
    let without_namespaces = condition(0, MaskedEq(NAMESPACES as u64 & 0xffff_ffff), 0)?;

    let any = ALLOWED.iter().copied().chain([OLDER]).flatten();
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = any.map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![without_namespaces])?]);
    rules.insert(libc::SYS_socket, vec![is_unix()?]);
    rules.insert(libc::SYS_socketpair, vec![is_unix()?]);
    rules.insert(libc::SYS_ioctl, vec![SeccompRule::new(not_typing.collect::<Result<_, _>>()?)?]);
    rules.insert(libc::SYS_prctl, CONTROLS.iter().map(of_control).collect::<Result<_, _>>()?);
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_is_a_program_that_the_kernel_takes() {
        const MOST_INSTRUCTIONS: usize = 4096;
        assert!(filter().unwrap().len() < MOST_INSTRUCTIONS);
    }

    #[test]
    fn no_call_by_which_sandboxes_were_left_is_allowed() {
        let rules = rules().unwrap();
        for call in [
            libc::SYS_add_key,
            libc::SYS_bpf,
            libc::SYS_capset,
            libc::SYS_chroot,
            libc::SYS_clone3,
            libc::SYS_delete_module,
            libc::SYS_finit_module,
            libc::SYS_fsopen,
            libc::SYS_init_module,
            libc::SYS_io_uring_setup,
            libc::SYS_kexec_load,
            libc::SYS_keyctl,
            libc::SYS_mknodat,
            libc::SYS_mount,
            libc::SYS_move_mount,
            libc::SYS_name_to_handle_at,
            libc::SYS_open_by_handle_at,
            libc::SYS_open_tree,
            libc::SYS_perf_event_open,
            libc::SYS_personality,
            libc::SYS_pidfd_getfd,
            libc::SYS_pivot_root,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_ptrace,
            libc::SYS_request_key,
            libc::SYS_setns,
            libc::SYS_setuid,
            libc::SYS_umount2,
            libc::SYS_unshare,
            libc::SYS_userfaultfd,
        ] {
            assert!(!rules.contains_key(&call), "{call}");
        }
    }
}
