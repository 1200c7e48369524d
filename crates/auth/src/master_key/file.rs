//! The file of the master key, and whether it is the one that the database was sealed with.
//!
//! A key is made only for a database that holds nothing sealed. Beside one that does, a new key
//! would be of no use, and would look as if it were the right one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use berth_metadata::tables::{access_key, setting};
use berth_metadata::{Db, DbError, Session};

use super::{MasterKey, MasterKeyError};

/// The setting by which a database knows its master key.
const PRINT: &str = "master_key_print";

impl MasterKey {
    /// The key of the file, which is made (mode 0600) when it is missing and the database holds
    /// nothing that another key sealed. Two servers that start at once end up with the same key, and
    /// a crash leaves a whole file or none.
    ///
    /// # Errors
    /// [`MasterKeyError`] when the file cannot be read, made or understood, when it is missing or
    /// not the one that sealed what the database holds; nothing is written then.
    pub async fn of_database(db: &Db, path: &Path) -> Result<Self, MasterKeyError> {
        let mut session = db.read().await?;
        let sealed = Sealed::find(&mut session).await?;
        drop(session);
        let name = || path.display().to_string();
        let (key, made) = match read(path)? {
            Some(key) => (key, false),
            None if sealed.any() => return Err(MasterKeyError::Missing { path: name() }),
            None => (create(path)?, true),
        };
        let wrong = MasterKeyError::Wrong { path: name() };
        if !sealed.opens(&key) {
            return Err(wrong);
        }
        if sealed.print.is_none() && !claim(db, &key).await? {
            // Another server made a key of its own in the same moment, and was faster.
            if made {
                discard(path, &key);
            }
            return Err(wrong);
        }
        Ok(key)
    }

    fn print(&self) -> String {
        let print = self.derive("berth print of the master key 1");
        hex::encode(print.get(..16).unwrap_or(&print))
    }
}

/// What the database knows about its master key.
struct Sealed {
    print: Option<String>,
    /// Keys of a database from before the print was written down.
    keys: Vec<access_key::AccessKey>,
}

impl Sealed {
    async fn find(session: &mut Session) -> Result<Self, DbError> {
        let print = setting::find(session, PRINT).await?;
        let account = match print {
            Some(_) => None,
            None => setting::find(session, crate::bootstrap::ACCOUNT).await?,
        };
        let keys = match account {
            Some(account) => access_key::list(session, &account).await?,
            None => Vec::new(),
        };
        Ok(Self { print, keys })
    }

    fn any(&self) -> bool {
        self.print.is_some() || !self.keys.is_empty()
    }

    fn opens(&self, key: &MasterKey) -> bool {
        match &self.print {
            Some(print) => *print == key.print(),
            None => self.keys.iter().all(|row| key.open(&row.access_key_id, &row.secret).is_some()),
        }
    }
}

/// Writes down which key it is; `false` when the database knows another one.
async fn claim(db: &Db, key: &MasterKey) -> Result<bool, DbError> {
    let print = key.print();
    let mut session = db.begin().await?;
    let first = setting::put_new(&mut session, PRINT, &print).await?;
    session.commit().await?;
    if first {
        return Ok(true);
    }
    let mut session = db.read().await?;
    Ok(setting::find(&mut session, PRINT).await? == Some(print))
}

fn read(path: &Path) -> Result<Option<MasterKey>, MasterKeyError> {
    let failed = |source| MasterKeyError::File { path: path.display().to_string(), source };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "others may read the master key file");
    }
    MasterKey::from_text(&text).map(Some)
}

fn create(path: &Path) -> Result<MasterKey, MasterKeyError> {
    let failed = |source| MasterKeyError::File { path: path.display().to_string(), source };
    store(&MasterKey::generate(), path).map_err(failed)?;
    read(path)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
}

/// Writes the key beside `path` and links it there, unless another process was faster.
fn store(key: &MasterKey, path: &Path) -> io::Result<()> {
    let suffix = MasterKey::generate();
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", hex::encode(&suffix.0[..8])));
    let draft = Path::new(&draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    let written = file
        .write_all(format!("{}\n", hex::encode(key.0)).as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| match fs::hard_link(draft, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        });
    fs::remove_file(draft)?;
    written?;
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Removes a key that was made in vain, so that nobody takes it for the right one.
fn discard(path: &Path, key: &MasterKey) {
    if read(path).is_ok_and(|found| found.is_some_and(|found| found.0 == key.0))
        && let Err(error) = fs::remove_file(path)
    {
        tracing::warn!(path = %path.display(), %error, "a master key that opens nothing remains");
    }
}
