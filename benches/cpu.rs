//! CPU time of processes.

use crate::Failed;

/// Linux reports CPU time in hundredths of a second, whatever the kernel's own tick.
const TICKS_PER_S: f64 = 100.0;

/// User and system time of all threads of this process so far, s.
pub fn own_s() -> Result<f64, Failed> {
    process_s(std::process::id())
}

/// User and system time of another process so far, s.
pub fn process_s(process: u32) -> Result<f64, Failed> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))
        .map_err(|error| format!("cannot read CPU time from /proc (Linux only): {error}"))?;
    // The program's name, in parentheses, may contain spaces; see proc(5). utime and stime are fields 14 and 15.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: Vec<f64> =
        rest.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS_PER_S)
}
