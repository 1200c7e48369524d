//! What the accelerated image saves, and that it is its source.

use anyhow::{Context as _, ensure};
use berth_formats::ReadAt;
use berth_formats::ext4::reader::{Ext4Reader, FileType, ReadError};
use berth_formats::overlaybd::{LayerStack, Readahead};
use berth_oci::{MAX_CONFIG_BYTES, ManifestView};
use berth_types::Platform;
use serde_json::Value;

use super::remote::{Access, RemoteBlob};
use super::start::{Files, read_start_files};
use super::story::Stage;
use super::{print, say};
use crate::compare::{compare, pairs};
use crate::image::{LocalImage, PlatformImage};

/// Largest file that a start is taken to read whole.
const MAX_FILE: u64 = 256 << 20;
/// Bytes of one ranged request, and how many of them are kept.
const CHUNK: u32 = 64 << 10;
const CHUNKS: usize = 256;

/// Reads what a start of the image reads, then compares the whole image with its source.
pub(super) async fn show(
    stage: &Stage,
    source: &LocalImage,
    repository: &str,
    tag: &str,
    image_size: u64,
) -> anyhow::Result<()> {
    let target = stage.pull_documents(repository, tag).await?;
    let pairs = pairs(source, &target)?;
    let (source_image, target_image) =
        this_platform(&pairs).context("the image has no platform")?;
    let blobs = || remote_blobs(&stage.access, repository, &target_image.view);
    let config = source_image.view.config.as_ref().context("the source has no config")?;
    let config = source.layout.document(&config.digest, MAX_CONFIG_BYTES as u64)?;
    let config: Value = serde_json::from_slice(&config).context("config of the source")?;
    let (program, path) = program(&config["config"]);

    let lazily = blobs();
    let read = tokio::task::spawn_blocking(move || {
        let stack = LayerStack::open(lazily)?;
        let image = RemoteImage(Ext4Reader::open(stack)?);
        read_start_files(&image, &program, &path)
    });
    let read = read.await.context("the reader failed")??;
    print("");
    for file in &read {
        print(&format!("    {:>12} bytes  {}", file.content.len(), file.path));
    }
    let (bytes, requests) = (stage.access.traffic.bytes(), stage.access.traffic.requests());
    ensure!(bytes > 0 && !read.is_empty(), "nothing was read from the accelerated image");
    #[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
    let share = bytes as f64 * 100.0 / image_size.max(1) as f64;
    print("");
    print(&format!(
        "    {bytes} bytes in {requests} requests, {share:.1} % of the image's {image_size} bytes"
    ));
    print("");

    say("Comparing the accelerated image with its source, byte for byte");
    for (source_image, target_image) in pairs {
        let blobs = remote_blobs(&stage.access, repository, &target_image.view);
        let layout = source.layout.clone();
        let report =
            tokio::task::spawn_blocking(move || compare(&layout, &source_image.view, blobs));
        let report = report.await.context("the comparison failed")??;
        for difference in &report.differences {
            print(&format!("    {}: {}", difference.path, difference.field));
        }
        print(&format!(
            "    {} layers, {} names, {} files with {} bytes: {}",
            report.accelerated_layers,
            report.names,
            report.files,
            report.bytes,
            if report.is_equal() { "equal" } else { "NOT equal" }
        ));
        ensure!(report.is_equal(), "the accelerated image differs from its source");
    }
    Ok(())
}

/// The image for this machine, or the first one.
fn this_platform(
    pairs: &[(PlatformImage, PlatformImage)],
) -> Option<&(PlatformImage, PlatformImage)> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let here = |platform: &Platform| platform.architecture == architecture;
    pairs
        .iter()
        .find(|(_, target)| target.platform.as_ref().is_none_or(here))
        .or_else(|| pairs.first())
}

fn remote_blobs(
    access: &Access,
    repository: &str,
    view: &ManifestView,
) -> Vec<Readahead<RemoteBlob>> {
    view.layers
        .iter()
        .map(|layer| {
            let blob = RemoteBlob::new(access, repository, layer.digest.as_str(), layer.size);
            Readahead::new(blob, CHUNK, CHUNKS)
        })
        .collect()
}

/// What the image runs, and where programs are looked for.
fn program(config: &Value) -> (String, Vec<String>) {
    let first = |name: &str| config[name][0].as_str().map(str::to_owned);
    let program = first("Entrypoint").or_else(|| first("Cmd")).unwrap_or("/bin/sh".to_owned());
    let variables = config["Env"].as_array().cloned().unwrap_or_default();
    let path = variables
        .iter()
        .filter_map(Value::as_str)
        .find_map(|variable| variable.strip_prefix("PATH="))
        .unwrap_or("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    (program, path.split(':').map(str::to_owned).collect())
}

/// The files of an image that is still in the registry.
struct RemoteImage<R>(Ext4Reader<R>);

impl<R: ReadAt> Files for RemoteImage<R> {
    fn read(&self, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let inode = match self.0.lookup(path.as_bytes(), true) {
            Ok(inode) => inode,
            Err(ReadError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if inode.file_type != FileType::File || inode.size > MAX_FILE {
            return Ok(None);
        }
        let mut content = vec![0; usize::try_from(inode.size)?];
        self.0.read_file(&inode, &mut content, 0)?;
        Ok(Some(content))
    }
}
