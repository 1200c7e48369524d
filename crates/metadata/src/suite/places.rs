//! The databases that the suite runs on, and rows to start from.

use berth_types::{Digest, RepoName};
use tempfile::TempDir;

use crate::tables::account::{self, Account};
use crate::tables::blob::{self, Blob, Linked};
use crate::tables::instance::{self, Instance};
use crate::tables::manifest::Manifest;
use crate::tables::namespace::{self, Namespace};
use crate::tables::repository::{self, Repository};
use crate::{Db, Session};

/// A fresh, migrated database.
pub(crate) struct Place {
    pub(crate) db: Db,
    pub(crate) url: String,
    _folder: Option<TempDir>,
}

pub(crate) async fn sqlite() -> Place {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite:{}", folder.path().join("not/yet/there/berth.db").display());
    let db = Db::open(&url).await.expect("open");
    Place { db, url, _folder: Some(folder) }
}

pub(crate) async fn postgres() -> Place {
    let url = berth_testkit::postgres::fresh_database();
    let db = Db::open(&url).await.expect("open");
    Place { db, url, _folder: None }
}

impl Place {
    pub(crate) async fn begin(&self) -> Session {
        self.db.begin().await.expect("begin")
    }

    pub(crate) async fn read(&self) -> Session {
        self.db.read().await.expect("read")
    }

    /// Account `1`, instance `cri-1`, namespace `crn-1` of name `ns`, repository `crr-1` of name
    /// `app`.
    pub(crate) async fn furnish(&self) {
        let mut session = self.begin().await;
        let account = Account { account_id: "1".into(), name: "root".into(), created_at: 1 };
        account::insert(&mut session, &account).await.expect("account");
        instance::insert(&mut session, &instance("cri-1", "default")).await.expect("instance");
        namespace::insert(&mut session, &namespace("crn-1", "ns")).await.expect("namespace");
        let repository = repository("crr-1", "ns", "app");
        repository::insert(&mut session, &repository).await.expect("repository");
        session.commit().await.expect("commit");
    }
}

pub(crate) fn instance(id: &str, name: &str) -> Instance {
    Instance {
        instance_id: id.into(),
        account_id: "1".into(),
        name: name.into(),
        region: "local".into(),
        specification: "Enterprise_Advanced".into(),
        status: "RUNNING".into(),
        created_at: 10,
        modified_at: 20,
    }
}

pub(crate) fn namespace(id: &str, name: &str) -> Namespace {
    Namespace {
        namespace_id: id.into(),
        instance_id: "cri-1".into(),
        name: name.into(),
        status: "NORMAL".into(),
        auto_create_repo: true,
        default_repo_type: "PRIVATE".into(),
        default_tag_immutability: false,
        build_rule_parameters: None,
        created_at: 10,
        modified_at: 20,
    }
}

/// In namespace `crn-1`, whatever its name.
pub(crate) fn repository(id: &str, namespace: &str, name: &str) -> Repository {
    Repository {
        repo_id: id.into(),
        instance_id: "cri-1".into(),
        namespace_id: "crn-1".into(),
        namespace_name: namespace.into(),
        name: name.into(),
        status: "NORMAL".into(),
        repo_type: "PRIVATE".into(),
        tag_immutability: true,
        summary: "0".into(),
        detail: String::new(),
        build_type: "MANUAL".into(),
        untagged_days: None,
        created_at: 10,
        modified_at: 20,
    }
}

pub(crate) fn name(text: &str) -> RepoName {
    text.parse().expect("a repository name")
}

pub(crate) fn digest(of: &str) -> Digest {
    Digest::sha256(of.as_bytes())
}

pub(crate) fn blob(of: &str) -> Blob {
    Blob {
        digest: digest(of),
        storage_key: format!("key of {of}"),
        size: 7,
        stamp: None,
        created_at: 100,
        review_after: Some(200),
        damaged_at: None,
    }
}

pub(crate) async fn linked_blob(session: &mut Session, repo_id: &str, of: &str) {
    blob::insert(session, &blob(of)).await.expect("blob");
    let linked = blob::link(session, repo_id, &digest(of), 5, 50).await.expect("link");
    assert_eq!(linked, Linked::New);
}

pub(crate) fn manifest(content: &str, subject: Option<&str>) -> Manifest {
    Manifest {
        repo_id: "crr-1".into(),
        digest: digest(content),
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        artifact_type: None,
        subject: subject.map(digest),
        config_digest: Some(digest("config")),
        content: content.into(),
        image_size: 5_000_000_000,
        layer_count: 3,
        created_at: 50,
        review_after: Some(150),
    }
}
