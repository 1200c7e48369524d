//! A MinIO server over a folder: a real S3 API.

use super::Daemon;
use crate::setup::Variables;
use crate::shell::free_port;
use anyhow::Result;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

/// The server is reachable from this machine only and lives as long as the run.
const ACCESS_KEY_ID: &str = "berth-test";
const SECRET_ACCESS_KEY: &str = "berth-test-secret";

pub(super) fn start(program: &Path, folder: &Path) -> Result<(Daemon, Variables)> {
    let data = folder.join("s3");
    std::fs::create_dir(&data)?;
    let address = format!("127.0.0.1:{}", free_port()?);
    let log = folder.join("minio.log");
    let mut daemon = Daemon::start(program, &log, |command| {
        command.args(["server", "--address", &address, "--quiet"]).arg(&data);
        command.env("MINIO_ROOT_USER", ACCESS_KEY_ID);
        command.env("MINIO_ROOT_PASSWORD", SECRET_ACCESS_KEY);
        command.env("MINIO_BROWSER", "off").env("MINIO_UPDATE", "off").env("CI", "true");
    })?;
    daemon.wait(&log, || is_ready(&address))?;
    let data = data.to_string_lossy().into_owned();
    Ok((
        daemon,
        vec![
            ("BERTH_TEST_S3_ENDPOINT", format!("http://{address}")),
            ("BERTH_TEST_S3_DATA_DIR", data),
            ("BERTH_TEST_S3_ACCESS_KEY_ID", ACCESS_KEY_ID.to_owned()),
            ("BERTH_TEST_S3_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY.to_owned()),
            ("BERTH_TEST_S3_REGION", "us-east-1".to_owned()),
        ],
    ))
}

/// Asks MinIO's readiness page, in the few words of HTTP that this takes.
fn is_ready(address: &str) -> bool {
    let answer = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let request = "GET /minio/health/ready HTTP/1.0\r\nHost: localhost\r\n\r\n";
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.take(64).read_to_string(&mut answer)?;
        Ok(answer)
    };
    answer().is_ok_and(|answer| answer.contains(" 200 "))
}
