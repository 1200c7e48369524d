//! Images named on the command line: `oci:DIR[:NAME]`, or `[http(s)://]host/repository[:tag|@digest]`
//! of a registry, which is brought into a temporary layout first.

use std::io::Write as _;

use anyhow::{Context as _, bail};
use berth_builder::plan::{self, Gathering, Leaf};
use berth_oci::client::{ClientError, ClientErrorKind, RegistryClient};
use berth_oci::{Descriptor, MAX_MANIFEST_BYTES, ManifestView};
use berth_types::{Hasher, Platform, Reference};
use futures::StreamExt as _;
use tempfile::TempDir;

use crate::credentials::Keyring;
use crate::layout::{Layout, LayoutName, tag_of};

/// An image whose bytes are in a layout.
pub(crate) struct LocalImage {
    pub(crate) layout: Layout,
    /// The tag under which a registry may have it.
    pub(crate) tag: Option<String>,
    pub(crate) root: Descriptor,
    /// Removes the layout of an image that was pulled.
    _pulled: Option<TempDir>,
}

/// One platform's image.
pub(crate) struct PlatformImage {
    /// `None` when the root is the image itself.
    pub(crate) platform: Option<Platform>,
    pub(crate) view: ManifestView,
}

impl LocalImage {
    /// Opens an image, pulling it when it is in a registry, with the credentials that the keyring
    /// has for that registry's host.
    ///
    /// # Errors
    /// When there is no such image.
    pub(crate) async fn open(name: &str, keyring: &Keyring) -> anyhow::Result<Self> {
        if name.starts_with("oci:") {
            let name = LayoutName::parse(name)?;
            let layout = Layout::open(&name.folder)?;
            let root = layout.resolve(name.tag.as_deref())?;
            let tag = name.tag.as_deref().map(tag_of);
            return Ok(Self { layout, tag, root, _pulled: None });
        }
        let name = RegistryName::parse(name)?;
        let login = keyring.login(&name.endpoint)?;
        let client = RegistryClient::new(login.config)?;
        let pulled = Self::pull(&client, &name).await;
        pulled.map_err(
            |error| if is_unauthorized(&error) { error.context(login.note) } else { error },
        )
    }

    async fn pull(client: &RegistryClient, name: &RegistryName) -> anyhow::Result<Self> {
        let image = Self::pull_documents(client, &name.repository, &name.reference).await?;
        for part in image.platforms()? {
            pull_blobs(client, &name.repository, &image.layout, &part.view).await?;
        }
        Ok(image)
    }

    /// Brings the manifests of an image into a temporary layout, without their blobs.
    ///
    /// # Errors
    /// When there is no such image.
    pub(crate) async fn pull_documents(
        client: &RegistryClient,
        repository: &str,
        reference: &Reference,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("berth-image-").tempdir()?;
        let layout = Layout::create(folder.path())?;
        let root = client.manifest(repository, reference).await?;
        let digest = layout.put_document(&root.body)?;
        let tag = match reference {
            Reference::Tag(tag) => tag.as_str(),
            Reference::Digest(_) => "latest",
        };
        layout.set_tag(Some(tag), &root.media_type, &digest, root.body.len() as u64)?;
        let mut gathering = Gathering::of(&root.media_type, &root.body);
        while let Some(child) = gathering.ask() {
            let reference = Reference::Digest(child.digest.clone());
            match client.manifest(repository, &reference).await {
                Ok(found) => {
                    layout.put_document(&found.body)?;
                    gathering.found(&child, found.body.to_vec());
                }
                // A sparse index: whoever copied it left the child out.
                Err(error) if error.kind() == ClientErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        let root = layout.resolve(None)?;
        Ok(Self { layout, tag: Some(tag.to_owned()), root, _pulled: Some(folder) })
    }

    /// The images that a root leads to, accelerated or not, each as often as an index names it.
    ///
    /// # Errors
    /// When there is none, or a manifest is broken.
    pub(crate) fn platforms(&self) -> anyhow::Result<Vec<PlatformImage>> {
        let limit = MAX_MANIFEST_BYTES as u64;
        let content = self.layout.document(&self.root.digest, limit)?;
        let mut gathering = Gathering::of(&self.root.media_type, &content);
        while let Some(child) = gathering.ask() {
            if self.layout.has_blob(&child.digest) {
                gathering.found(&child, self.layout.document(&child.digest, limit)?);
            }
        }
        let manifests = gathering.finish()?;
        let plan = plan::make(&self.root.media_type, &content, &manifests, plan::check_container)?;
        let image = |leaf: Leaf| PlatformImage { platform: leaf.platform_view(), view: leaf.view };
        Ok(plan.leaves.into_iter().map(image).collect())
    }
}

/// The registries among names of images, as `host[:port]`, each once.
pub(crate) fn hosts<'a>(names: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let mut hosts: Vec<String> = Vec::new();
    for name in names {
        let is_layout = name.starts_with("oci:");
        if let Some(name) = RegistryName::parse(name).ok().filter(|_| !is_layout)
            && !hosts.iter().any(|host| host == name.host())
        {
            hosts.push(name.host().to_owned());
        }
    }
    hosts
}

/// `[http(s)://]host/repository[:tag|@digest]` taken apart.
struct RegistryName {
    /// `http(s)://host[:port]`
    endpoint: String,
    repository: String,
    reference: Reference,
}

impl RegistryName {
    fn parse(name: &str) -> anyhow::Result<Self> {
        let (scheme, rest) = match name.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
            Some((scheme, _)) => bail!("`{name}`: scheme `{scheme}` is not http, https or oci"),
            None => ("https", name),
        };
        let (host, path) = rest.split_once('/').with_context(|| {
            format!("`{name}` is not of the form host/repository[:tag|@digest]")
        })?;
        let (path, digest) = match path.split_once('@') {
            Some((path, digest)) => (path, Some(digest)),
            None => (path, None),
        };
        // A tag beside a digest says nothing more.
        let (repository, tag) = path.rsplit_once(':').unwrap_or((path, "latest"));
        let (repository, reference) = (repository.to_owned(), digest.unwrap_or(tag).parse()?);
        Ok(Self { endpoint: format!("{scheme}://{host}"), repository, reference })
    }

    /// `host[:port]`
    fn host(&self) -> &str {
        self.endpoint.split_once("://").map_or("", |(_, host)| host)
    }
}

fn is_unauthorized(error: &anyhow::Error) -> bool {
    let client = error.downcast_ref::<ClientError>();
    client.is_some_and(|error| error.kind() == ClientErrorKind::Unauthorized)
}

async fn pull_blobs(
    client: &RegistryClient,
    repository: &str,
    layout: &Layout,
    view: &ManifestView,
) -> anyhow::Result<()> {
    for descriptor in view.config.iter().chain(&view.layers) {
        if layout.has_blob(&descriptor.digest) {
            continue;
        }
        match pull_blob(client, repository, layout, descriptor).await {
            // Its publisher keeps it elsewhere; whoever needs it will say so.
            Err(_) if descriptor.is_foreign_layer() => {}
            other => other?,
        }
    }
    Ok(())
}

async fn pull_blob(
    client: &RegistryClient,
    repository: &str,
    layout: &Layout,
    descriptor: &Descriptor,
) -> anyhow::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(layout.blob_folder())?;
    let mut hasher = Hasher::new(descriptor.digest.algorithm());
    let mut stream = client.blob(repository, descriptor).await?;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        hasher.update(&chunk);
        file.write_all(&chunk)?;
    }
    if hasher.finish() != descriptor.digest {
        bail!("blob {} does not have its digest", descriptor.digest);
    }
    layout.take_blob(&descriptor.digest, &file.into_temp_path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let parse = |text: &str| {
            let name = RegistryName::parse(text).expect(text);
            (name.host().to_owned(), name.endpoint, name.repository, name.reference.to_string())
        };
        let expect = |host: &str, scheme: &str, repository: &str, reference: &str| {
            let endpoint = format!("{scheme}://{host}");
            (host.to_owned(), endpoint, repository.to_owned(), reference.to_owned())
        };
        assert_eq!(
            parse("http://127.0.0.1:5000/ns/app:v1"),
            expect("127.0.0.1:5000", "http", "ns/app", "v1")
        );
        let digest = format!("sha256:{}", "0".repeat(64));
        for text in [format!("quay.io/a/b@{digest}"), format!("quay.io/a/b:v1@{digest}")] {
            assert_eq!(parse(&text), expect("quay.io", "https", "a/b", &digest));
        }
        assert!(RegistryName::parse("ftp://a/b").is_err());
        assert!(RegistryName::parse("app").is_err());
        let names = ["oci:/a:b", "quay.io/a/b", "http://quay.io/c/d", "x:1/a"].map(str::to_owned);
        assert_eq!(hosts(&names), ["quay.io", "x:1"]);
    }
}
