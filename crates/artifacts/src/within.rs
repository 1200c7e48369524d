//! What is stored, as a session of the caller sees it: for services whose own rows and these are
//! read, or change, together.

use berth_metadata::tables::{manifest, namespace, repository, tag};
use berth_metadata::{DbError, Session};
use berth_types::{Digest, Reference, RepoName, Tag};

use crate::{ManifestRow, Manifests, Namespaces, Repositories, Repository, Tags};

impl Namespaces<'_> {
    /// Whether the instance has a namespace of the name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn exists_in(
        &self,
        session: &mut Session,
        instance_id: &str,
        name: &str,
    ) -> Result<bool, DbError> {
        Ok(namespace::find_by_name(session, instance_id, name).await?.is_some())
    }
}

impl Repositories<'_> {
    /// The repository of a name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_in(
        &self,
        session: &mut Session,
        instance_id: &str,
        name: &RepoName,
    ) -> Result<Option<Repository>, DbError> {
        repository::find(session, instance_id, name).await
    }

    /// The repository of an id, whatever its instance.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_by_id_in(
        &self,
        session: &mut Session,
        repo_id: &str,
    ) -> Result<Option<Repository>, DbError> {
        repository::find_by_id(session, repo_id).await
    }
}

impl Manifests<'_> {
    /// The manifest that a tag or digest names, with what was measured of it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_in(
        &self,
        session: &mut Session,
        repo_id: &str,
        reference: &Reference,
    ) -> Result<Option<ManifestRow>, DbError> {
        Ok(match reference {
            Reference::Tag(tag) => manifest::find_by_tag(session, repo_id, tag).await?,
            Reference::Digest(digest) => manifest::find(session, repo_id, digest).await?,
        })
    }
}

impl Tags<'_> {
    /// What the tag points to.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_in(
        &self,
        session: &mut Session,
        repo_id: &str,
        name: &Tag,
    ) -> Result<Option<Digest>, DbError> {
        Ok(tag::find(session, repo_id, name).await?.map(|row| row.digest))
    }
}
