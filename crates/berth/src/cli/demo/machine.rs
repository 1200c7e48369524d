//! An image made of the files of this very machine: what the demo works on when it is given none.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use berth_oci::media_type;
use berth_types::{Algorithm, Digest, Hasher};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use super::start::{Files, read_start_files};
use crate::layout::Layout;

/// Bytes of files that one layer takes at most, so that the demo stays a matter of seconds.
const LAYER_BYTES: u64 = 96 << 20;
/// Larger files are left out.
const FILE_BYTES: u64 = 32 << 20;

/// What each layer takes, lowest first, after the files that a start reads.
const LAYERS: [&[&str]; 3] = [
    &["bin", "sbin", "lib", "lib64", "etc"],
    &["usr/bin"],
    &["usr/lib64", "usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/share/doc"],
];

/// What the image starts with.
const ENTRYPOINT: [&str; 2] = ["/usr/bin/ls", "-l"];

/// Files that may hold secrets stay out even of a local demo.
const PRIVATE: [&str; 6] =
    ["etc/shadow", "etc/shadow-", "etc/gshadow", "etc/gshadow-", "etc/ssh", "etc/ssl/private"];

/// Writes the image into the layout under the tag.
pub(crate) fn write(layout: &Layout, tag: &str) -> anyhow::Result<()> {
    let needed = needed_files()?;
    let mut layers = Vec::new();
    let mut diff_ids = Vec::new();
    for paths in LAYERS {
        let layer = write_layer(layout, &needed, paths)?;
        diff_ids.push(layer.diff_id);
        layers.push(json!({
            "mediaType": media_type::OCI_LAYER_GZIP,
            "digest": layer.digest,
            "size": layer.size,
        }));
    }
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = serde_json::to_vec(&json!({
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": ENTRYPOINT, "Env": ["PATH=/usr/bin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }))?;
    let config_digest = layout.put_document(&config)?;
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": {
            "mediaType": media_type::OCI_CONFIG,
            "digest": config_digest,
            "size": config.len(),
        },
        "layers": layers,
    }))?;
    let digest = layout.put_document(&manifest)?;
    layout.set_tag(Some(tag), media_type::OCI_MANIFEST, &digest, manifest.len() as u64)
}

/// This machine as what a start reads from.
struct Machine;

impl Files for Machine {
    fn read(&self, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
        Ok(fs::read(path).ok())
    }
}

/// The files that a start of the entry point reads, with the links that lead to them, so that they
/// are in the image whatever else fits.
fn needed_files() -> anyhow::Result<Vec<PathBuf>> {
    let mut needed = Vec::new();
    for file in read_start_files(&Machine, ENTRYPOINT[0], &[])? {
        let path = Path::new(&file.path);
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { continue };
        let link = fs::canonicalize(folder).map(|folder| folder.join(name));
        for path in [link, fs::canonicalize(path)].into_iter().flatten() {
            needed.extend(path.strip_prefix("/").map(Path::to_owned));
        }
    }
    Ok(needed)
}

struct Layer {
    digest: Digest,
    diff_id: Digest,
    size: u64,
}

/// Passes bytes on and hashes them.
struct Hashing<W> {
    inner: W,
    hasher: Hasher,
    count: u64,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self { inner, hasher: Hasher::new(Algorithm::Sha256), count: 0 }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn write_layer(layout: &Layout, needed: &[PathBuf], paths: &[&str]) -> anyhow::Result<Layer> {
    let file = tempfile::NamedTempFile::new_in(layout.blob_folder())?;
    let compressed = Hashing::new(io::BufWriter::new(file));
    let tar = Hashing::new(GzEncoder::new(compressed, Compression::fast()));
    let mut archive =
        Archive { tar: tar::Builder::new(tar), room: LAYER_BYTES, taken: HashSet::new() };
    let is_here = |file: &&PathBuf| paths.iter().any(|path| file.starts_with(path));
    for file in needed.iter().filter(is_here) {
        archive.add_tree(file)?;
    }
    for path in paths {
        archive.add_tree(Path::new(path))?;
    }
    let tar = archive.tar.into_inner()?;
    let diff_id = tar.hasher.finish();
    let mut compressed = tar.inner.finish()?;
    compressed.flush()?;
    let digest = compressed.hasher.finish();
    let file = compressed.inner.into_inner().context("cannot write the layer")?;
    layout.take_blob(&digest, &file.into_temp_path())?;
    Ok(Layer { digest, diff_id, size: compressed.count })
}

struct Archive<W: Write> {
    tar: tar::Builder<W>,
    room: u64,
    taken: HashSet<PathBuf>,
}

impl<W: Write> Archive<W> {
    /// Adds a path and what is below it, as far as there is room. What cannot be read or changes
    /// meanwhile is left out: the demo takes what it can get.
    fn add_tree(&mut self, path: &Path) -> anyhow::Result<()> {
        let full = Path::new("/").join(path);
        if PRIVATE.iter().any(|private| path.starts_with(private)) || self.taken.contains(path) {
            return Ok(());
        }
        let Ok(metadata) = fs::symlink_metadata(&full) else { return Ok(()) };
        let kind = metadata.file_type();
        let mut header = tar::Header::new_gnu();
        header.set_metadata(&metadata);
        if kind.is_symlink() {
            header.set_size(0);
            let Ok(target) = fs::read_link(&full) else { return Ok(()) };
            self.tar.append_link(&mut header, path, target)?;
        } else if kind.is_dir() {
            header.set_size(0);
            self.tar.append_data(&mut header, path, io::empty())?;
        } else if kind.is_file() && metadata.size() <= self.room.min(FILE_BYTES) {
            let Ok(content) = read_whole(&full, metadata.size()) else { return Ok(()) };
            header.set_size(content.len() as u64);
            self.tar.append_data(&mut header, path, content.as_slice())?;
            self.room -= metadata.size().min(self.room);
        } else {
            return Ok(());
        }
        self.taken.insert(path.to_owned());
        if kind.is_dir() {
            let Ok(entries) = fs::read_dir(&full) else { return Ok(()) };
            let mut names: Vec<PathBuf> =
                entries.flatten().map(|entry| path.join(entry.file_name())).collect();
            names.sort();
            for name in names {
                self.add_tree(&name)?;
            }
        }
        Ok(())
    }
}

fn read_whole(path: &Path, size: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(size).read_to_end(&mut content)?;
    Ok(content)
}
