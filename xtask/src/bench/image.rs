//! The image that is pushed and pulled: eight layers of 500 MB, the same bytes on every machine.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Megabytes of each layer.
const LAYERS: [u64; 8] = [160, 120, 80, 60, 40, 24, 12, 4];
/// Megabytes of each layer of a quick run.
const QUICK: [u64; 8] = [32, 24, 16, 12, 8, 5, 2, 1];

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A blob and the file that holds it.
#[derive(Clone)]
pub(super) struct Blob {
    pub(super) digest: String,
    pub(super) size: u64,
    pub(super) file: PathBuf,
}

/// An image on disk.
pub(super) struct Image {
    pub(super) layers: Vec<Blob>,
    pub(super) config: Blob,
    pub(super) manifest: Blob,
}

impl Image {
    pub(super) const MEDIA_TYPE: &str = MANIFEST_TYPE;

    /// The image in a folder; made there.
    pub(super) fn make(folder: &Path, quick: bool) -> Result<Image> {
        std::fs::create_dir_all(folder)?;
        let sizes = if quick { QUICK } else { LAYERS };
        let mut layers = Vec::new();
        for (number, megabytes) in (1..).zip(sizes) {
            let file = folder.join(format!("layer-{number}"));
            layers
                .push(noise(&file, number, megabytes * 1_000_000).context("cannot make a layer")?);
        }
        let config = document(
            &folder.join("config"),
            &json!({
                "architecture": "amd64",
                "os": "linux",
                "rootfs": {
                    "type": "layers",
                    "diff_ids": layers.iter().map(|layer| &layer.digest).collect::<Vec<_>>(),
                },
            }),
        )?;
        let descriptor = |media_type: &str, blob: &Blob| json!({ "mediaType": media_type, "digest": blob.digest, "size": blob.size });
        let manifest = document(
            &folder.join("manifest"),
            &json!({
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": descriptor(CONFIG_TYPE, &config),
                "layers": layers
                    .iter()
                    .map(|layer| descriptor(LAYER_TYPE, layer))
                    .collect::<Vec<_>>(),
            }),
        )?;
        Ok(Image { layers, config, manifest })
    }

    /// Bytes of all layers.
    pub(super) fn bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }
}

/// A file of bytes that do not repeat, as those of a compressed layer (xorshift64*).
fn noise(path: &Path, seed: u64, size: u64) -> Result<Blob> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut hash = Sha256::new();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut block = Vec::with_capacity(1 << 16);
    let mut left = size;
    while left > 0 {
        block.clear();
        while block.len() < 1 << 16 {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            block.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
        }
        block.truncate(usize::try_from(left).unwrap_or(usize::MAX).min(block.len()));
        hash.update(&block);
        file.write_all(&block)?;
        left -= block.len() as u64;
    }
    file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    Ok(Blob { digest: digest(hash), size, file: path.to_owned() })
}

fn document(path: &Path, value: &Value) -> Result<Blob> {
    let bytes = serde_json::to_vec(value)?;
    std::fs::write(path, &bytes)?;
    let size = bytes.len() as u64;
    Ok(Blob { digest: digest(Sha256::new().chain_update(&bytes)), size, file: path.to_owned() })
}

fn digest(hash: Sha256) -> String {
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
