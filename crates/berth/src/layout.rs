//! OCI image layouts on disk (image-spec, "OCI Image Layout"), named `oci:DIR[:TAG]` as skopeo and
//! umoci do.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use berth_oci::{Descriptor, media_type};
use berth_types::Digest;
use serde_json::{Value, json};

const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// `oci:DIR[:TAG]` taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayoutName {
    pub(crate) folder: PathBuf,
    pub(crate) tag: Option<String>,
}

impl LayoutName {
    /// # Errors
    /// When the text has another form.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let Some(rest) = text.strip_prefix("oci:") else {
            bail!("`{text}` is not of the form oci:DIR[:TAG]");
        };
        let (folder, tag) = match rest.rsplit_once(':') {
            Some((folder, tag)) if !tag.contains('/') => (folder, Some(tag.to_owned())),
            _ => (rest, None),
        };
        if folder.is_empty() {
            bail!("`{text}` names no folder; write oci:DIR[:TAG]");
        }
        Ok(Self { folder: folder.into(), tag })
    }
}

/// An image layout folder.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    folder: PathBuf,
}

impl Layout {
    /// Opens an existing layout.
    ///
    /// # Errors
    /// When the folder is none.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        let marker = folder.join("oci-layout");
        if !marker.is_file() {
            bail!("{} is not an OCI image layout: it has no oci-layout file", folder.display());
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// Opens a layout, making it when there is none.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(crate) fn create(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder.join("blobs").join("sha256"))
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let layout = Self { folder: folder.to_owned() };
        if !folder.join("oci-layout").exists() {
            layout.replace("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        Ok(layout)
    }

    /// The manifest or index that a tag names; without a tag, the only one there is.
    ///
    /// # Errors
    /// When the tag is not there or not unique.
    pub(crate) fn resolve(&self, tag: Option<&str>) -> anyhow::Result<Descriptor> {
        let index = self.index()?;
        let entries = index["manifests"].as_array().cloned().unwrap_or_default();
        let named: Vec<&Value> = entries
            .iter()
            .filter(|entry| tag.is_none() || entry["annotations"][REF_NAME].as_str() == tag)
            .collect();
        match (named.as_slice(), tag) {
            ([entry], _) => Ok(serde_json::from_value((*entry).clone())?),
            ([], Some(tag)) => bail!("{} has no tag `{tag}`", self.folder.display()),
            ([], None) => bail!("{} has no image", self.folder.display()),
            (_, _) => bail!(
                "{} has {} images; name one as oci:DIR:TAG",
                self.folder.display(),
                named.len()
            ),
        }
    }

    /// A document, whole, its digest checked.
    ///
    /// # Errors
    /// When it is missing, larger than `limit` or does not have the digest.
    pub(crate) fn document(&self, digest: &Digest, limit: u64) -> anyhow::Result<Vec<u8>> {
        let path = self.blob_path(digest);
        let size = fs::metadata(&path).with_context(|| format!("blob {digest}"))?.len();
        if size > limit {
            bail!("blob {digest} has {size} bytes; a document may have {limit}");
        }
        let bytes = fs::read(&path).with_context(|| format!("blob {digest}"))?;
        if Digest::of(digest.algorithm(), &bytes) != *digest {
            bail!("blob {digest} does not have its digest");
        }
        Ok(bytes)
    }

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.folder.join("blobs").join(digest.algorithm().name()).join(digest.hex())
    }

    /// Where blobs are: a place on the same file system for blobs in the making.
    pub(crate) fn blob_folder(&self) -> PathBuf {
        self.folder.join("blobs")
    }

    pub(crate) fn open_blob(&self, digest: &Digest) -> std::io::Result<File> {
        File::open(self.blob_path(digest))
    }

    /// Writes a document and returns its digest.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn put_document(&self, bytes: &[u8]) -> anyhow::Result<Digest> {
        let digest = Digest::sha256(bytes);
        self.replace(&format!("blobs/sha256/{}", digest.hex()), bytes)?;
        Ok(digest)
    }

    /// Takes a finished file as a blob.
    ///
    /// # Errors
    /// When it can be neither moved nor copied.
    pub(crate) fn take_blob(&self, digest: &Digest, file: &Path) -> anyhow::Result<()> {
        let path = self.blob_path(digest);
        if fs::rename(file, &path).is_err() {
            fs::copy(file, &path).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// Lets a tag name a document.
    ///
    /// # Errors
    /// When the index cannot be read or written.
    pub(crate) fn set_tag(
        &self,
        tag: Option<&str>,
        media_type: &str,
        digest: &Digest,
        size: u64,
    ) -> anyhow::Result<()> {
        let mut index = self.index()?;
        let mut entry = json!({"mediaType": media_type, "digest": digest, "size": size});
        if let Some(tag) = tag {
            entry["annotations"] = json!({REF_NAME: tag});
        }
        let others = index["manifests"].as_array().cloned().unwrap_or_default();
        let name = |entry: &Value| entry["annotations"][REF_NAME].as_str().map(str::to_owned);
        let mut entries: Vec<Value> =
            others.into_iter().filter(|other| name(other) != name(&entry)).collect();
        entries.push(entry);
        index["manifests"] = Value::Array(entries);
        self.replace("index.json", &serde_json::to_vec(&index)?)
    }

    fn index(&self) -> anyhow::Result<Value> {
        let path = self.folder.join("index.json");
        match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).with_context(|| format!("{}", path.display()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(json!({
                "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [],
            })),
            Err(error) => Err(error).with_context(|| format!("{}", path.display())),
        }
    }

    /// Writes a file whole or not at all.
    fn replace(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.folder.join(name);
        let parent = path.parent().unwrap_or(&self.folder);
        let mut file = tempfile::NamedTempFile::new_in(parent)
            .with_context(|| format!("cannot write in {}", parent.display()))?;
        file.write_all(bytes)?;
        file.persist(&path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let parse = |text: &str| LayoutName::parse(text).expect(text);
        assert_eq!(parse("oci:/a/b:c").tag.as_deref(), Some("c"));
        assert_eq!(parse("oci:/a/b").tag, None);
        assert_eq!(parse("oci:a:1.2").folder, PathBuf::from("a"));
        assert!(LayoutName::parse("docker://x").is_err());
        assert!(LayoutName::parse("oci::x").is_err());
    }

    #[test]
    fn a_tag_names_one_image_at_a_time() {
        let folder = tempfile::tempdir().expect("folder");
        let layout = Layout::create(folder.path()).expect("layout");
        let first = layout.put_document(b"{}").expect("document");
        layout.set_tag(Some("a"), media_type::OCI_MANIFEST, &first, 2).expect("tag");
        let second = layout.put_document(b"{ }").expect("document");
        layout.set_tag(Some("a"), media_type::OCI_MANIFEST, &second, 3).expect("tag");
        let layout = Layout::open(folder.path()).expect("opens");
        assert_eq!(layout.resolve(Some("a")).expect("resolves").digest, second);
        assert_eq!(layout.resolve(None).expect("resolves").digest, second);
        assert!(layout.resolve(Some("b")).is_err());
        assert_eq!(layout.document(&first, 10).expect("reads"), b"{}");
        assert!(layout.document(&first, 1).is_err());
    }
}
