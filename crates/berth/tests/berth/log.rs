//! A log that cannot be written harms nobody.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use berth_testkit::process::{free_port, run, wait_until};

use crate::support::berth;

/// A server whose standard error leads somewhere. Killed when dropped.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(home: &Path, errors: Stdio) -> Server {
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = berth(home);
        command.args(["serve", "--listen", &address, "--set", "server.log_level=trace"]);
        command.arg("--data-dir").arg(home.join("data"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn();
        let server = Server { child: child.expect("a server"), url: format!("http://{address}") };
        wait_until("the server is ready", Duration::from_secs(60), || {
            server.curl("/readyz").status().is_ok_and(|status| status.success())
        });
        server
    }

    fn curl(&self, path: &str) -> Command {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--fail-with-body", "--noproxy", "*"]);
        command.args(["--max-time", "10"]).arg(format!("{}{path}", self.url));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Status codes of so many requests, made by one client.
    fn statuses(&self, count: usize) -> Vec<String> {
        let mut command = Command::new("curl");
        command.args(["--silent", "--noproxy", "*", "--max-time", "60", "--output", "/dev/null"]);
        command.args(["--write-out", "%{http_code}\n"]);
        command.arg(format!("{}/v2/a[1-{count}]/b/tags/list", self.url));
        run(&mut command).lines().map(str::to_owned).collect()
    }

    fn lost_lines(&self) -> u64 {
        let page = run(&mut self.curl("/metrics"));
        let value = page.lines().find_map(|line| line.strip_prefix("berth_log_lines_lost_total "));
        value.expect("the metric is there").parse().expect("a number")
    }

    fn terminate(mut self) -> Option<i32> {
        run(Command::new("kill").args(["-TERM", &self.child.id().to_string()]));
        self.child.wait().expect("an end").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn requests_are_answered_while_the_log_is_on_a_full_file_system() {
    let home = tempfile::tempdir().expect("a folder");
    // Every write to it finds no space.
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    let server = Server::start(home.path(), full.into());
    assert_eq!(server.statuses(50), vec!["401"; 50]);
    assert!(server.lost_lines() > 0);
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn requests_are_answered_while_nobody_reads_the_log() {
    let home = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(home.path(), Stdio::piped());
    let unread = server.child.stderr.take();
    assert_eq!(server.statuses(2000), vec!["401"; 2000]);
    // And when the reader goes.
    drop(unread);
    assert_eq!(server.statuses(50), vec!["401"; 50]);
    wait_until("lost lines are counted", Duration::from_secs(20), || server.lost_lines() > 0);
    assert_eq!(server.terminate(), Some(0));
}
