//! An image of everything that breaks converters: every kind of entry, each of them kept, overwritten,
//! deleted and replaced by every other kind in a later layer, and the corners of tar and whiteouts.

use super::archive::{Archive, Entry, Kind};
use super::compress::Compression;
use super::layout::{Image, Layer};

/// Directories of the image that no layer has an entry for. Unpackers make them, and each gives them
/// the time at which it does, so their mtime is nobody's to say.
pub const IMPLICIT_DIRECTORIES: &[&str] =
    &["implicit", "implicit/a", "implicit/a/b", "implicit/upper"];

/// The kinds that are exchanged for each other, by name.
const KINDS: &[&str] = &[
    "file",
    "empty",
    "large",
    "directory",
    "symlink",
    "longlink",
    "hardlink",
    "char",
    "block",
    "fifo",
    "sparse",
    "xattrs",
];

/// The image, its three layers stored in three ways: several gzip members, zstd and plain.
#[must_use]
pub fn image() -> Image {
    let ways = [Compression::GzipMembers(5), Compression::Zstd, Compression::None];
    stored(&ways)
}

/// The same layers, none of them compressed: for tools that do not know every compression.
#[must_use]
pub fn plain_image() -> Image {
    stored(&[Compression::None; 3])
}

fn stored(ways: &[Compression; 3]) -> Image {
    let tars = [base(), changes(), corners()];
    let layers = tars.into_iter().zip(ways);
    Image::new(layers.map(|(tar, &compression)| Layer { tar, compression }).collect())
}

/// One variant (0 or 1) of a kind at `path`. A hard link is preceded by nothing: its target `linked/…`
/// is made by the first layer.
fn entry(kind: &str, path: &str, variant: u64) -> Vec<Entry> {
    let seed = path.bytes().fold(variant, |seed, byte| (seed * 31 + u64::from(byte)) % (1 << 40));
    let (major, minor) = if variant == 0 { (1, 3) } else { (259, 70_000) };
    let made = match kind {
        "file" => Kind::File(text(seed, 700)),
        "empty" => Kind::File(Vec::new()),
        "large" => Kind::File([noise(seed, 300_000), text(seed, 200_001)].concat()),
        "directory" => Kind::Directory,
        "symlink" => Kind::Symlink(format!("../target-{variant}")),
        "longlink" => Kind::Symlink(format!("/{}/target-{variant}", "x".repeat(180))),
        "hardlink" => Kind::HardLink(format!("linked/target-{variant}")),
        "char" => Kind::CharDevice(major, minor),
        "block" => Kind::BlockDevice(major, minor),
        "fifo" => Kind::Fifo,
        "sparse" => Kind::Sparse {
            size: 3 * 1024 * 1024 + 123 + variant,
            pieces: vec![
                (40_960, text(seed, 5_000)),
                (1_048_577, text(seed + 1, 4_096)),
                (3 * 1024 * 1024, text(seed + 2, 100)),
            ],
        },
        _ => Kind::File(text(seed, 90)),
    };
    // A hard link carries its target's metadata; what its own header says is unpacked differently.
    let mut main = Entry::new(path, made);
    if kind == "hardlink" {
        return vec![main.mode(0o640).owner(7, 8)];
    }
    main = main.mtime(1_600_000_000 + (seed % 100_000) as i64, (seed % 1_000_000_000) as u32);
    main = main.owner(1000 + variant, 100_000 + variant);
    if kind == "xattrs" {
        main = main.xattr("user.note", format!("variant {variant}").as_bytes());
        main = main.xattr("user.large", &vec![b'v'; 2_000 + variant as usize]);
        main = main.xattr("security.capability", &CAPABILITY).xattr("user.empty", b"");
    }
    if kind == "directory" {
        let child = Entry::new(&format!("{path}/child-{variant}"), Kind::File(text(seed, 50)));
        let nested = Entry::new(&format!("{path}/nested"), Kind::Directory).mode(0o700);
        let deep = Entry::new(&format!("{path}/nested/deep"), Kind::Symlink("..".to_owned()));
        return vec![main.mode(0o2750), child, nested, deep];
    }
    vec![main]
}

/// `cap_net_raw+ep`, revision 2 (linux/capability.h, `vfs_cap_data`).
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// An access control list as the kernel's xattr calls have it: version 2, then tag, permissions, id.
fn acl(user_permissions: u16) -> Vec<u8> {
    let none = u32::MAX;
    let entries: [(u16, u16, u32); 5] =
        [(1, 7, none), (2, user_permissions, 1234), (4, 5, none), (16, 5, none), (32, 5, none)];
    let fields = entries.into_iter().flat_map(|(tag, permissions, id)| {
        [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
    });
    2_u32.to_le_bytes().into_iter().chain(fields).collect()
}

/// The first layer: every kind, for every fate that it will meet.
fn base() -> Vec<u8> {
    let mut archive = Archive::new().directory("linked");
    for variant in 0..2 {
        let path = format!("linked/target-{variant}");
        archive = archive
            .entry(&Entry::new(&path, Kind::File(text(variant, 333))).mode(0o640).owner(7, 8));
    }
    for fate in ["keep", "same", "gone", "again", "swap"] {
        archive = archive.directory(fate);
    }
    for kind in KINDS {
        for fate in ["keep", "same", "gone", "again"] {
            archive = add(archive, &entry(kind, &format!("{fate}/{kind}"), 0));
        }
        for other in KINDS.iter().filter(|other| *other != kind) {
            archive = add(archive, &entry(kind, &format!("swap/{kind}-{other}"), 0));
        }
    }
    archive =
        archive.directory("opaque").file("opaque/a", b"lower a\n").file("opaque/b", b"lower b\n");
    archive = archive.directory("opaque/inner").file("opaque/inner/c", b"lower c\n");
    archive = archive.directory("late").file("late/a", b"lower a\n");
    archive = archive.directory("wholly").directory("wholly/gone").file("wholly/gone/x", b"x");
    archive = archive.directory("real").file("real/below", b"below the link\n");
    archive = archive.entry(&Entry::new("link", Kind::Symlink("real".to_owned())));
    archive = archive.entry(&Entry::new("absolute", Kind::Symlink("/real".to_owned())));
    archive = archive.file("implicit/a/b/file", b"its folders have no entries\n");
    archive = archive.directory("pairs").file("pairs/one", b"one content\n");
    for (path, target) in [("pairs/two", "pairs/one"), ("pairs/three", "pairs/two")] {
        archive = archive.entry(&Entry::new(path, Kind::HardLink(target.to_owned())));
    }
    for (name, kind) in [("pipe", Kind::Fifo), ("device", Kind::CharDevice(5, 1))] {
        let path = format!("pairs/{name}");
        archive = archive.entry(&Entry::new(&path, kind));
        archive = archive.entry(&Entry::new(&format!("{path}-2"), Kind::HardLink(path)));
    }
    names_and_numbers(archive).finish()
}

/// Long names, large numbers, odd times, modes and attributes.
fn names_and_numbers(mut archive: Archive) -> Archive {
    archive = archive.directory("names");
    let longest = "n".repeat(255);
    let deep = format!("names/{}", ["p".repeat(200), "q".repeat(200), "r".repeat(200)].join("/"));
    archive = archive.file(&format!("names/{longest}"), b"longest name");
    archive =
        archive.entry(&Entry::new(&format!("names/g{}", "g".repeat(200)), file(b"GNU name")).gnu());
    let gnu_link = Entry::new("names/gnu-link", Kind::Symlink("t".repeat(150))).gnu();
    archive = archive.entry(&gnu_link).file("names/grüße-日本", b"beyond ASCII\n");
    for (end, _) in deep.match_indices('/').skip(1) {
        archive = archive.directory(&deep[..end]);
    }
    archive = archive.directory(&deep).file(&format!("{deep}/file"), b"deep\n");
    archive = archive.directory("many");
    for number in 0..3_000 {
        archive = archive.file(&format!("many/entry-with-a-longish-name-{number:05}"), b"");
    }
    let owners = Entry::new("numbers-pax", file(b"x")).owner(3_000_000, 4_000_000_000);
    let gnu_owners = Entry::new("numbers-gnu", file(b"x")).owner(3_000_000, 4_000_000_000).gnu();
    archive = archive.entry(&owners).entry(&gnu_owners);
    for (name, seconds, nanoseconds) in
        [("old", -100, 0), ("older", -2_000_000_000, 250_000_000), ("far", 5_000_000_000, 1)]
    {
        archive = archive
            .entry(&Entry::new(&format!("time-{name}"), file(b"t")).mtime(seconds, nanoseconds));
    }
    for (name, mode) in [("suid", 0o4755), ("sgid", 0o2755), ("both", 0o6711), ("none", 0)] {
        archive = archive.entry(&Entry::new(&format!("mode-{name}"), file(b"m")).mode(mode));
    }
    archive = archive.entry(&Entry::new("sticky", Kind::Directory).mode(0o1777));
    archive = archive.entry(
        &Entry::new("acl-file", file(b"acl")).mode(0o755).xattr("system.posix_acl_access", &acl(4)),
    );
    archive.entry(
        &Entry::new("acl-directory", Kind::Directory)
            .mode(0o755)
            .xattr("system.posix_acl_access", &acl(5))
            .xattr("system.posix_acl_default", &acl(7)),
    )
}

/// The second layer: overwrites, deletes, and exchanges each kind for each other.
fn changes() -> Vec<u8> {
    let mut archive = Archive::new();
    for kind in KINDS {
        archive = add(archive, &entry(kind, &format!("same/{kind}"), 1));
        archive = archive.whiteout(&format!("gone/{kind}")).whiteout(&format!("again/{kind}"));
        for other in KINDS.iter().filter(|other| *other != kind) {
            archive = add(archive, &entry(other, &format!("swap/{kind}-{other}"), 1));
        }
    }
    // What an opaque marker hides are the layers below, wherever it stands among its siblings.
    archive = archive.entry(&Entry::new("opaque", Kind::Directory).mode(0o711)).opaque("opaque");
    archive = archive.file("opaque/new", b"upper\n");
    archive = archive.directory("late").file("late/b", b"upper b\n").opaque("late");
    archive = archive.whiteout("wholly/gone");
    // One name of three gets new content: the others keep the old.
    archive.file("pairs/one", b"new content of one name\n").finish()
}

/// The third layer: what depends on both layers below.
fn corners() -> Vec<u8> {
    let mut archive = Archive::new();
    for kind in KINDS {
        archive = add(archive, &entry(kind, &format!("again/{kind}"), 1));
    }
    archive =
        archive.entry(&Entry::new("keep", Kind::Directory).mode(0o700).owner(42, 42).mtime(1, 0));
    archive = archive.entry(&Entry::new("from-below", Kind::HardLink("keep/file".to_owned())));
    archive =
        archive.file("link/through", b"through a link\n").file("absolute/through-2", b"also\n");
    archive = archive.whiteout("pairs/two").whiteout("many/entry-with-a-longish-name-00007");
    archive = archive.file("implicit/upper/file", b"implicit in an upper layer\n");
    archive =
        archive.directory("wholly/gone").file("wholly/gone/y", b"a new folder of the old name\n");
    archive = archive.file("twice", b"first").file("twice", b"second, and longer");
    let name = |number| format!("many/second-batch-{number:04}");
    (0..200).fold(archive, |archive, number| archive.file(&name(number), b"2")).finish()
}

fn add(archive: Archive, entries: &[Entry]) -> Archive {
    entries.iter().fold(archive, Archive::entry)
}

fn file(content: &[u8]) -> Kind {
    Kind::File(content.to_vec())
}

/// Compressible bytes.
fn text(seed: u64, length: usize) -> Vec<u8> {
    let line = format!("line of a file with seed {seed}\n");
    line.into_bytes().into_iter().cycle().take(length).collect()
}

/// Bytes that do not compress (a linear congruential generator, Knuth's MMIX constants).
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let next = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}
