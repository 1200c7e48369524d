//! What becomes of an entry's metadata when containerd 2.x unpacks it (`docs/unpacking.md`).

use crate::layer::{EntryKind, Metadata, Timestamp};

/// The last moment that containerd sets: 2262-04-11, where nanoseconds leave 64 bits.
const LAST: Timestamp = Timestamp { secs: 9_223_372_036, nanos: 854_775_807 };

const ACCESS_LIST: &[u8] = b"system.posix_acl_access";
const DEFAULT_LIST: &[u8] = b"system.posix_acl_default";

/// The metadata that the file has in the end.
pub(crate) fn metadata<F>(kind: &EntryKind<F>, mut metadata: Metadata) -> Metadata {
    metadata.mtime = time(metadata.mtime);
    metadata.xattrs.retain(|(name, value)| is_set(kind, name, value));
    metadata
}

/// Times before 1970 and after [`LAST`] become the first moment of 1970.
fn time(time: Timestamp) -> Timestamp {
    let first = Timestamp::default();
    if time < first || time > LAST { first } else { time }
}

/// Whether the attribute ends up on the file. What the kernel refuses to a kind of file is passed over
/// there, and attributes of administrators are not taken from archives. Of a hard link the target
/// decides, which is not known here.
fn is_set<F>(kind: &EntryKind<F>, name: &[u8], value: &[u8]) -> bool {
    if name.starts_with(b"trusted.") {
        return false;
    }
    if name.starts_with(b"user.") {
        return matches!(kind, EntryKind::File(_) | EntryKind::Directory | EntryKind::HardLink(_));
    }
    // An empty list of rights takes the list away.
    match kind {
        EntryKind::Symlink(_) => name != ACCESS_LIST && name != DEFAULT_LIST,
        EntryKind::Directory => (name != ACCESS_LIST && name != DEFAULT_LIST) || !value.is_empty(),
        _ => name != DEFAULT_LIST && (name != ACCESS_LIST || !value.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::metadata;
    use crate::layer::{EntryKind, Metadata, Timestamp};

    #[test]
    fn times_that_cannot_be_set_become_the_first() {
        let at = |secs, nanos| {
            let given = Metadata { mtime: Timestamp { secs, nanos }, ..Metadata::default() };
            metadata(&EntryKind::File(()), given).mtime
        };
        assert_eq!(at(-1, 999_999_999), Timestamp::default());
        assert_eq!(at(0, 1), Timestamp { secs: 0, nanos: 1 });
        assert_eq!(at(9_223_372_036, 854_775_807).secs, 9_223_372_036);
        assert_eq!(at(9_223_372_036, 854_775_808), Timestamp::default());
    }

    #[test]
    fn attributes_that_a_file_cannot_have_are_passed_over() {
        let names = ["user.a", "trusted.b", "security.c", "system.posix_acl_access"];
        let kept = |kind: EntryKind<()>, value: &[u8]| {
            let xattrs = names.map(|name| (name.as_bytes().to_vec(), value.to_vec())).to_vec();
            let found = metadata(&kind, Metadata { xattrs, ..Metadata::default() }).xattrs;
            let names = found.into_iter().map(|(name, _)| String::from_utf8(name).expect("text"));
            names.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(kept(EntryKind::File(()), b"x"), "user.a security.c system.posix_acl_access");
        assert_eq!(kept(EntryKind::File(()), b""), "user.a security.c");
        assert_eq!(kept(EntryKind::Symlink(Vec::new()), b"x"), "security.c");
        assert_eq!(kept(EntryKind::Fifo, b"x"), "security.c system.posix_acl_access");
    }
}
