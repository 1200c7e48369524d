//! The two ways of running Berth that stories about bytes are told on: one server on embedded
//! defaults, and two on one PostgreSQL and one bucket, which has the manners of OSS.

use berth_testkit::postgres;
use berth_testkit::registry::{Registry, sha256};
use berth_testkit::s3::OssQuirks;
use berth_testkit::server::TestServer;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// Running servers and what lies below them.
#[derive(Debug)]
pub struct Place {
    /// One, or two that serve the same.
    pub servers: Vec<TestServer>,
    /// The proxy before the bucket, where there is one.
    pub proxy: Option<OssQuirks>,
    /// What every `berth.toml` of the place begins with.
    base: String,
    _keys: TempDir,
}

impl Place {
    /// A folder and SQLite.
    #[must_use]
    pub fn folder(config: &str) -> Place {
        let keys = tempfile::tempdir().expect("a folder");
        let servers = vec![TestServer::start_configured(config)];
        Place { servers, proxy: None, base: String::new(), _keys: keys }
    }

    /// Two servers on PostgreSQL and a bucket; `config` may begin with lines of `[storage]`.
    #[must_use]
    pub fn shared(config: &str) -> Place {
        let keys = tempfile::tempdir().expect("a folder");
        let (database, proxy) = (postgres::fresh_database(), OssQuirks::start());
        let base = format!(
            "[server]\nmaster_key_file = \"{}\"\n[database]\nurl = \"{database}\"\n{}",
            keys.path().join("master.key").display(),
            proxy.bucket().storage_section(keys.path()),
        );
        let start = || TestServer::start_configured(&format!("{base}{config}"));
        let servers = vec![start(), start()];
        Place { servers, proxy: Some(proxy), base, _keys: keys }
    }

    /// Both.
    #[must_use]
    pub fn all(config: &str) -> Vec<Place> {
        vec![Place::folder(config), Place::shared(config)]
    }

    /// A client of the first server.
    #[must_use]
    pub fn registry(&self) -> Registry {
        self.servers[0].registry()
    }

    /// A client of the server whose turn it is.
    #[must_use]
    pub fn registry_of_turn(&self, turn: usize) -> Registry {
        self.servers[turn % self.servers.len()].registry()
    }

    /// Kills every server and starts it again, with other further lines of `berth.toml`.
    pub fn restart_with(&mut self, config: &str) {
        let config = format!("{}{config}", self.base);
        for server in &mut self.servers {
            server.restart_configured(&config);
        }
    }

    /// The digests of all objects of the store, in no order.
    #[must_use]
    pub fn objects(&self) -> Vec<String> {
        match &self.proxy {
            Some(proxy) => {
                let bucket = proxy.behind();
                let keys = bucket.objects("blobs/objects/");
                // One may go while the others are read.
                keys.iter()
                    .filter_map(|key| bucket.object(key))
                    .map(|bytes| sha256(&bytes))
                    .collect()
            }
            None => {
                let files = files_below(&self.servers[0].data_folder().join("blobs/objects"));
                files
                    .iter()
                    .filter_map(|file| std::fs::read(file).ok())
                    .map(|b| sha256(&b))
                    .collect()
            }
        }
    }

    /// What lies in the store beside whole objects: partial files, tails, multipart uploads.
    #[must_use]
    pub fn unfinished(&self) -> Vec<String> {
        match &self.proxy {
            Some(proxy) => {
                let bucket = proxy.behind();
                let uploads = bucket.multipart_uploads().into_iter().map(|upload| upload.key);
                uploads.chain(bucket.objects("blobs/partial/")).collect()
            }
            None => {
                let files = files_below(&self.servers[0].data_folder().join("blobs/partial"));
                files.iter().map(|file| file.display().to_string()).collect()
            }
        }
    }

    /// Waits until nothing is left in the store but these blobs, each once.
    ///
    /// # Panics
    /// With what is too much or missing, when that takes more than two minutes.
    pub fn wait_nothing_but(&self, mut expected: Vec<String>) {
        expected.sort();
        let mut left = (Vec::new(), Vec::new());
        for _ in 0..240 {
            left = (self.objects(), self.unfinished());
            left.0.sort();
            if left.0 == expected && left.1.is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        let (objects, unfinished) = left;
        let surplus: Vec<_> = objects.iter().filter(|one| !expected.contains(one)).collect();
        let missing: Vec<_> = expected.iter().filter(|one| !objects.contains(one)).collect();
        panic!(
            "{} objects for {} blobs; surplus {surplus:?}, missing {missing:?}, unfinished \
             {unfinished:?}\n{}",
            objects.len(),
            expected.len(),
            self.servers[0].log()
        );
    }

    /// The bucket was asked for nothing that OSS refuses.
    ///
    /// # Panics
    /// With what it was asked for.
    pub fn assert_nothing_refused(&self) {
        if let Some(proxy) = &self.proxy {
            assert_eq!(proxy.refused(), Vec::<String>::new());
        }
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        // A folder may go while it is listed.
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files
}
