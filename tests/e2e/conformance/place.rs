//! Where a scenario plays: a server, and repositories that nobody else uses.

use rand::RngCore as _;
use sha2::{Digest as _, Sha256, Sha512};

use crate::client::{Answer, Client, Outcome};
use crate::ledger::{Category, Ledger};

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCTETS: &str = "application/octet-stream";
pub(crate) const DIGEST: &str = "docker-content-digest";

/// A digest algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    pub(crate) const BOTH: [Self; 2] = [Self::Sha256, Self::Sha512];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    pub(crate) fn digest(self, content: &[u8]) -> String {
        match self {
            Self::Sha256 => format!("sha256:{}", hex::encode(Sha256::digest(content))),
            Self::Sha512 => format!("sha512:{}", hex::encode(Sha512::digest(content))),
        }
    }
}

pub(crate) fn sha256(content: &[u8]) -> String {
    Algorithm::Sha256.digest(content)
}

/// Bytes that no other blob has: a random block, again and again, whose length divides no range that
/// a case asks for.
pub(crate) fn random(length: usize) -> Vec<u8> {
    let mut block = vec![0; length.min(1021)];
    rand::rng().fill_bytes(&mut block);
    let mut content = block.repeat(length.div_ceil(1021));
    content.truncate(length);
    content
}

/// A name that no other repository has.
pub(crate) fn fresh_repository() -> String {
    format!("conformance/r-{}", hex::encode(random(8)))
}

/// A scenario's surroundings.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) client: Client,
    /// Of this scenario alone; made by its first push.
    pub(crate) repository: String,
    scenario: String,
    ledger: &'a Ledger,
}

impl<'a> Place<'a> {
    pub(crate) fn new(client: &Client, ledger: &'a Ledger, scenario: &str) -> Self {
        let (client, scenario) = (client.clone(), scenario.to_owned());
        Self { client, repository: fresh_repository(), scenario, ledger }
    }

    /// The same with another repository.
    pub(crate) fn elsewhere(&self) -> Place<'a> {
        Place {
            client: self.client.clone(),
            repository: fresh_repository(),
            scenario: self.scenario.clone(),
            ledger: self.ledger,
        }
    }

    /// Runs a case and notes its end; what it found, unless it failed.
    pub(crate) fn case<T>(
        &self,
        category: Category,
        name: &str,
        body: impl FnOnce() -> Outcome<T>,
    ) -> Option<T> {
        self.ledger.case(category, &self.scenario, name, body)
    }

    /// A path below the repository.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.repository)
    }

    pub(crate) fn blob(&self, digest: &str) -> String {
        self.path(&format!("blobs/{digest}"))
    }

    pub(crate) fn manifest(&self, reference: &str) -> String {
        self.path(&format!("manifests/{reference}"))
    }

    pub(crate) fn uploads(&self, query: &str) -> String {
        self.path(&format!("blobs/uploads/{query}"))
    }

    /// Begins an upload; its location.
    pub(crate) fn begin(&self, query: &str) -> Outcome<String> {
        let answer = self.client.post(&self.uploads(query))?;
        answer.expect(202)?;
        answer.header("location").map(str::to_owned)
    }

    /// Closes an upload with the rest of its bytes.
    pub(crate) fn close(&self, location: &str, digest: &str, rest: &[u8]) -> Outcome<Answer> {
        let call = self.client.call("PUT", &with_digest(location, digest));
        call.header("content-type", OCTETS).body(rest).send()
    }

    /// Pushes a blob by its digest.
    pub(crate) fn push(&self, digest: &str, content: &[u8]) -> Outcome {
        let location = self.begin("")?;
        self.close(&location, digest, content)?.expect(201)
    }

    /// Pushes a blob; its sha256.
    pub(crate) fn push_blob(&self, content: &[u8]) -> Outcome<String> {
        let digest = sha256(content);
        self.push(&digest, content).map(|()| digest)
    }

    pub(crate) fn put_manifest(&self, reference: &str, kind: &str, body: &[u8]) -> Outcome<Answer> {
        let call = self.client.call("PUT", &self.manifest(reference));
        call.header("content-type", kind).body(body).send()
    }

    /// Pushes a small image under a reference; its bytes.
    pub(crate) fn push_image(&self, reference: &str) -> Outcome<Vec<u8>> {
        let (config, layer) = (random(40), random(90));
        let body = image(&self.push_blob(&config)?, 40, &self.push_blob(&layer)?, 90);
        let reference = if reference.is_empty() { sha256(&body) } else { reference.to_owned() };
        self.put_manifest(&reference, OCI_MANIFEST, &body)?.expect(201)?;
        Ok(body)
    }

    /// The location of an answer leads to the content, byte for byte.
    pub(crate) fn leads_to(&self, answer: &Answer, content: &[u8]) -> Outcome {
        let found = self.client.get(answer.header("location")?)?;
        found.expect(200)?;
        found.is(content)
    }
}

/// The bytes of an image manifest with one layer.
pub(crate) fn image(config: &str, config_size: usize, layer: &str, layer_size: usize) -> Vec<u8> {
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config,
            "size": config_size,
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            "digest": layer,
            "size": layer_size,
        }],
    })
    .to_string()
    .into_bytes()
}

/// An upload's location with the parameter that closes it.
pub(crate) fn with_digest(location: &str, digest: &str) -> String {
    let separator = if location.contains('?') { '&' } else { '?' };
    format!("{location}{separator}digest={digest}")
}
