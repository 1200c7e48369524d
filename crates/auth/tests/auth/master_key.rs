//! A master key that is lost is not replaced by another one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use berth_auth::bootstrap::bootstrap;
use berth_auth::{BootstrapConfig, MasterKey, MasterKeyError};
use berth_metadata::Db;
use berth_metadata::tables::setting;
use berth_types::{ManualClock, Secret};
use tempfile::TempDir;

async fn sqlite() -> (TempDir, Db) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite:{}", folder.path().join("berth.db").display());
    (folder, Db::open(&url).await.expect("database"))
}

async fn postgres() -> (TempDir, Db) {
    let url = tokio::task::spawn_blocking(berth_testkit::postgres::fresh_database);
    let db = Db::open(&url.await.expect("PostgreSQL")).await.expect("database");
    (tempfile::tempdir().expect("a temporary folder"), db)
}

/// As every start of a server.
async fn start(db: &Db, path: &Path, pair: Option<(&str, &str)>) -> Result<String, MasterKeyError> {
    let master = MasterKey::of_database(db, path).await?;
    let access_key = pair.map(|(id, secret)| (id.to_owned(), Secret::new(secret)));
    let config = BootstrapConfig { access_key, ..BootstrapConfig::default() };
    let started = bootstrap(db, &master, &ManualClock::at(0), &config).await.expect("started");
    Ok(started.credentials.access_key_secret.expose().to_owned())
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("folder");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("entry").file_name();
    let mut names: Vec<String> =
        entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect();
    names.retain(|name| !name.starts_with("berth.db"));
    names
}

async fn lost(folder: TempDir, db: Db, remembered: bool) {
    let path = folder.path().join("master.key");
    let secret = start(&db, &path, None).await.expect("the first start makes the key");
    assert_eq!(start(&db, &path, None).await.expect("the next one finds it"), secret);
    if !remembered {
        // A database from before it knew its key.
        let mut session = db.begin().await.expect("begin");
        assert!(setting::delete(&mut session, "master_key_print").await.expect("deleted"));
        session.commit().await.expect("commit");
    }
    let safe = folder.path().join("safe");
    fs::rename(&path, &safe).expect("lost");
    // Not even for a root pair of the operator's, which could be sealed anew.
    for pair in [None, Some(("operator", "the-secret"))] {
        let missing = start(&db, &path, pair).await.expect_err("no key");
        assert!(matches!(missing, MasterKeyError::Missing { .. }), "{missing}");
        let text = missing.to_string();
        assert!(text.contains(&path.display().to_string()) && text.contains("master_key_file"));
        assert_eq!(names(folder.path()), ["safe"], "nothing is written beside sealed data");
    }
    let other = hex::encode([7; 32]);
    fs::write(&path, &other).expect("another key");
    for pair in [None, Some(("operator", "the-secret"))] {
        let wrong = start(&db, &path, pair).await.expect_err("another key");
        assert!(matches!(wrong, MasterKeyError::Wrong { .. }), "{wrong}");
        assert_eq!(fs::read_to_string(&path).expect("file"), other);
    }
    fs::rename(&safe, &path).expect("found again");
    assert_eq!(start(&db, &path, None).await.expect("all is well"), secret);
}

#[tokio::test]
async fn a_lost_master_key_is_not_replaced_on_sqlite() {
    let (folder, db) = sqlite().await;
    lost(folder, db, true).await;
}

#[tokio::test]
async fn a_lost_master_key_is_not_replaced_on_postgresql() {
    let (folder, db) = postgres().await;
    lost(folder, db, true).await;
}

#[tokio::test]
async fn a_lost_master_key_of_an_older_database_is_not_replaced() {
    let (folder, db) = sqlite().await;
    lost(folder, db, false).await;
}

#[tokio::test]
async fn servers_that_start_with_keys_of_their_own_do_not_both_seal() {
    let (folder, db) = postgres().await;
    let mut running = tokio::task::JoinSet::new();
    for number in 0..4 {
        let (db, path) = (db.clone(), folder.path().join(format!("{number}.key")));
        running.spawn(async move { MasterKey::of_database(&db, &path).await.is_ok() });
    }
    let started = running.join_all().await.into_iter().filter(|started| *started).count();
    assert_eq!(started, 1);
    assert_eq!(names(folder.path()).len(), 1, "the others leave no key behind");
}

#[tokio::test]
async fn the_file_is_made_once_and_private() {
    let (folder, db) = sqlite().await;
    let path = folder.path().join("master.key");
    let first = start(&db, &path, None).await.expect("made");
    assert_eq!(start(&db, &path, None).await.expect("read"), first);
    let mode = fs::metadata(&path).expect("file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(names(folder.path()), ["master.key"]);
    fs::write(&path, "short").expect("written");
    let form = start(&db, &path, None).await.expect_err("no key");
    assert!(matches!(form, MasterKeyError::Form), "{form}");
}
