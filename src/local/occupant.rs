//! Which process uses a server's directory. A pid file alone proves nothing: pids are reused, above all in containers,
//! where every restart begins with the same ones.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// What a pid file says, checked against the process it names.
pub(super) enum Occupant {
    /// No pid file.
    Nobody,
    /// A pid file of a process that has ended, or of one that works in another directory.
    Stale,
    /// A process that works in this directory.
    Alive(u32),
    /// There is a process of that number, and no way to see where it works.
    Unknown,
}

/// Both servers make their data directory their working directory, and the kernel shows that of a process under
/// `/proc`. Where there is none (macOS) the answer is `Unknown`.
pub(super) fn of(dir: &Path, pid_file: &str) -> Occupant {
    let Ok(text) = fs::read_to_string(dir.join(pid_file)) else { return Occupant::Nobody };
    if !cfg!(target_os = "linux") {
        return Occupant::Unknown;
    }
    // A crash of the machine can leave an empty file.
    let pid = text.lines().next().and_then(|line| line.trim().parse::<u32>().ok());
    let Some(pid) = pid else { return Occupant::Stale };
    match fs::read_link(format!("/proc/{pid}/cwd")) {
        Ok(cwd) if cwd == dir => Occupant::Alive(pid),
        Ok(_) => Occupant::Stale,
        Err(error) if error.kind() == ErrorKind::NotFound => Occupant::Stale,
        // In a container without CAP_SYS_PTRACE root may not look at another user's process.
        Err(_) => Occupant::Unknown,
    }
}
