//! The CPU time of processes, from `/proc`.
//!
//! It depends less than a rate on what else the machine runs.

use std::fs;
use std::time::Duration;

/// Clock ticks per second in `/proc`: fixed on Linux.
const TICKS: u32 = 100;

/// The CPU time of a process and its children, including those that have exited.
pub(crate) fn of_tree(pid: u32) -> Duration {
    let mut ticks = Times::read(pid).map_or(0, |times| times.own + times.exited_children);
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let process = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Times::read);
        ticks += process.filter(|process| process.parent == pid).map_or(0, |child| child.own);
    }
    Duration::from_secs(ticks) / TICKS
}

/// The fields of `/proc/PID/stat` that are used.
struct Times {
    parent: u32,
    own: u64,
    exited_children: u64,
}

impl Times {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(stat: &str) -> Option<Self> {
        // The name, in parentheses, may contain spaces. The fields after it are numbered from 3.
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<_> = fields.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            parent: u32::try_from(field(4)?).ok()?,
            own: field(14)? + field(15)?,
            exited_children: field(16)? + field(17)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_a_process_are_parsed() {
        let stat = "42 (a (strange) name) S 7 42 42 0 -1 4194560 1 2 3 4 100 20 5 6 20 0 1 0 99 1 2";
        let times = Times::parse(stat).unwrap();
        assert_eq!((times.parent, times.own, times.exited_children), (7, 120, 11));
    }
}
