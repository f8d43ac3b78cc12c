//! The `imgforge` program.

fn main() -> std::process::ExitCode {
    share_arenas();
    imgforge::cli::run()
}

/// Lets all threads allocate from two arenas. glibc would make eight for each core, and most of what they hold lies idle: the
/// many threads that resolve colab-like hold 220 MB so, and 110 MB with two.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn share_arenas() {
    // SAFETY: no other thread exists yet, and any value of this parameter is valid. A refusal changes nothing.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn share_arenas() {}
