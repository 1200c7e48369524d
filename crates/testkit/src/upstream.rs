//! Registries of other makers, as upstreams.

use crate::process::{Daemon, free_port};
use crate::registry::{Registry, answers};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// Debian's `docker-registry` (distribution 2.8) on a free port, without users.
#[derive(Debug)]
pub struct DockerRegistry {
    port: u16,
    _daemon: Daemon,
    folder: TempDir,
}

impl DockerRegistry {
    /// Starts an empty registry.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn start() -> DockerRegistry {
        let folder = tempfile::Builder::new()
            .prefix("berth-upstream-")
            .tempdir()
            .expect("a temporary folder can be made");
        let port = free_port();
        let config = folder.path().join("config.yml");
        let storage = folder.path().join("storage");
        let text = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage:\n  filesystem: {{rootdirectory: {storage:?}}}\n  \
             delete: {{enabled: true}}\n  cache: {{}}\nhttp: {{addr: '127.0.0.1:{port}', secret: test}}\n"
        );
        std::fs::write(&config, text).expect("the configuration can be written");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config);
        let mut daemon = Daemon::start(&command, &folder.path().join("registry.log"));
        let url = format!("http://127.0.0.1:{port}/v2/");
        daemon.wait_ready(Duration::from_secs(30), || answers(&url, None));
        DockerRegistry { port, _daemon: daemon, folder }
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A client of it.
    #[must_use]
    pub fn registry(&self) -> Registry {
        Registry::anonymous(&format!("http://{}", self.host()))
    }

    /// Removes the bytes of a blob behind the registry's back: manifests go on naming it.
    ///
    /// # Panics
    /// When it is not there.
    pub fn lose_blob(&self, digest: &str) {
        let path = self.blob_folder(digest);
        std::fs::remove_dir_all(&path)
            .unwrap_or_else(|error| panic!("no blob at {}: {error}", path.display()));
    }

    fn blob_folder(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let prefix = hex.get(..2).expect("a digest has hexadecimal digits");
        let blobs = Path::new("storage/docker/registry/v2/blobs/sha256");
        self.folder.path().join(blobs).join(prefix).join(hex)
    }
}
