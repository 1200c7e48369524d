//! Judges of accelerated images that share no code with the product: an independent reader, e2fsck,
//! the kernel's ext4, and the tree that umoci unpacks from the source.

use crate::tool;
use berth_testkit::engine::Containerd;
use berth_testkit::mount::Mounted;
use berth_testkit::process::{as_root, run};
use berth_testkit::python;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The layer files of an image in a layout folder, bottom first.
///
/// # Panics
/// When the layout has no such tag, or the tag is no single image.
#[must_use]
pub fn layer_files(layout: &Path, tag: &str) -> Vec<PathBuf> {
    let json = |path: PathBuf| -> Value {
        let text =
            std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_slice(&text).expect("JSON")
    };
    let blob = |digest: &Value| {
        let digest = digest.as_str().expect("a digest");
        layout.join("blobs").join(digest.replace(':', "/"))
    };
    let index = json(layout.join("index.json"));
    let named =
        |manifest: &&Value| manifest["annotations"]["org.opencontainers.image.ref.name"] == tag;
    let manifests = index["manifests"].as_array().cloned().unwrap_or_default();
    let manifest = manifests.iter().find(named).unwrap_or_else(|| panic!("no {tag} in {index}"));
    let manifest = json(blob(&manifest["digest"]));
    let layers = manifest["layers"].as_array().unwrap_or_else(|| panic!("no layers: {manifest}"));
    layers.iter().map(|layer| blob(&layer["digest"])).collect()
}

/// Stacks accelerated layers with the independent reader into the device file `device`, and has
/// e2fsck look at it: a file system with any fault is a failure.
///
/// # Panics
/// When a layer is malformed or the file system has a fault.
pub fn flatten(layers: &[PathBuf], device: &Path) {
    run(python::script(&tool("overlaybd_read.py")).arg("flatten").arg(device).args(layers));
    run(Command::new("/usr/sbin/e2fsck").arg("-fn").arg(device));
}

/// Stacks, checks and mounts an accelerated image of a layout folder.
///
/// # Panics
/// When any of the three fails.
#[must_use]
pub fn mount(layout: &Path, tag: &str, scratch: &Path) -> Mounted {
    let device = scratch.join(format!("{tag}.device"));
    flatten(&layer_files(layout, tag), &device);
    Mounted::ext4(&device)
}

/// A source image unpacked by umoci; removed when dropped.
#[derive(Debug)]
pub struct Unpacked {
    bundle: PathBuf,
}

impl Unpacked {
    /// Unpacks `tag` of a layout folder below `scratch`.
    #[must_use]
    pub fn by_umoci(layout: &Path, tag: &str, scratch: &Path) -> Unpacked {
        let bundle = scratch.join(format!("{tag}.bundle"));
        let image = format!("{}:{tag}", layout.display());
        run(as_root("umoci").args(["unpack", "--image", &image]).arg(&bundle));
        Unpacked { bundle }
    }

    /// The tree.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.bundle.join("rootfs")
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        drop(as_root("rm").args(["-rf", "--one-file-system"]).arg(&self.bundle).status());
    }
}

/// A source image as a node of today unpacks it; undone when dropped.
#[derive(Debug)]
pub struct OnNode {
    containerd: Containerd,
    point: TempDir,
}

impl OnNode {
    /// Unpacks the only image of a layout folder with a real containerd.
    ///
    /// # Panics
    /// When containerd refuses it.
    #[must_use]
    pub fn unpack(layout: &Path, snapshotter: &str) -> OnNode {
        const NAME: &str = "node.example/image:v1";
        let temporary = || {
            let mut builder = tempfile::Builder::new();
            builder.prefix("berth-node-").tempdir().expect("a temporary folder can be made")
        };
        let (point, scratch) = (temporary(), temporary());
        let archive = scratch.path().join("image.tar").to_string_lossy().into_owned();
        run(Command::new("tar").arg("-C").arg(layout).args(["-cf", &archive, "."]));
        let containerd = Containerd::start_today();
        let mut import = vec!["images", "import", "--no-unpack", "--all-platforms"];
        import.extend(["--index-name", NAME, archive.as_str()]);
        let _ = containerd.run(&import);
        let place = point.path().to_string_lossy().into_owned();
        let mount = ["images", "mount", "--snapshotter", snapshotter, NAME, &place];
        let _ = containerd.run(&mount);
        OnNode { containerd, point }
    }

    /// The tree.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.point.path()
    }
}

impl Drop for OnNode {
    fn drop(&mut self) {
        let place = self.point.path().to_string_lossy().into_owned();
        let _ = self.containerd.run(&["images", "unmount", "--rm", &place]);
    }
}

/// Compares a tree with what a node has of its source, but for the modification times of folders:
/// containerd leaves the time of unpacking on every folder whose names a layer changed without an
/// entry of its own for it.
///
/// # Panics
/// With a line per difference.
pub fn assert_same_tree_as_on_node(node: &OnNode, actual: &Path) {
    run(&mut compared_with_node(node, actual));
}

/// As [`assert_same_tree_as_on_node`], but for hard links of devices and pipes: of a lower layer, the
/// snapshotter `native` makes a copy per name.
///
/// # Panics
/// With a line per difference.
pub fn assert_same_tree_as_on_copying_node(node: &OnNode, actual: &Path) {
    run(compared_with_node(node, actual).arg("--devices-apart"));
}

fn compared_with_node(node: &OnNode, actual: &Path) -> Command {
    let mut command = python::script_as_root(&tool("compare_trees.py"));
    command.arg(node.path()).arg(actual).args(["--ignore", "lost+found", "--any-folder-mtime"]);
    command
}

/// Compares two trees in everything that a container can see, but for the modification times of
/// `without_mtime` and two things that no image can say:
/// - `lost+found`, which is ext4's own and where repairs put what they find;
/// - the modification time of the root when no layer has an entry for it, hence `.` is to be named in
///   `without_mtime` for such images.
///
/// # Panics
/// With a line per difference.
pub fn assert_same_tree(expected: &Path, actual: &Path, without_mtime: &[&str]) {
    let mut command = python::script_as_root(&tool("compare_trees.py"));
    command.arg(expected).arg(actual).args(["--ignore", "lost+found"]);
    command.args(without_mtime.iter().flat_map(|path| ["--ignore-mtime", path]));
    run(&mut command);
}
