//! A study on a real Slurm: the array, a task that is killed at work and queued again, the merge.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::faults::{assert_same, everything};
use super::shards::merged;
use super::workbench::{GLOVE_ONLY, StudyBench, command, skipped, text};

/// A Slurm of this test alone; it is taken down when this is dropped, and when this process ends.
struct Cluster {
    folder: TempDir,
    script: Child,
    /// What the script waits on.
    stdin: Option<ChildStdin>,
}

impl Cluster {
    /// Starts it, or says why it cannot be had here.
    fn start() -> Result<Self, String> {
        // Paths of sockets are short.
        let folder = tempfile::tempdir_in("/tmp").map_err(|error| error.to_string())?;
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/slurm-cluster");
        let mut script = Command::new(path)
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let stdin = script.stdin.take();
        let mut line = String::new();
        let stdout = script.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).map_err(|error| error.to_string())?;
        if line.trim() == "ready" {
            return Ok(Self { folder, script, stdin });
        }
        let ended = script.wait_with_output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(77), "slurm-cluster failed: {said}");
        Err(said.lines().last().unwrap_or("it said nothing").to_owned())
    }

    /// A command that talks to this Slurm.
    fn given(&self, mut command: Command) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("SLURM_CONF", self.folder.path().join("slurm.conf"));
        command.env("PATH", format!("{path}:/usr/sbin:/sbin")).stdin(Stdio::null());
        command
    }

    /// What one of Slurm's programs says.
    fn said(&self, program: &str, args: &[&str]) -> String {
        let mut command = Command::new(program);
        command.args(args);
        let output = self.given(command).output().expect("it starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.script.wait();
    }
}

/// What is there once it is; fails with `state` where it takes too long.
#[track_caller]
fn wait_for<T>(what: &str, state: impl Fn() -> String, is: impl Fn() -> Option<T>) -> T {
    let clock = Instant::now();
    loop {
        if let Some(found) = is() {
            return found;
        }
        assert!(clock.elapsed() < Duration::from_secs(240), "{what} takes too long\n{}", state());
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// The process that has a shard, from its lock.
fn holder(shard: &Path) -> Option<i32> {
    let text = std::fs::read_to_string(shard.join(".lock")).ok()?;
    text.strip_prefix("process ")?.split(' ').next()?.parse().ok()
}

fn logs(folder: &Path) -> String {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    files.retain(|path| path.extension().is_some_and(|ext| ext == "log"));
    files.sort();
    let read = |path: &PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    files.iter().map(|path| format!("{}:\n{}\n", path.display(), read(path))).collect()
}

#[test]
fn an_array_with_a_killed_task_and_its_merge_are_the_bytes_of_one_machine() {
    let cluster = match Cluster::start() {
        Ok(cluster) => cluster,
        Err(why) => return skipped(&why),
    };
    let bench = StudyBench::new(920, 25, 40_000);
    let lines = [GLOVE_ONLY, "stability.splits = 1"];
    let (study, out) = (bench.settings(&lines), bench.out());
    let flags = ["--shards", "3", "--mem", "128M", "--submit", "--json"];
    let args: Vec<&str> =
        ["slurm", text(&study), "--out", text(&out)].into_iter().chain(flags).collect();
    let submitted = cluster.given(command(&args)).output().expect("it starts");
    let said = String::from_utf8_lossy(&submitted.stderr).into_owned();
    assert!(submitted.status.success(), "{said}");
    let found: Value = serde_json::from_slice(&submitted.stdout).expect("one document");
    let job = |at: usize| found["jobs"][at]["id"].as_str().expect("a number").to_owned();
    let (array, merge) = (job(0), job(1));
    let state = || {
        let queue = cluster.said("squeue", &[]);
        format!("{queue}\n{}{}", logs(&out.join("slurm")), logs(cluster.folder.path()))
    };

    // The second task is killed while it works, and it is queued again.
    let shard = out.join("shards/2-of-3");
    let process = wait_for("the second shard", state, || holder(&shard));
    let pid = Pid::from_raw(process).expect("a process");
    kill_process(pid, Signal::KILL).expect("it is at work");
    let log = || std::fs::read_to_string(out.join("slurm/shard-2.log")).unwrap_or_default();
    wait_for("queueing again", state, || {
        log().contains("exit code 137: the task is queued again").then_some(())
    });
    // Slurm holds a task that was queued again back for two minutes; here five seconds are enough, and
    // needed: a node refuses a task that starts within the second in which it was ended.
    let task = format!("{array}_2");
    let shown = || cluster.said("scontrol", &["show", "job", &task]);
    wait_for("a place in the queue", state, || shown().contains("JobState=PENDING").then_some(()));
    cluster.said("scontrol", &["update", &format!("jobid={task}"), "starttime=now+5"]);
    wait_for("the second start", state, || {
        let found = shown();
        assert!(!found.contains("JobState=FAILED"), "{found}\n{}", state());
        let is_on = ["RUNNING", "COMPLETED"].map(|s| found.contains(&format!("JobState={s}")));
        (found.contains("Restarts=1") && is_on.contains(&true)).then_some(())
    });

    wait_for("the merge", state, || out.join("report.html").is_file().then_some(()));
    wait_for("the end", state, || {
        let found = cluster.said("scontrol", &["show", "job", &merge]);
        assert!(!found.contains("JobState=FAILED"), "{found}\n{}", state());
        found.contains("JobState=COMPLETED").then_some(())
    });
    assert_eq!(log().matches("queued again").count(), 1, "{}", log());
    drop(cluster);

    let (whole, one) = bench.run(&lines, &["--threads", "1"]);
    assert_eq!(whole.code, 0, "{whole:#?}");
    assert_same(&merged(&out), &everything(&one), "on Slurm");
}

#[test]
fn without_slurm_submission_says_what_to_do_with_the_scripts() {
    let bench = StudyBench::new(921, 25, 600);
    let (study, out) = (bench.settings(&[GLOVE_ONLY]), bench.out());
    let args = ["slurm", text(&study), "--out", text(&out), "--shards", "2", "--submit"];
    let refused = command(&args).env("PATH", "/nowhere").output().expect("it starts");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("sbatch: cannot be started") && said.contains("slurm/shards.sh by hand"));
}
