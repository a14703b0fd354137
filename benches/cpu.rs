//! What a process has spent of the CPU.

use crate::Failed;

/// Linux counts in hundredths of a second for whoever asks, whatever the kernel's own clock.
const TICKS_PER_S: f64 = 100.0;

/// User and system time of all threads of this process so far, s.
pub fn own_s() -> Result<f64, Failed> {
    of_s(std::process::id())
}

/// Likewise of another.
pub fn of_s(process: u32) -> Result<f64, Failed> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))
        .map_err(|error| format!("the CPU of a process is read from Linux's /proc: {error}"))?;
    // The name of the program, in parentheses, may hold spaces; see proc(5). utime and stime are fields 14 and 15.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: Vec<f64> =
        rest.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS_PER_S)
}
