//! Memory of the process, and its limit.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes of memory that the process has now. `None` where the system does not say.
pub(super) fn resident() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// Bytes of memory at which the system would end the process: that of the machine, or of the narrowest control
/// group that the process is in. `None` where the system does not say.
pub(crate) fn limit() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| kilobytes(&text, "MemTotal:"));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().flat_map(files).filter_map(|file| {
        // "max" means no limit.
        fs::read_to_string(file).ok()?.trim().parse().ok()
    });
    limits.chain(machine).min()
}

/// The value of a line such as `VmRSS:  1024 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The files that limit the memory of a control group and of those around it. `line` is one of `/proc/self/cgroup`.
fn files(line: &str) -> Vec<PathBuf> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (root, file) = match parts.next() {
        Some("") => ("/sys/fs/cgroup", "memory.max"),
        Some(controllers) if controllers.split(',').any(|name| name == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let group = Path::new(parts.next().unwrap_or("/").trim_start_matches('/'));
    // A container may see the path of its group on the host, where only the root is its own.
    group.ancestors().map(|group| Path::new(root).join(group).join(file)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        let text = "Name:\tx\nVmHWM:\t 9 kB\nVmRSS:\t  2048 kB\n";
        assert_eq!(kilobytes(text, "VmRSS:"), Some(2 << 20));
        assert_eq!(kilobytes(text, "VmSwap:"), None);
        assert_eq!(kilobytes(text, "Name:"), None);
    }

    #[test]
    fn limits_of_all_groups_around_count() {
        let files = |line| files(line).iter().map(|file| file.display().to_string()).collect::<Vec<_>>();
        assert_eq!(
            files("0::/a/b"),
            ["/sys/fs/cgroup/a/b/memory.max", "/sys/fs/cgroup/a/memory.max", "/sys/fs/cgroup/memory.max"]
        );
        assert_eq!(files("0::/"), ["/sys/fs/cgroup/memory.max"]);
        assert_eq!(
            files("4:cpu,memory:/x"),
            ["/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        );
        assert!(files("5:pids:/x").is_empty() && files("").is_empty());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory_and_a_limit() {
        let resident = resident().unwrap();
        assert!(resident > 1 << 20);
        assert!(limit().unwrap() > resident);
    }
}
