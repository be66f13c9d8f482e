//! What the control groups of this process (cgroup v1 and v2) leave of the memory.

use std::fs;
use std::path::Path;

/// The least that a control group of this process leaves, in bytes; `None` without a limit.
///
/// A group's limit holds for all groups below it, so all groups from the process's own up to the
/// root of the hierarchy are asked: Slurm sets a step's memory on the job, some levels above the
/// task. Cached files that the system can drop at once do not count as used. `root` is `/`; tests
/// give another folder.
pub fn group_left_bytes(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
    let hierarchies = mounts.lines().filter_map(Hierarchy::of_mount);
    hierarchies.filter_map(|hierarchy| hierarchy.left_bytes(root, &groups)).min()
}

/// A mounted hierarchy of control groups that may limit memory.
struct Hierarchy<'a> {
    is_v2: bool,
    /// The group that stands at the mount point.
    top: &'a Path,
    mount_point: &'a Path,
}

impl<'a> Hierarchy<'a> {
    /// From a line of mountinfo: `ID PARENT DEVICE ROOT MOUNT_POINT … - TYPE SOURCE OPTIONS`.
    fn of_mount(line: &'a str) -> Option<Self> {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (top, mount_point) = (place.next()?, place.next()?);
        let mut kind = kind.split(' ');
        let (kind, options) = (kind.next()?, kind.nth(1)?);
        let is_v2 = kind == "cgroup2";
        let is_v1 = kind == "cgroup" && options.split(',').any(|option| option == "memory");
        (is_v2 || is_v1).then_some(Self {
            is_v2,
            top: Path::new(top),
            mount_point: Path::new(mount_point),
        })
    }

    fn left_bytes(&self, root: &Path, groups: &str) -> Option<u64> {
        let own = groups.lines().find_map(|line| self.own_group(line))?;
        // A group outside of what is mounted here is not seen; what is above both still is.
        let below = own.strip_prefix(self.top).unwrap_or(Path::new(""));
        let is_inside =
            below.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        let below = if is_inside { below } else { Path::new("") };
        let mount_point = root.join(self.mount_point.strip_prefix("/").ok()?);
        below.ancestors().filter_map(|group| self.left_in(&mount_point.join(group))).min()
    }

    /// The process's group from a line of /proc/self/cgroup: `ID:CONTROLLERS:GROUP`.
    fn own_group<'b>(&self, line: &'b str) -> Option<&'b Path> {
        let mut fields = line.splitn(3, ':');
        let (id, controllers, group) = (fields.next()?, fields.next()?, fields.next()?);
        let is_own = match self.is_v2 {
            true => id == "0" && controllers.is_empty(),
            false => controllers.split(',').any(|name| name == "memory"),
        };
        is_own.then_some(Path::new(group))
    }

    /// What one group leaves; `None` where it sets no limit.
    fn left_in(&self, group: &Path) -> Option<u64> {
        let (limit, used, cached) = match self.is_v2 {
            true => ("memory.max", "memory.current", "inactive_file"),
            false => ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        };
        let read = |name: &str| fs::read_to_string(group.join(name)).ok();
        let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
        let stat = read("memory.stat").unwrap_or_default();
        let cached = stat.lines().find_map(|line| line.strip_prefix(cached)?.trim().parse().ok());
        let used = number(used)?.saturating_sub(cached.unwrap_or(0));
        Some(number(limit)?.saturating_sub(used))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                      32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    /// A root folder with the files given.
    fn root(cgroup: &str, mounts: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let own = [("proc/self/cgroup", cgroup), ("proc/self/mountinfo", mounts)];
        for (path, text) in own.iter().chain(files) {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn left(cgroup: &str, mounts: &str, files: &[(&str, &str)]) -> Option<u64> {
        group_left_bytes(root(cgroup, mounts, files).path())
    }

    #[test]
    fn the_limit_of_a_slurm_job_counts_for_a_task_far_below() {
        let task = "0::/system.slice/slurmstepd.scope/job_7/step_0/user/task_0\n";
        let job = "sys/fs/cgroup/system.slice/slurmstepd.scope/job_7";
        let file = |name: &str| format!("{job}/{name}");
        let (max, current) = (file("memory.max"), file("memory.current"));
        let (step_max, step) = (file("step_0/memory.max"), file("step_0/memory.current"));
        let mut files = vec![(&*max, "8000\n"), (&*current, "3000\n"), (&*step_max, "max\n")];
        files.push((&step, "3000\n"));
        assert_eq!(left(task, V2, &files), Some(5000));
        // The least of all levels: here the step's.
        files[2].1 = "3500\n";
        assert_eq!(left(task, V2, &files), Some(500));
        files[2].1 = "100\n";
        assert_eq!(left(task, V2, &files), Some(0), "over the limit already");
    }

    #[test]
    fn cached_files_are_not_used_memory() {
        let group = "sys/fs/cgroup/a";
        let file = |name: &str| format!("{group}/{name}");
        let stat = "anon 100\nfile 900\ninactive_file 600\nactive_file 300\n";
        let files = [
            (&*file("memory.max"), "2000"),
            (&*file("memory.current"), "1500"),
            (&*file("memory.stat"), stat),
        ];
        assert_eq!(left("0::/a\n", V2, &files), Some(1100));
    }

    #[test]
    fn version_1_has_other_names_and_a_number_for_no_limit() {
        let groups = "9:name=systemd:/\n4:cpuset,memory:/jobs/5\n1:cpu:/other\n0::/\n";
        let memory = "sys/fs/cgroup/memory";
        let file = |name: &str| format!("{memory}/{name}");
        let none = "9223372036854771712\n";
        let files = [
            (&*file("memory.limit_in_bytes"), none),
            (&*file("memory.usage_in_bytes"), "70000"),
            (&*file("jobs/memory.limit_in_bytes"), "9000"),
            (&*file("jobs/memory.usage_in_bytes"), "2000"),
            (&*file("jobs/memory.stat"), "inactive_file 1\ntotal_inactive_file 500\n"),
            (&*file("jobs/5/memory.limit_in_bytes"), none),
            (&*file("jobs/5/memory.usage_in_bytes"), "1000"),
        ];
        assert_eq!(left(groups, V1, &files), Some(7500));
    }

    #[test]
    fn a_container_sees_its_own_group_at_the_mount_point() {
        let files = [("sys/fs/cgroup/memory.max", "500"), ("sys/fs/cgroup/memory.current", "200")];
        // Its path is that of the host, and so is the root of the mount.
        let mount = V2.replace(" / /sys", " /docker/ab /sys");
        assert_eq!(left("0::/docker/ab\n", &mount, &files), Some(300));
        // The mount shows another part of the host's tree, or the path leads out of it.
        assert_eq!(left("0::/elsewhere\n", &mount, &files), Some(300));
        assert_eq!(left("0::/../../x\n", V2, &files), Some(300));
    }

    #[test]
    fn nothing_is_said_where_there_is_no_limit() {
        assert_eq!(left("0::/a\n", V2, &[]), None);
        let unlimited =
            [("sys/fs/cgroup/a/memory.max", "max"), ("sys/fs/cgroup/a/memory.current", "1")];
        assert_eq!(left("0::/a\n", V2, &unlimited), None);
        assert_eq!(left("", "", &[]), None);
        assert_eq!(left("no colons", "no dash\n1 2 3 - cgroup2", &[]), None);
        assert_eq!(group_left_bytes(Path::new("/does/not/exist")), None);
    }
}
