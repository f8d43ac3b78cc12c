//! The settings of a machine that forbid sandboxes.

use std::fs;

/// Settings of the kernel: the file, the value that forbids, and the remedy.
const SETTINGS: [(&str, &str, &str); 8] = [
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "`sysctl kernel.unprivileged_userns_clone` is 0: set it to 1",
    ),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "`sysctl kernel.apparmor_restrict_unprivileged_userns` is 1: set it to 0, or give imgforge an AppArmor profile \
         with `userns,`",
    ),
    ("/proc/sys/user/max_user_namespaces", "0", "`sysctl user.max_user_namespaces` is 0: raise it"),
    ("/proc/sys/user/max_mnt_namespaces", "0", "`sysctl user.max_mnt_namespaces` is 0: raise it"),
    ("/proc/sys/user/max_pid_namespaces", "0", "`sysctl user.max_pid_namespaces` is 0: raise it"),
    ("/proc/sys/user/max_net_namespaces", "0", "`sysctl user.max_net_namespaces` is 0: raise it"),
    ("/proc/sys/user/max_ipc_namespaces", "0", "`sysctl user.max_ipc_namespaces` is 0: raise it"),
    ("/proc/sys/user/max_uts_namespaces", "0", "`sysctl user.max_uts_namespaces` is 0: raise it"),
];
const FILTERED: &str = "a seccomp filter, as container engines set it, is in force: run the container with \
                        `--security-opt seccomp=unconfined`";
const LABELLED: &str =
    "an AppArmor profile is in force: run the container with `--security-opt apparmor=unconfined`";

/// The settings in force that may be the reason for a refusal, each with its remedy.
pub(super) fn settings() -> Vec<String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let of_kernel = SETTINGS.iter().filter(|(path, forbids, _)| read(path).trim() == *forbids);
    let mut found: Vec<String> = of_kernel.map(|(_, _, remedy)| (*remedy).to_owned()).collect();
    if is_filtered(&read("/proc/self/status")) {
        found.push(FILTERED.into());
    }
    if read("/proc/self/attr/apparmor/current").trim().ends_with("(enforce)") {
        found.push(LABELLED.into());
    }
    found
}

fn is_filtered(status: &str) -> bool {
    status.lines().filter_map(|line| line.strip_prefix("Seccomp:")).any(|mode| mode.trim() == "2")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_seen_in_the_status_of_a_process() {
        assert!(is_filtered("Name:\timgforge\nSeccomp:\t2\nSeccomp_filters:\t1\n"));
        assert!(!is_filtered("Name:\tSeccomp:\t2\nSeccomp:\t0\n"));
    }
}
