//! OCI image layouts on disk (image-spec, "OCI Image Layout"), named `oci:DIR[:NAME]` as skopeo and
//! umoci do. NAME is a tag, or all of an image's name: `oci:DIR:registry.example/library/a:1.0`.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use berth_oci::{Descriptor, media_type};
use berth_types::Digest;
use serde_json::{Value, json};

const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The file that makes a folder a layout.
const MARKER: &str = "oci-layout";
/// Where Docker and containerd keep the whole name, beside a `ref.name` that is only the tag.
const IMAGE_NAME: &str = "io.containerd.image.name";

/// `oci:DIR[:NAME]` taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayoutName {
    pub(crate) folder: PathBuf,
    /// The image's name in the layout, as its index has it.
    pub(crate) tag: Option<String>,
}

impl LayoutName {
    /// # Errors
    /// When the text has another form.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let Some(rest) = text.strip_prefix("oci:") else {
            bail!("`{text}` is not of the form oci:DIR[:NAME]");
        };
        let (folder, tag) = split_name(rest);
        if folder.is_empty() {
            bail!("`{text}` names no folder; write oci:DIR[:NAME]");
        }
        let tag = tag.filter(|tag| !tag.is_empty()).map(str::to_owned);
        Ok(Self { folder: folder.into(), tag })
    }
}

/// Folder and name. The first colon parts them, as in skopeo; but a layout that is there, with a colon
/// in its path, is meant when it is named.
fn split_name(text: &str) -> (&str, Option<&str>) {
    let is_layout = |folder: &str| is_layout(Path::new(folder));
    let splits = text.match_indices(':').filter_map(|(colon, _)| {
        Some((text.get(..colon)?, text.get(colon + 1..)?)).filter(|(folder, _)| !folder.is_empty())
    });
    match splits.clone().find(|(folder, _)| is_layout(folder)) {
        Some((folder, name)) => (folder, Some(name)),
        None if is_layout(text) => (text, None),
        None => match text.split_once(':') {
            Some((folder, name)) => (folder, Some(name)),
            None => (text, None),
        },
    }
}

/// The tag in an image's name, for a registry to push it under: `1.0` of
/// `registry.example/library/a:1.0`, else `latest`.
pub(crate) fn tag_of(name: &str) -> String {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    let last = name.rsplit_once('/').map_or(name, |(_, last)| last);
    let tag = match last.rsplit_once(':') {
        Some((_, tag)) => tag,
        None if name.contains('/') => "latest",
        None => last,
    };
    let valid = tag.parse::<berth_types::Tag>().is_ok();
    if valid { tag.to_owned() } else { "latest".to_owned() }
}

fn is_layout(folder: &Path) -> bool {
    folder.join(MARKER).is_file()
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
        if !is_layout(folder) {
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
        if !folder.join(MARKER).exists() {
            layout.replace(MARKER, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        Ok(layout)
    }

    /// The manifest or index that a name stands for; without a name, the only one there is.
    ///
    /// # Errors
    /// When the name is not there or not unique.
    pub(crate) fn resolve(&self, tag: Option<&str>) -> anyhow::Result<Descriptor> {
        let index = self.index()?;
        let entries = index["manifests"].as_array().map(Vec::as_slice).unwrap_or_default();
        let named = |key: &str| -> Vec<&Value> {
            let is_meant = |entry: &&Value| tag.is_none() || annotation(entry, key) == tag;
            entries.iter().filter(is_meant).collect()
        };
        let mut found = named(REF_NAME);
        if found.is_empty() {
            found = named(IMAGE_NAME);
        }
        // Some tools write an entry again with every copy.
        found.dedup_by(|one, other| one["digest"] == other["digest"]);
        match (found.as_slice(), tag) {
            ([entry], _) => Ok(serde_json::from_value((*entry).clone())?),
            ([], Some(tag)) => bail!(
                "{} has no image `{tag}`; it has {}",
                self.folder.display(),
                names_of(entries)
            ),
            ([], None) => bail!("{} has no image", self.folder.display()),
            (several, _) => bail!(
                "{} has {} images ({}); name one as oci:DIR:NAME",
                self.folder.display(),
                several.len(),
                names_of(entries)
            ),
        }
    }

    /// Whether [`Layout::set_tag`] would take the name of an image of `source` away from it.
    ///
    /// # Errors
    /// When an index cannot be read, or the source has no such image.
    pub(crate) fn would_lose(
        &self,
        tag: Option<&str>,
        source: &Layout,
        source_tag: Option<&str>,
    ) -> anyhow::Result<bool> {
        if self.folder.canonicalize()? != source.folder.canonicalize()? {
            return Ok(false);
        }
        let image = source.resolve(source_tag)?;
        let index = self.index()?;
        let entries = index["manifests"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(entries.iter().any(|entry| {
            annotation(entry, REF_NAME) == tag
                && entry["digest"].as_str() == Some(image.digest.as_str())
        }))
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

    pub(crate) fn has_blob(&self, digest: &Digest) -> bool {
        self.blob_path(digest).is_file()
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

    /// Lets a name stand for a document.
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
        let mut entries: Vec<Value> =
            others.into_iter().filter(|other| annotation(other, REF_NAME) != tag).collect();
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

fn annotation<'a>(entry: &'a Value, key: &str) -> Option<&'a str> {
    entry["annotations"][key].as_str()
}

/// The names in a layout, for people.
fn names_of(entries: &[Value]) -> String {
    let names =
        entries.iter().map(|entry| annotation(entry, REF_NAME).unwrap_or("one without name"));
    let names: Vec<&str> = names.take(10).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
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
        let whole = parse("oci:/a/b:registry.example:5000/library/a:1.0");
        assert_eq!(whole.folder, PathBuf::from("/a/b"));
        assert_eq!(whole.tag.as_deref(), Some("registry.example:5000/library/a:1.0"));
        assert_eq!(parse("oci:a:").tag, None);
        assert!(LayoutName::parse("docker://x").is_err());
        assert!(LayoutName::parse("oci::x").is_err());
        assert!(LayoutName::parse("oci:").is_err());
    }

    #[test]
    fn a_layout_with_a_colon_in_its_path_is_found() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("b:c");
        Layout::create(&path).expect("layout");
        let parse = |text: &str| LayoutName::parse(&format!("oci:{}{text}", path.display()));
        for (text, tag) in
            [("", None), (":v1", Some("v1")), (":x.example/a:1", Some("x.example/a:1"))]
        {
            let name = parse(text).expect(text);
            assert_eq!((name.folder.as_path(), name.tag.as_deref()), (path.as_path(), tag));
        }
    }

    #[test]
    fn the_tag_of_a_name() {
        let digest = format!("a/b@sha256:{}", "0".repeat(64));
        for (name, tag) in [
            ("v1", "v1"),
            ("registry.example/library/a:1.0", "1.0"),
            ("registry.example:5000/a", "latest"),
            ("a:1.0", "1.0"),
            ("a/b:c d", "latest"),
            (digest.as_str(), "latest"),
        ] {
            assert_eq!(tag_of(name), tag, "{name}");
        }
    }

    #[test]
    fn dockers_whole_name_is_found_as_well() {
        let folder = tempfile::tempdir().expect("folder");
        let layout = Layout::create(folder.path()).expect("layout");
        let digest = layout.put_document(b"{}").expect("document");
        let entry = json!({"mediaType": media_type::OCI_MANIFEST, "digest": digest, "size": 2,
            "annotations": {REF_NAME: "1.0", IMAGE_NAME: "docker.io/library/a:1.0"}});
        let index = json!({"schemaVersion": 2, "manifests": [entry, entry]});
        layout.replace("index.json", index.to_string().as_bytes()).expect("index");
        for name in ["1.0", "docker.io/library/a:1.0"] {
            assert_eq!(layout.resolve(Some(name)).expect(name).digest, digest);
        }
        assert!(layout.resolve(Some("a:1.0")).is_err());
    }

    #[test]
    fn the_source_of_a_conversion_keeps_its_name() {
        let folder = tempfile::tempdir().expect("folder");
        let layout = Layout::create(&folder.path().join("a")).expect("layout");
        let other = Layout::create(&folder.path().join("b")).expect("layout");
        let digest = layout.put_document(b"{}").expect("document");
        for layout in [&layout, &other] {
            layout.set_tag(Some("v1"), media_type::OCI_MANIFEST, &digest, 2).expect("tag");
        }
        std::os::unix::fs::symlink(folder.path().join("a"), folder.path().join("c")).expect("link");
        let same = Layout::open(&folder.path().join("c")).expect("layout");
        let lost =
            |target: &Layout, to, from| target.would_lose(to, &layout, from).expect("answer");
        assert!(lost(&layout, Some("v1"), Some("v1")));
        assert!(lost(&same, Some("v1"), None));
        assert!(!lost(&layout, Some("v2"), Some("v1")));
        assert!(!lost(&layout, None, Some("v1")));
        assert!(!lost(&other, Some("v1"), Some("v1")));
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
