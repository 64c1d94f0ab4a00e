//! The figures of the process that every Prometheus client prints, read from `/proc`. Elsewhere than on Linux there are
//! none.

use std::fs;
use std::path::Path;

/// What `/proc` says about one process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ProcessFigures {
    pub(super) cpu_seconds: f64,
    pub(super) open_files: f64,
    pub(super) max_files: f64,
    pub(super) virtual_bytes: f64,
    pub(super) resident_bytes: f64,
    /// Since the Unix epoch.
    pub(super) started_seconds: f64,
}

/// Linux counts in these units for programs, whatever the kernel uses itself.
const TICKS_PER_SECOND: f64 = 100.0;

impl ProcessFigures {
    /// Reads the figures of this process; `None` on a system without `/proc`.
    pub(super) fn read() -> Option<Self> {
        Self::read_from(Path::new("/proc"))
    }

    fn read_from(proc: &Path) -> Option<Self> {
        let own = proc.join("self");
        let stat = fs::read_to_string(own.join("stat")).ok()?;
        // The name, in parentheses, may contain blanks and parentheses.
        let (_, fields) = stat.rsplit_once(") ")?;
        let field = |number: usize| -> Option<f64> {
            // The first field after the name is the third one in the manual.
            fields.split_ascii_whitespace().nth(number - 3)?.parse().ok()
        };
        let status = fs::read_to_string(own.join("status")).ok()?;
        let kilobytes = |name: &str| -> Option<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix(" kB")?.parse::<f64>().ok()
        };
        let limits = fs::read_to_string(own.join("limits")).ok()?;
        let max_files = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        let max_files = max_files.split_ascii_whitespace().next()?.parse();
        let boot = fs::read_to_string(proc.join("stat")).ok()?;
        let boot: f64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.parse().ok()?;
        let open_files = fs::read_dir(own.join("fd")).ok()?.count();
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / TICKS_PER_SECOND,
            // Without the folder itself, which is open while it is read.
            open_files: f64::from(u32::try_from(open_files.saturating_sub(1)).ok()?),
            max_files: max_files.unwrap_or(f64::INFINITY),
            virtual_bytes: kilobytes("VmSize:")? * 1024.0,
            resident_bytes: kilobytes("VmRSS:")? * 1024.0,
            started_seconds: boot + field(22)? / TICKS_PER_SECOND,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_proc_are_read_whatever_the_process_is_called() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("self");
        fs::create_dir_all(own.join("fd")).unwrap();
        for fd in 0..4 {
            fs::write(own.join("fd").join(fd.to_string()), "").unwrap();
        }
        let stat = "7 (a) b) (c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 4 0 12345 9 9 18446744073709551615";
        fs::write(own.join("stat"), stat).unwrap();
        fs::write(own.join("status"), "Name:\ta\nVmSize:\t    2048 kB\nVmRSS:\t    1024 kB\n")
            .unwrap();
        fs::write(own.join("limits"), "Limit  Soft  Hard\nMax open files            1024                 524288               files\n").unwrap();
        fs::write(dir.path().join("stat"), "cpu 1\nbtime 1700000000\n").unwrap();
        let read = ProcessFigures::read_from(dir.path()).unwrap();
        let expected = ProcessFigures {
            cpu_seconds: 3.0,
            open_files: 3.0,
            max_files: 1024.0,
            virtual_bytes: 2_097_152.0,
            resident_bytes: 1_048_576.0,
            started_seconds: 1_700_000_123.45,
        };
        assert_eq!(read, expected);
        assert_eq!(ProcessFigures::read_from(&dir.path().join("none")), None);
    }
}
