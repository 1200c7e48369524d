//! Layers that unpackers read differently: an accelerated image holds what containerd makes of them
//! with either of its snapshotters (`docs/unpacking.md`).

use berth_testkit::image::{Archive, Compression, Entry, Image, Kind, Layer, Layout};
use berth_testkit::process::run;
use berth_testkit::server::berth;
use berth_tests::judge::{self, OnNode};
use berth_tests::skopeo;

fn hard_link(path: &str, target: &str) -> Entry {
    Entry::new(path, Kind::HardLink(target.to_owned()))
}

fn file(path: &str) -> Entry {
    Entry::new(path, Kind::File(path.as_bytes().to_vec()))
}

fn folder(path: &str) -> Entry {
    Entry::new(path, Kind::Directory)
}

fn layers() -> Vec<Layer> {
    let lower = Archive::new()
        // The root is not the layers' to describe.
        .entry(&folder("./").mode(0o700).owner(7, 7).xattr("user.root", b"1"))
        .entry(&file("base"))
        .entry(&folder("twice").xattr("user.first", b"1"))
        .entry(&folder("twice").mode(0o700).xattr("user.second", b"2"))
        .entry(&folder("replaced").xattr("user.below", b"1"))
        .entry(&folder("shared").mode(0o2775).owner(0, 50))
        .entry(&file("shared/without/entry"))
        .entry(&file("gone/file"))
        .entry(&file("gone/kept"));
    let upper = Archive::new()
        // AUFS kept hard links in a folder of its own.
        .file(".wh..wh.aufs", b"")
        .entry(&folder(".wh..wh.orph").mode(0o700))
        .entry(&folder(".wh..wh.plnk").mode(0o700))
        .entry(&file(".wh..wh.plnk/187.10").mode(0o755))
        .entry(&folder("usr"))
        .entry(&hard_link("usr/perl", ".wh..wh.plnk/187.10").mode(0o755))
        .entry(&hard_link("usr/perl5", "/.wh..wh.plnk/187.10").mode(0o755))
        // A hard link's own header counts.
        .entry(&file("first").mode(0o4755).owner(1, 1).xattr("user.first", b"1"))
        .entry(
            &hard_link("second", "first").mode(0o600).owner(9, 9).mtime(5, 0).xattr("user.b", b"2"),
        )
        // Attributes without a value, and those that are not set.
        .entry(&file("empty").xattr("user.empty", b"").xattr("trusted.a", b"1"))
        .entry(
            &Entry::new("link", Kind::Symlink("empty".to_owned()))
                .xattr("user.no", b"1")
                .xattr("security.yes", b"1"),
        )
        .entry(&file("before-1970").mtime(-100, 0))
        .entry(&file("after-2262").mtime(10_000_000_000, 0))
        .whiteout("gone/file");
    [lower, upper]
        .map(|archive| Layer { tar: archive.finish(), compression: Compression::Gzip })
        .to_vec()
}

#[test]
fn an_accelerated_image_holds_what_nodes_make_of_odd_layers() {
    let scratch = tempfile::tempdir().expect("a folder");
    let mut layout = Layout::create(&scratch.path().join("source"));
    layout.add_tagged("odd", &Image::new(layers()));
    let built = scratch.path().join("built");
    let (source, target) = (skopeo::local(layout.folder(), "odd"), skopeo::local(&built, "odd"));
    run(berth().args([
        "convert",
        "--format",
        "overlaybd",
        "--input",
        &source,
        "--output",
        &target,
    ]));
    let actual = judge::mount(&built, "odd", scratch.path());
    for snapshotter in ["overlayfs", "native"] {
        let expected = OnNode::unpack(layout.folder(), snapshotter);
        judge::assert_same_tree_as_on_node(&expected, actual.path());
    }
    run(berth().args(["verify", "--source", &source, "--target", &target]));
}
