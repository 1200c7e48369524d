//! A listener that remembers.

use std::sync::Mutex;

use async_trait::async_trait;
use berth_artifacts::{ArtifactError, Namespace, PushListener, Repository, TagPush};
use berth_metadata::{Session, args};

/// Remembers what it hears and fails on request.
#[derive(Default)]
pub(crate) struct Listener {
    pub(crate) pushes: Mutex<Vec<TagPush>>,
    pub(crate) born: Mutex<Vec<String>>,
    pub(crate) gone: Mutex<Vec<String>>,
    pub(crate) refuses: Mutex<Option<String>>,
}

#[async_trait]
impl PushListener for Listener {
    async fn tag_pushed(&self, session: &mut Session, push: &TagPush) -> Result<(), ArtifactError> {
        // Sees what the push wrote, and writes in the same transaction.
        let values = args![&push.repository.repo_id, &push.tag];
        let sql = "SELECT digest FROM tag WHERE repo_id = $1 AND name = $2";
        let row = session.fetch_one(sql, values).await?;
        assert_eq!(row.text("digest")?, push.digest.as_str());
        let values = args![format!("heard {}", push.tag)];
        session.execute("INSERT INTO setting (name, value) VALUES ($1, '')", values).await?;
        if let Some(reason) = self.refuses.lock().expect("lock").clone() {
            return Err(ArtifactError::Listener(reason));
        }
        self.pushes.lock().expect("lock").push(push.clone());
        Ok(())
    }

    async fn repository_created(
        &self,
        _: &mut Session,
        namespace: &Namespace,
        repository: &Repository,
    ) -> Result<(), ArtifactError> {
        if let Some(reason) = self.refuses.lock().expect("lock").clone() {
            return Err(ArtifactError::Listener(reason));
        }
        self.born.lock().expect("lock").push(format!("{}/{}", namespace.name, repository.name));
        Ok(())
    }

    async fn repository_deleted(
        &self,
        _: &mut Session,
        repository: &Repository,
    ) -> Result<(), ArtifactError> {
        self.gone.lock().expect("lock").push(repository.name.clone());
        Ok(())
    }
}
