//! A PostgreSQL server from Debian's package, run by an unprivileged user as it demands.

use super::{Daemon, open_to_all};
use crate::setup::Variables;
use crate::shell::{capture, free_port, is_root, run};
use anyhow::{Context, Result};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(super) fn start(folder: &Path, besides: &[&str]) -> Result<(Daemon, Variables)> {
    let programs = programs()?;
    let account = Account::for_server()?;
    let home = folder.join("postgres");
    std::fs::create_dir(&home)?;
    open_to_all(&home)?;
    account.own(&home)?;

    let data = home.join("data");
    let mut initdb = Command::new(programs.join("initdb"));
    initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
    initdb.args(["--no-sync", "--pgdata"]).arg(&data).current_dir(&home);
    account.apply(&mut initdb);
    capture(&mut initdb)?;

    let port = free_port()?;
    let log = folder.join("postgres.log");
    let mut daemon = Daemon::start(&programs.join("postgres"), &log, |command| {
        command.arg("-D").arg(&data).current_dir(&home);
        let settings = [
            "listen_addresses=127.0.0.1",
            &format!("port={port}"),
            "unix_socket_directories=",
            "max_connections=500",
            // The server lives as long as the run: what survives a power cut is not asked here.
            "fsync=off",
            "full_page_writes=off",
        ];
        let settings = settings.iter().chain(besides);
        command.args(settings.flat_map(|setting| ["-c", setting]));
        account.apply(command);
    })?;
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    daemon.wait(&log, || {
        let mut psql = Command::new("psql");
        capture(psql.args(["--no-psqlrc", "--dbname", &url, "--command", "SELECT 1"])).is_ok()
    })?;
    Ok((daemon, vec![("BERTH_TEST_POSTGRES_URL", url)]))
}

/// The folder of the newest installed server's programs.
fn programs() -> Result<PathBuf> {
    let root = Path::new("/usr/lib/postgresql");
    let mut versions: Vec<u32> = std::fs::read_dir(root)
        .with_context(|| format!("cannot read {}", root.display()))?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|version: &u32| root.join(version.to_string()).join("bin/postgres").is_file())
        .collect();
    versions.sort_unstable();
    let newest = versions.last().context("no PostgreSQL server below /usr/lib/postgresql")?;
    Ok(root.join(newest.to_string()).join("bin"))
}

/// Who runs the server: this user, or `postgres` when this user is root.
struct Account(Option<(u32, u32)>);

impl Account {
    fn for_server() -> Result<Account> {
        if !is_root()? {
            return Ok(Account(None));
        }
        let id = |flag| -> Result<u32> {
            Ok(capture(Command::new("id").args([flag, "postgres"]))?.trim().parse()?)
        };
        Ok(Account(Some((id("-u")?, id("-g")?))))
    }

    fn apply(&self, command: &mut Command) {
        if let Account(Some((user, group))) = *self {
            command.uid(user).gid(group);
        }
    }

    fn own(&self, folder: &Path) -> Result<()> {
        match self.0 {
            Some((user, group)) => {
                run(Command::new("chown").arg(format!("{user}:{group}")).arg(folder))
            }
            None => Ok(()),
        }
    }
}
