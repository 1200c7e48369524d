//! Images named on the command line: `oci:DIR[:TAG]`, or `[http(s)://]host/repository[:tag|@digest]`
//! of a registry, which is brought into a temporary layout first.

use std::io::Write as _;

use anyhow::{Context as _, bail};
use berth_oci::client::{ClientConfig, Credentials, RegistryClient};
use berth_oci::{Descriptor, MAX_MANIFEST_BYTES, ManifestKind, ManifestView};
use berth_types::{Hasher, Platform, Reference, Secret};
use futures::StreamExt as _;
use tempfile::TempDir;

use crate::layout::{Layout, LayoutName};

/// An image whose bytes are in a layout.
pub(crate) struct LocalImage {
    pub(crate) layout: Layout,
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
    /// Opens an image, pulling it when it is in a registry. Private registries are logged in to
    /// with `BERTH_ACCESS_KEY_ID` and `BERTH_ACCESS_KEY_SECRET`.
    ///
    /// # Errors
    /// When there is no such image.
    pub(crate) async fn open(name: &str) -> anyhow::Result<Self> {
        if name.starts_with("oci:") {
            let name = LayoutName::parse(name)?;
            let layout = Layout::open(&name.folder)?;
            let root = layout.resolve(name.tag.as_deref())?;
            return Ok(Self { layout, tag: name.tag, root, _pulled: None });
        }
        let (endpoint, repository, reference) = parse_reference(name)?;
        let client = RegistryClient::new(client_config(&endpoint)?)?;
        let image = Self::pull_documents(&client, &repository, &reference).await?;
        for part in image.platforms()? {
            pull_blobs(&client, &repository, &image.layout, &part.view).await?;
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
        for child in &root.view.manifests {
            let child = Reference::Digest(child.digest.clone());
            layout.put_document(&client.manifest(repository, &child).await?.body)?;
        }
        let root = layout.resolve(None)?;
        Ok(Self { layout, tag: Some(tag.to_owned()), root, _pulled: Some(folder) })
    }

    /// The image of each platform.
    ///
    /// # Errors
    /// When a manifest is missing or broken.
    pub(crate) fn platforms(&self) -> anyhow::Result<Vec<PlatformImage>> {
        let root = self.view(&self.root)?;
        if root.kind == ManifestKind::Image {
            return Ok(vec![PlatformImage { platform: None, view: root }]);
        }
        let children = root.manifests.iter().filter(|child| child.attestation_of().is_none());
        children
            .map(|child| {
                Ok(PlatformImage { platform: child.platform.clone(), view: self.view(child)? })
            })
            .collect()
    }

    fn view(&self, descriptor: &Descriptor) -> anyhow::Result<ManifestView> {
        let bytes = self.layout.document(&descriptor.digest, MAX_MANIFEST_BYTES as u64)?;
        Ok(ManifestView::parse(Some(&descriptor.media_type), &bytes)?)
    }
}

/// A reference taken apart: endpoint, repository, tag or digest.
fn parse_reference(name: &str) -> anyhow::Result<(String, String, Reference)> {
    let (scheme, rest) = match name.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
        Some((scheme, _)) => bail!("`{name}`: scheme `{scheme}` is not http, https or oci"),
        None => ("https", name),
    };
    let (host, path) = rest
        .split_once('/')
        .with_context(|| format!("`{name}` is not of the form host/repository[:tag|@digest]"))?;
    let (repository, reference) = match (path.split_once('@'), path.rsplit_once(':')) {
        (Some(parts), _) | (None, Some(parts)) => parts,
        (None, None) => (path, "latest"),
    };
    Ok((format!("{scheme}://{host}"), repository.to_owned(), reference.parse()?))
}

fn client_config(endpoint: &str) -> anyhow::Result<ClientConfig> {
    let mut config = ClientConfig::for_endpoint(endpoint)?;
    // Whoever types an address here may contact it.
    config.allow = vec!["0.0.0.0/0".parse()?, "::/0".parse()?];
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let pair = (variable("BERTH_ACCESS_KEY_ID"), variable("BERTH_ACCESS_KEY_SECRET"));
    if let (Some(username), Some(password)) = pair {
        config.credentials = Some(Credentials { username, password: Secret::new(password) });
    }
    Ok(config)
}

async fn pull_blobs(
    client: &RegistryClient,
    repository: &str,
    layout: &Layout,
    view: &ManifestView,
) -> anyhow::Result<()> {
    for descriptor in view.config.iter().chain(&view.layers) {
        if !descriptor.is_foreign_layer() && layout.open_blob(&descriptor.digest).is_err() {
            pull_blob(client, repository, layout, descriptor).await?;
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
        let (endpoint, repository, reference) =
            parse_reference("http://127.0.0.1:5000/ns/app:v1").expect("parses");
        assert_eq!((endpoint.as_str(), repository.as_str()), ("http://127.0.0.1:5000", "ns/app"));
        assert_eq!(reference.to_string(), "v1");
        let digest = format!("sha256:{}", "0".repeat(64));
        let (endpoint, _, reference) =
            parse_reference(&format!("quay.io/a/b@{digest}")).expect("parses");
        assert_eq!((endpoint.as_str(), reference.to_string()), ("https://quay.io", digest));
        assert!(parse_reference("ftp://a/b").is_err());
        assert!(parse_reference("app").is_err());
    }
}
