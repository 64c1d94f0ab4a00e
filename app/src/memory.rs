//! How much memory this process may use.

use std::fs;
use std::path::Path;

use bytesize::ByteSize;

use crate::config::Config;

/// Warns if waiting notifications may use more memory than there is: the system would end the process before the limit
/// rejects anything.
pub(crate) fn warn_of_too_little(config: &Config) {
    let wanted = config.delivery.default.max_pending_bytes;
    if let Some(there) = available(Path::new("/"))
        && wanted > there
    {
        tracing::warn!(
            "delivery.max_pending_bytes is {wanted}, and this machine or its cgroup has {there} of memory: \
             set it lower, or the system ends this process before anything is rejected"
        );
    }
}

/// The memory of the machine, or the limit of this process's cgroup if that is less. `None` if it is unknown. `root` is
/// the folder that contains `proc` and `sys`.
fn available(root: &Path) -> Option<ByteSize> {
    let machine = machine(&read(root, "proc/meminfo")?);
    let groups = read(root, "proc/self/cgroup").unwrap_or_default();
    machine.into_iter().chain(groups.lines().filter_map(|line| group(root, line))).min()
}

fn read(root: &Path, file: &str) -> Option<String> {
    fs::read_to_string(root.join(file)).ok()
}

/// From the line `MemTotal:       16303428 kB`.
fn machine(meminfo: &str) -> Option<ByteSize> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total.trim().strip_suffix("kB")?.trim().parse().ok().map(ByteSize::kib)
}

/// The lowest limit of a cgroup and its parents, from a line like `0::/system.slice/doorstep.service`, or
/// `4:memory:/docker/...` in version 1.
fn group(root: &Path, line: &str) -> Option<ByteSize> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let (folder, file) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        named if named.split(',').any(|name| name == "memory") => {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return None,
    };
    // A container may see its own cgroup at the root, whatever its path says.
    let around = Path::new(path.trim_start_matches('/')).ancestors();
    let limits = around.filter_map(|path| {
        let text = read(&root.join(folder).join(path), file)?;
        // `max` means no limit.
        text.trim().parse().ok().map(ByteSize::b)
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], expected: Option<ByteSize>) {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = root.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        assert_eq!(available(root.path()), expected, "{files:?}");
    }

    #[test]
    fn the_tightest_limit_counts() {
        let machine = ("proc/meminfo", "MemTotal:       2048 kB\nMemFree:        12 kB\n");
        check(&[], None);
        check(&[machine], Some(ByteSize::mib(2)));
        let in_service = ("proc/self/cgroup", "0::/a.slice/b.service\n");
        let no_limit = ("sys/fs/cgroup/a.slice/b.service/memory.max", "max\n");
        check(&[machine, in_service, no_limit], Some(ByteSize::mib(2)));
        let around = ("sys/fs/cgroup/a.slice/memory.max", "1048576\n");
        check(&[machine, in_service, no_limit, around], Some(ByteSize::mib(1)));
        let container = ("sys/fs/cgroup/memory.max", "4096\n");
        check(&[machine, ("proc/self/cgroup", "0::/\n"), container], Some(ByteSize::kib(4)));
        let first_version = ("sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "8192\n");
        let in_docker = ("proc/self/cgroup", "5:cpu:/docker/x\n4:memory:/docker/x\n");
        check(&[machine, in_docker, first_version], Some(ByteSize::kib(8)));
    }
}
