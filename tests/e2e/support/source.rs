//! Images to start from.

use berth_testkit::image::{Archive, Compression, Descriptor, Entry, Image, Kind, Layer, Layout};
use std::io::Read;
use std::path::Path;

/// An image as real ones are: a Debian root file system below a tree of installed Python packages,
/// both gzip-compressed. Written into `folder` under the tag `real`.
///
/// # Panics
/// When `cargo xtask test` has not prepared its parts.
#[must_use]
pub fn real_image(folder: &Path) -> (Layout, Descriptor) {
    let layer = |name: &str| {
        let path = berth_testkit::required_path(name);
        let tar =
            std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Layer { tar, compression: Compression::Gzip }
    };
    let mut image = Image::new(vec![layer("BERTH_TEST_ROOTFS"), layer("BERTH_TEST_PYTHON_TREE")]);
    image.command = vec!["/bin/sh".to_owned()];
    let mut layout = Layout::create(folder);
    let descriptor = layout.add_tagged("real", &image);
    (layout, descriptor)
}

/// A program that needs nothing around it and prints its version: an image for engines to run.
///
/// # Panics
/// When `cargo xtask test` has not prepared it.
#[must_use]
pub fn runnable_image() -> Image {
    let program = std::fs::read(berth_testkit::required_path("BERTH_TEST_CRANE"))
        .unwrap_or_else(|error| panic!("crane: {error}"));
    let tar = Archive::new().entry(&Entry::new("crane", Kind::File(program)).mode(0o755)).finish();
    let mut image = Image::new(vec![Layer { tar, compression: Compression::Gzip }]);
    image.command = vec!["/crane".to_owned(), "version".to_owned()];
    image
}

/// So many random bytes.
///
/// # Panics
/// When the kernel gives none.
#[must_use]
pub fn random_bytes(count: usize) -> Vec<u8> {
    let mut random = std::fs::File::open("/dev/urandom").expect("the kernel has random bytes");
    let mut bytes = vec![0; count];
    random.read_exact(&mut bytes).expect("random bytes do not end");
    bytes
}

/// A layer of `megabytes` of random bytes in files of one megabyte: nothing that a codec or a cache
/// could shorten.
///
/// # Panics
/// When the kernel gives no random bytes.
#[must_use]
pub fn random_layer(megabytes: usize, compression: Compression) -> Layer {
    let mut random = std::fs::File::open("/dev/urandom").expect("the kernel has random bytes");
    let mut content = vec![0; 1 << 20];
    let mut archive = Archive::new().directory("random");
    for number in 0..megabytes {
        random.read_exact(&mut content).expect("random bytes do not end");
        archive = archive.file(&format!("random/file-{number}"), &content);
    }
    Layer { tar: archive.finish(), compression }
}
