//! The steps of having the server put itself in order, and of breaking what it keeps.

use crate::build::text;
use berth_testkit::registry::sha256;
use berth_testkit::server::TestServer;
use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Takes all tasks, whosever they are.
pub const SERVER: (&str, &str) = ("Scope", "SERVER");

/// Has the whole server do maintenance (`GC` or `SCRUB`) and returns the task as it ended.
#[must_use]
pub fn run(server: &TestServer, kind: &str) -> Value {
    let instance = server.credentials().instance_id.as_str();
    let parameters = [("InstanceId", instance), ("Kind", kind), SERVER];
    let made = server.api().call("CreateMaintenanceTask", &parameters);
    wait(server, &text(&made, "TaskId"))
}

/// Waits until a task is over and returns it as it ended.
///
/// # Panics
/// When it takes more than two minutes.
#[must_use]
pub fn wait(server: &TestServer, id: &str) -> Value {
    let (api, instance) = (server.api(), server.credentials().instance_id.as_str());
    let begin = Instant::now();
    loop {
        let parameters = [("InstanceId", instance), ("TaskId", id), SERVER];
        let task = api.call("GetMaintenanceTask", &parameters);
        if task["TaskStatus"] == "SUCCESS" || task["TaskStatus"] == "FAILED" {
            return task;
        }
        let limit = Duration::from_secs(120);
        assert!(begin.elapsed() < limit, "not over within {limit:?}: {task}\n{}", server.log());
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// The first hundred lines of a task's log.
#[must_use]
pub fn log(server: &TestServer, task: &Value) -> String {
    let (instance, id) = (server.credentials().instance_id.as_str(), text(task, "TaskId"));
    let page = [("PageNo", "1"), ("PageSize", "100")];
    let parameters = [[("InstanceId", instance), ("TaskId", id.as_str())], page].concat();
    let parameters = [parameters, vec![SERVER]].concat();
    let page = server.api().call("ListMaintenanceTaskLog", &parameters);
    let lines = page["TaskLogs"].as_array().cloned().unwrap_or_default();
    lines.iter().map(|line| text(line, "Message") + "\n").collect()
}

/// A value of the server's metrics; 0 when there is none yet.
///
/// # Panics
/// When there are no metrics.
#[must_use]
pub fn metric(server: &TestServer, name: &str) -> f64 {
    let answer = server.registry().request("GET", "/metrics").send().expect("metrics");
    let text = answer.text().expect("metrics arrive whole");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap_or_else(|error| panic!("{value}: {error}")))
}

/// The file in which the server keeps a blob, found by its content.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn file_of(server: &TestServer, digest: &str) -> PathBuf {
    let folder = server.data_folder().join("blobs/objects");
    let mut found = files(&folder);
    found.retain(|path| fs::read(path).is_ok_and(|bytes| sha256(&bytes) == digest));
    found.pop().unwrap_or_else(|| panic!("no file holds {digest}"))
}

/// All files below a folder.
#[must_use]
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Flips a bit in the middle of a file, as any program would that writes to it.
///
/// # Panics
/// When it cannot.
pub fn flip(path: &Path) {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("the file opens");
    let middle = file.metadata().expect("the file has a size").len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).expect("the file is read");
    byte[0] ^= 0x10;
    file.write_all_at(&byte, middle).expect("the file is written");
}

/// [`flip`] as a disk does it: the file's times tell nothing.
///
/// # Panics
/// When it cannot.
pub fn rot(path: &Path) {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    let modified = modified.expect("the file has a time");
    flip(path);
    let file = OpenOptions::new().write(true).open(path).expect("the file opens");
    file.set_modified(modified).expect("the time is set");
}
