//! The `imgforge` program.

fn main() -> std::process::ExitCode {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    keep_no_idle_memory();
    imgforge::cli::run()
}

/// Tells glibc's allocator to give back what is not used. It would make eight arenas for each core, and keep large buffers
/// once they were used: a build of colab-like needs 160 MB so, and 410 MB without.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn keep_no_idle_memory() {
    const ARENAS: libc::c_int = 2;
    /// The size in bytes from which on memory is mapped by itself, and unmapped when it is freed.
    const LARGE: libc::c_int = 256 << 10;
    // SAFETY: no other thread exists yet, and any value of these parameters is valid. A refusal changes nothing.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
    }
}
