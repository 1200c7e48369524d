//! OCI image layout folders (OCI image spec, image-layout.md) with OCI or Docker manifests inside.

use super::compress::{Compression, compress};
use crate::registry::{Registry, sha256};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Which family of media types a manifest uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaTypes {
    /// `application/vnd.oci.image.…`.
    Oci,
    /// `application/vnd.docker.…`, schema 2.
    Docker,
}

/// One layer of an image.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The tar archive.
    pub tar: Vec<u8>,
    /// How it is stored.
    pub compression: Compression,
}

/// An image of one platform.
#[derive(Debug, Clone)]
pub struct Image {
    /// Bottom first.
    pub layers: Vec<Layer>,
    /// OCI or Docker.
    pub media_types: MediaTypes,
    /// `linux`, nearly always.
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `created` of the configuration, RFC 3339.
    pub created: String,
    /// Command line of a container.
    pub command: Vec<String>,
    /// What the descriptor of a layer of this digest and size says about it.
    pub layer_annotations: fn(&str, usize) -> Value,
}

/// A reference to content, as manifests hold it.
#[derive(Debug, Clone)]
pub struct Descriptor {
    /// Media type.
    pub media_type: String,
    /// `sha256:…`.
    pub digest: String,
    /// Bytes.
    pub size: usize,
}

impl Image {
    /// An OCI image for linux/amd64 of these layers.
    #[must_use]
    pub fn new(layers: Vec<Layer>) -> Image {
        Image {
            layers,
            media_types: MediaTypes::Oci,
            os: "linux".to_owned(),
            architecture: "amd64".to_owned(),
            created: "2024-01-02T03:04:05Z".to_owned(),
            command: vec!["/bin/true".to_owned()],
            layer_annotations: |_, _| Value::Null,
        }
    }

    /// An image of one gzip layer with one file: enough where only its identity counts.
    #[must_use]
    pub fn tiny(content: &str) -> Image {
        let tar = super::Archive::new().file("content", content.as_bytes()).finish();
        Image::new(vec![Layer { tar, compression: Compression::Gzip }])
    }
}

/// A layout folder.
#[derive(Debug)]
pub struct Layout {
    folder: PathBuf,
    tagged: Vec<(String, Descriptor)>,
}

impl Layout {
    /// An empty layout in `folder`, which is made.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn create(folder: &Path) -> Layout {
        std::fs::create_dir_all(folder.join("blobs/sha256")).expect("a folder can be made");
        std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
            .expect("a layout can be written");
        let layout = Layout { folder: folder.to_owned(), tagged: Vec::new() };
        layout.write_index();
        layout
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes the blobs and the manifest of an image.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn add(&mut self, image: &Image) -> Descriptor {
        let stored: Vec<Vec<u8>> =
            image.layers.iter().map(|layer| compress(&layer.tar, layer.compression)).collect();
        let config = json!({
            "created": image.created,
            "architecture": image.architecture,
            "os": image.os,
            "config": {"Cmd": image.command, "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
            "rootfs": {
                "type": "layers",
                "diff_ids": image.layers.iter().map(|layer| sha256(&layer.tar)).collect::<Vec<_>>(),
            },
            "history": image.layers.iter().map(|_| json!({"created": image.created, "created_by": "test"}))
                .collect::<Vec<_>>(),
        });
        let config = serde_json::to_vec(&config).expect("JSON");
        let types = image.media_types;
        let layers: Vec<Value> = image
            .layers
            .iter()
            .zip(&stored)
            .map(|(layer, bytes)| {
                let digest = self.write_blob(bytes);
                let mut descriptor = json!({
                    "mediaType": types.layer(layer.compression),
                    "digest": digest,
                    "size": bytes.len(),
                });
                let annotations = (image.layer_annotations)(&digest, bytes.len());
                if !annotations.is_null() {
                    descriptor["annotations"] = annotations;
                }
                descriptor
            })
            .collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": types.manifest(),
            "config": {
                "mediaType": types.config(),
                "digest": self.write_blob(&config),
                "size": config.len(),
            },
            "layers": layers,
        });
        self.write_document(types.manifest(), &manifest)
    }

    /// Writes an index over images of several platforms.
    pub fn add_index(&mut self, types: MediaTypes, images: &[(&str, Descriptor)]) -> Descriptor {
        let manifests: Vec<Value> = images
            .iter()
            .map(|(architecture, image)| {
                let mut manifest = image.json();
                manifest["platform"] = json!({"os": "linux", "architecture": architecture});
                manifest
            })
            .collect();
        let index = json!({"schemaVersion": 2, "mediaType": types.index(), "manifests": manifests});
        self.write_document(types.index(), &index)
    }

    /// Gives a manifest or index a name.
    pub fn tag(&mut self, tag: &str, descriptor: &Descriptor) {
        self.tagged.retain(|(name, _)| name != tag);
        self.tagged.push((tag.to_owned(), descriptor.clone()));
        self.write_index();
    }

    /// Writes an image and tags it.
    pub fn add_tagged(&mut self, tag: &str, image: &Image) -> Descriptor {
        let descriptor = self.add(image);
        self.tag(tag, &descriptor);
        descriptor
    }

    /// The bytes of a blob.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn blob(&self, digest: &str) -> Vec<u8> {
        let path = self.folder.join("blobs").join(digest.replace(':', "/"));
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Sends a manifest with everything that it names, byte for byte.
    ///
    /// # Errors
    /// At the first answer that is not the right one.
    pub fn push(
        &self,
        descriptor: &Descriptor,
        registry: &Registry,
        repository: &str,
        reference: &str,
    ) -> anyhow::Result<()> {
        let document = self.blob(&descriptor.digest);
        let manifest: Value = serde_json::from_slice(&document)?;
        let list = |name: &str| manifest[name].as_array().cloned().unwrap_or_default();
        for child in list("manifests") {
            let child = Descriptor::from_json(&child);
            self.push(&child, registry, repository, &child.digest)?;
        }
        let blobs = list("layers").into_iter().chain(manifest.get("config").cloned());
        for blob in blobs {
            let blob = Descriptor::from_json(&blob);
            registry.push_blob(repository, &self.blob(&blob.digest))?;
        }
        registry.push_manifest(repository, reference, &descriptor.media_type, &document)?;
        Ok(())
    }

    /// Writes one image as the plain folder that skopeo calls `dir:`, the one of its formats that keeps
    /// Docker's manifests as they are.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn export(&self, image: &Descriptor, folder: &Path) {
        std::fs::create_dir_all(folder).expect("a folder can be made");
        let manifest = self.blob(&image.digest);
        let write = |name: &str, bytes: &[u8]| {
            std::fs::write(folder.join(name), bytes).expect("a file can be written");
        };
        write("version", b"Directory Transport Version: 1.1\n");
        write("manifest.json", &manifest);
        let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
        let layers = manifest["layers"].as_array().cloned().unwrap_or_default();
        for blob in layers.iter().chain([&manifest["config"]]) {
            let digest = Descriptor::from_json(blob).digest;
            write(digest.trim_start_matches("sha256:"), &self.blob(&digest));
        }
    }

    /// Writes a manifest or index as it stands.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn write_document(&self, media_type: &str, document: &Value) -> Descriptor {
        let bytes = serde_json::to_vec(document).expect("JSON");
        let digest = self.write_blob(&bytes);
        Descriptor { media_type: media_type.to_owned(), digest, size: bytes.len() }
    }

    fn write_blob(&self, bytes: &[u8]) -> String {
        let digest = sha256(bytes);
        let path = self.folder.join("blobs").join(digest.replace(':', "/"));
        std::fs::write(path, bytes).expect("a blob can be written");
        digest
    }

    fn write_index(&self) {
        let manifests: Vec<Value> = self
            .tagged
            .iter()
            .map(|(tag, descriptor)| {
                let mut manifest = descriptor.json();
                manifest["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
                manifest
            })
            .collect();
        let index = json!({
            "schemaVersion": 2,
            "mediaType": MediaTypes::Oci.index(),
            "manifests": manifests,
        });
        let bytes = serde_json::to_vec(&index).expect("JSON");
        std::fs::write(self.folder.join("index.json"), bytes).expect("an index can be written");
    }
}

impl Descriptor {
    fn json(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest, "size": self.size})
    }

    fn from_json(value: &Value) -> Descriptor {
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let size = value["size"].as_u64().and_then(|size| usize::try_from(size).ok());
        Descriptor {
            media_type: text("mediaType"),
            digest: text("digest"),
            size: size.unwrap_or_default(),
        }
    }
}

impl MediaTypes {
    fn manifest(self) -> &'static str {
        match self {
            MediaTypes::Oci => "application/vnd.oci.image.manifest.v1+json",
            MediaTypes::Docker => "application/vnd.docker.distribution.manifest.v2+json",
        }
    }

    fn index(self) -> &'static str {
        match self {
            MediaTypes::Oci => "application/vnd.oci.image.index.v1+json",
            MediaTypes::Docker => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    fn config(self) -> &'static str {
        match self {
            MediaTypes::Oci => "application/vnd.oci.image.config.v1+json",
            MediaTypes::Docker => "application/vnd.docker.container.image.v1+json",
        }
    }

    fn layer(self, compression: Compression) -> String {
        match (self, compression) {
            (MediaTypes::Oci, _) => {
                format!("application/vnd.oci.image.layer.v1.tar{}", compression.suffix())
            }
            (MediaTypes::Docker, Compression::None) => {
                "application/vnd.docker.image.rootfs.diff.tar".to_owned()
            }
            (MediaTypes::Docker, _) => {
                format!(
                    "application/vnd.docker.image.rootfs.diff.tar.{}",
                    compression.suffix().trim_start_matches('+')
                )
            }
        }
    }
}
