//! `root-credentials.json`: where an operator finds the generated root key.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use berth_auth::RootCredentials;

/// The file's name in the data directory.
pub const FILE_NAME: &str = "root-credentials.json";

/// Writes the file in one step, readable by its owner only.
///
/// # Errors
/// The error of the file system.
pub(crate) fn write(directory: &Path, content: &RootCredentials) -> std::io::Result<()> {
    let temporary = directory.join(format!(".{FILE_NAME}.{}", std::process::id()));
    let mut text = serde_json::to_vec_pretty(content)?;
    text.push(b'\n');
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&temporary, directory.join(FILE_NAME))?;
        File::open(directory)?.sync_all()
    })();
    if written.is_err() {
        // The first error is the one to tell; what is left of the file must not stay readable.
        drop(std::fs::remove_file(&temporary));
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_the_owner_reads_it() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let content = RootCredentials {
            access_key_id: "id".to_owned(),
            access_key_secret: berth_types::Secret::new("secret"),
            account_id: "1".to_owned(),
            endpoint: "http://127.0.0.1:5000".to_owned(),
            instance_id: "cri-1".to_owned(),
        };
        write(directory.path(), &content).expect("written");
        write(directory.path(), &content).expect("written again");
        let path = directory.path().join(FILE_NAME);
        let mode = std::fs::metadata(&path).expect("file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let read: serde_json::Value =
            serde_json::from_slice(&std::fs::read(path).expect("read")).expect("JSON");
        assert_eq!(read["AccessKeyId"], "id");
        assert_eq!(read["AccessKeySecret"], "secret");
        assert_eq!(read["InstanceId"], "cri-1");
        assert_eq!(std::fs::read_dir(directory.path()).expect("list").count(), 1);
    }
}
