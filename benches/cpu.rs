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
    Ok(stat(process)?.own_s)
}

/// The same of a process and its children, those that have ended included.
pub fn family_s(parent: u32) -> Result<f64, Failed> {
    let of_parent = stat(parent)?;
    let mut sum_s = of_parent.own_s + of_parent.ended_children_s;
    for entry in std::fs::read_dir("/proc")? {
        let Ok(process) = entry?.file_name().to_string_lossy().parse() else { continue };
        // One that ends meanwhile is counted by its parent next time.
        if let Ok(stat) = stat(process)
            && stat.parent == parent
        {
            sum_s += stat.own_s;
        }
    }
    Ok(sum_s)
}

struct Stat {
    parent: u32,
    own_s: f64,
    ended_children_s: f64,
}

fn stat(process: u32) -> Result<Stat, Failed> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))
        .map_err(|error| format!("cannot read CPU time from /proc (Linux only): {error}"))?;
    // The program's name, in parentheses, may contain spaces; see proc(5). ppid is field 4; utime, stime, cutime and
    // cstime are fields 14 to 17.
    let rest: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = rest.iter().skip(11).take(4).map(|ticks| ticks.parse()).collect::<Result<Vec<f64>, _>>()?;
    let [user, system, children_user, children_system] = ticks[..] else {
        return Err("/proc tells no CPU time".into());
    };
    Ok(Stat {
        parent: rest.get(1).ok_or("/proc tells no parent")?.parse()?,
        own_s: (user + system) / TICKS_PER_S,
        ended_children_s: (children_user + children_system) / TICKS_PER_S,
    })
}
