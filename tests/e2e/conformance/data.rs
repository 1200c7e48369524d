//! What is pushed and pulled: every kind of content that the specifications know.

use serde_json::{Value, json};

use crate::place::{Algorithm, OCI_INDEX, OCI_MANIFEST, random, sha256};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const ARTIFACT: &str = "application/vnd.example.artifact";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// The largest manifest that every registry takes (distribution-spec, "Pushing Manifests").
pub(crate) const LARGEST_MANIFEST: usize = 4 << 20;

/// One kind of content, in the order in which it is pushed.
#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) name: &'static str,
    pub(crate) algorithm: Algorithm,
    pub(crate) blobs: Vec<Blob>,
    pub(crate) documents: Vec<Document>,
}

#[derive(Debug)]
pub(crate) struct Blob {
    pub(crate) digest: String,
    pub(crate) content: Vec<u8>,
}

/// A manifest or an index.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) tag: String,
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) body: Vec<u8>,
    pub(crate) subject: Option<String>,
    /// As a list of referrers shows it.
    pub(crate) descriptor: Value,
}

impl Data {
    fn new(name: &'static str, algorithm: Algorithm) -> Self {
        Self { name, algorithm, blobs: Vec::new(), documents: Vec::new() }
    }

    fn descriptor(&self, media_type: &str, content: &[u8]) -> Value {
        json!({
            "mediaType": media_type,
            "digest": self.algorithm.digest(content),
            "size": content.len(),
        })
    }

    fn blob(&mut self, media_type: &str, content: Vec<u8>) -> Value {
        let digest = self.algorithm.digest(&content);
        let descriptor = self.descriptor(media_type, &content);
        if !self.blobs.iter().any(|blob| blob.digest == digest) {
            self.blobs.push(Blob { digest, content });
        }
        descriptor
    }

    fn config(&mut self) -> Value {
        let text = json!({
            "architecture": "amd64",
            "os": "linux",
            "author": hex::encode(random(8)),
            "rootfs": { "type": "layers", "diff_ids": [] },
        });
        self.blob(CONFIG, text.to_string().into_bytes())
    }

    fn layers(&mut self, media_type: &str) -> Vec<Value> {
        (1..4).map(|n| self.blob(media_type, random(1000 * n))).collect()
    }

    fn empty(&mut self) -> Value {
        self.blob(EMPTY, b"{}".to_vec())
    }

    /// The fields of an image with config and layers.
    fn image_fields(&mut self, layers: &str) -> Value {
        let (config, layers) = (self.config(), self.layers(layers));
        manifest(&config, &layers)
    }

    /// Adds a document as it is written by default; its descriptor.
    fn add(&mut self, document: &Value) -> Value {
        self.add_bytes(document, document.to_string().into_bytes())
    }

    /// Adds a document with these bytes.
    fn add_bytes(&mut self, document: &Value, body: Vec<u8>) -> Value {
        let text =
            |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let media_type = text(&document["mediaType"]).unwrap_or_else(|| OCI_MANIFEST.to_owned());
        let plain = self.descriptor(&media_type, &body);
        let mut descriptor = plain.clone();
        // Of an image without a type, its config's; of an index, none.
        let kind = text(&document["artifactType"]).or(text(&document["config"]["mediaType"]));
        if let Some(kind) = kind {
            descriptor["artifactType"] = json!(kind);
        }
        if document["annotations"].as_object().is_some_and(|map| !map.is_empty()) {
            descriptor["annotations"] = document["annotations"].clone();
        }
        let tag = format!("tag-{}", self.documents.len());
        let digest = self.algorithm.digest(&body);
        let subject = text(&document["subject"]["digest"]);
        self.documents.push(Document { tag, media_type, digest, body, subject, descriptor });
        plain
    }

    fn add_image(&mut self) -> Value {
        let image = self.image_fields(GZIP);
        self.add(&image)
    }
}

fn manifest(config: &Value, layers: &[Value]) -> Value {
    json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers })
}

fn index(manifests: &[Value]) -> Value {
    json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests })
}

fn on_platform(mut descriptor: Value, architecture: &str) -> Value {
    descriptor["platform"] = json!({ "os": "linux", "architecture": architecture });
    descriptor
}

/// A name, and what it consists of.
type Kind = (&'static str, fn(&mut Data));

/// All kinds.
pub(crate) fn all() -> Vec<Data> {
    let made = |name, algorithm, fill: fn(&mut Data)| {
        let mut data = Data::new(name, algorithm);
        fill(&mut data);
        data
    };
    let kinds: [Kind; 22] = [
        ("image", |data| drop(data.add_image())),
        ("image, uncompressed", image_uncompressed),
        ("image, formatted by hand", image_formatted),
        ("image without mediaType", image_without_type),
        ("image without layers", image_without_layers),
        ("image with an empty layer", image_with_empty_layer),
        ("image, non-distributable layers", image_non_distributable),
        ("image of Docker", docker),
        ("index", plain_index),
        ("index, nested", nested_index),
        ("index, empty", |data| drop(data.add(&index(&[])))),
        ("index, sparse", sparse_index),
        ("index with subject", index_with_subject),
        ("artifact", artifact),
        ("artifact without layers", artifact_without_layers),
        ("artifact index", artifact_index),
        ("artifacts with subject", artifacts_with_subject),
        ("missing subject", missing_subject),
        ("custom fields", custom_fields),
        ("data field", data_field),
        ("large manifest", large_manifest),
        ("many annotations", many_annotations),
    ];
    let mut all: Vec<Data> =
        kinds.into_iter().map(|(name, fill)| made(name, Algorithm::Sha256, fill)).collect();
    let in_sha512: [Kind; 4] = [
        ("sha512 image", |data| drop(data.add_image())),
        ("sha512 index", nested_index),
        ("sha512 artifacts with subject", artifacts_with_subject),
        ("sha512 empty layer", image_with_empty_layer),
    ];
    all.extend(in_sha512.into_iter().map(|(name, fill)| made(name, Algorithm::Sha512, fill)));
    all
}

fn image_uncompressed(data: &mut Data) {
    let image = data.image_fields(TAR);
    data.add(&image);
}

fn image_formatted(data: &mut Data) {
    let image = data.image_fields(GZIP);
    let mut body = serde_json::to_vec_pretty(&image).expect("JSON");
    body.extend_from_slice(b"\n\t \r\n");
    data.add_bytes(&image, body);
}

fn image_without_type(data: &mut Data) {
    let mut image = data.image_fields(GZIP);
    image.as_object_mut().expect("an object").shift_remove("mediaType");
    data.add(&image);
}

fn image_without_layers(data: &mut Data) {
    let config = data.config();
    data.add(&manifest(&config, &[]));
}

fn image_with_empty_layer(data: &mut Data) {
    let (config, empty) = (data.config(), data.blob(GZIP, Vec::new()));
    data.add(&manifest(&config, &[empty]));
}

/// Their bytes are not pushed.
fn image_non_distributable(data: &mut Data) {
    let mut layers = data.layers(GZIP);
    let mut foreign = data
        .descriptor("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", &random(50));
    foreign["urls"] = json!(["https://layers.example/one"]);
    layers.insert(0, foreign);
    let config = data.config();
    data.add(&manifest(&config, &layers));
}

fn docker(data: &mut Data) {
    let mut image = data.image_fields("application/vnd.docker.image.rootfs.diff.tar.gzip");
    image["mediaType"] = json!(DOCKER_MANIFEST);
    image["config"]["mediaType"] = json!("application/vnd.docker.container.image.v1+json");
    let image = on_platform(data.add(&image), "amd64");
    let mut list = index(&[image]);
    list["mediaType"] = json!(DOCKER_LIST);
    data.add(&list);
}

fn plain_index(data: &mut Data) {
    let images = ["amd64", "arm64"].map(|name| on_platform(data.add_image(), name));
    data.add(&index(&images));
}

fn nested_index(data: &mut Data) {
    let images = ["amd64", "arm64"].map(|name| on_platform(data.add_image(), name));
    let inner = data.add(&index(&images));
    let other = data.add_image();
    data.add(&index(&[inner, other]));
}

/// One of its images is never pushed.
fn sparse_index(data: &mut Data) {
    let here = on_platform(data.add_image(), "amd64");
    let missing = data.descriptor(OCI_MANIFEST, &random(700));
    data.add(&index(&[here, on_platform(missing, "arm64")]));
}

fn index_with_subject(data: &mut Data) {
    let (subject, image) = (data.add_image(), data.add_image());
    let mut index = index(&[image]);
    index["subject"] = subject;
    index["annotations"] = json!({ "org.example.kind": "index" });
    data.add(&index);
}

fn artifact_fields(data: &mut Data, kind: &str) -> Value {
    let (config, blob) = (data.empty(), data.blob("application/vnd.example.blob", random(300)));
    let mut artifact = manifest(&config, &[blob]);
    artifact["artifactType"] = json!(kind);
    artifact["annotations"] = json!({ "org.example.kind": kind, "org.example.text": "ä\"\n" });
    artifact
}

fn artifact(data: &mut Data) {
    let artifact = artifact_fields(data, ARTIFACT);
    data.add(&artifact);
}

fn artifact_without_layers(data: &mut Data) {
    let config = data.empty();
    let mut artifact = manifest(&config, std::slice::from_ref(&config));
    artifact["artifactType"] = json!(ARTIFACT);
    data.add(&artifact);
    artifact["layers"] = json!([]);
    data.add(&artifact);
}

fn artifact_index(data: &mut Data) {
    let artifact = artifact_fields(data, ARTIFACT);
    let artifact = data.add(&artifact);
    let mut index = index(&[artifact]);
    index["artifactType"] = json!(ARTIFACT);
    data.add(&index);
}

fn artifacts_with_subject(data: &mut Data) {
    let subject = data.add_image();
    for kind in [ARTIFACT, "application/vnd.example.sbom+json", "application/vnd.example.v1"] {
        let mut artifact = artifact_fields(data, kind);
        artifact["subject"] = subject.clone();
        data.add(&artifact);
    }
    // Without a type of their own: the config's, and none.
    let mut image = data.image_fields(GZIP);
    image["subject"] = subject.clone();
    image["artifactType"] = json!("");
    data.add(&image);
    let mut index = index(&[]);
    index["subject"] = subject;
    data.add(&index);
}

fn missing_subject(data: &mut Data) {
    let mut artifact = artifact_fields(data, ARTIFACT);
    artifact["subject"] = data.descriptor(OCI_MANIFEST, &random(500));
    data.add(&artifact);
}

fn custom_fields(data: &mut Data) {
    let mut image = data.image_fields(GZIP);
    image["org.example.custom"] = json!({ "deep": [1, 2.5, null, true] });
    image["config"]["custom"] = json!("config");
    image["layers"][0]["custom"] = json!("layer");
    let image = data.add(&image);
    let mut index = index(&[image]);
    index["custom"] = json!("index");
    index["manifests"][0]["custom"] = json!("child");
    data.add(&index);
}

fn data_field(data: &mut Data) {
    use base64::Engine as _;
    let content = random(64);
    let mut blob = data.blob("application/vnd.example.blob", content.clone());
    blob["data"] = json!(base64::engine::general_purpose::STANDARD.encode(content));
    let mut config = data.empty();
    config["data"] = json!("e30=");
    let mut artifact = manifest(&config, &[blob]);
    artifact["artifactType"] = json!(ARTIFACT);
    data.add(&artifact);
}

/// Exactly as large as a manifest may be.
fn large_manifest(data: &mut Data) {
    let mut image = data.image_fields(GZIP);
    image["annotations"] = json!({ "org.example.large": "" });
    let missing = LARGEST_MANIFEST - image.to_string().len();
    image["annotations"]["org.example.large"] = json!("x".repeat(missing));
    data.add(&image);
}

fn many_annotations(data: &mut Data) {
    let mut image = data.image_fields(GZIP);
    for n in 0..500 {
        let name = format!("org.example.n{n}");
        image["annotations"][&name] = json!(sha256(name.as_bytes()));
    }
    image["subject"] = data.add_image();
    data.add(&image);
}
