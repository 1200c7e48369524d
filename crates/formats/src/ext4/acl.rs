//! POSIX access control lists: from the form of the system calls to the form on disk.
//!
//! Both hold a version and entries of tag, permissions and, for named users and groups, an id.
//! The system calls give version 2 with 8 bytes for every entry; on disk version 1 leaves the id
//! out where it means nothing.

const CALL_VERSION: u32 = 2;
const DISK_VERSION: u32 = 1;
const CALL_ENTRY: usize = 8;
const TAG_USER: u16 = 0x02;
const TAG_GROUP: u16 = 0x08;
/// Owner, owning group, mask, others.
const TAGS_WITHOUT_ID: [u16; 4] = [0x01, 0x04, 0x10, 0x20];

/// The attribute's value on disk, or `None` when `value` is not a list.
pub(super) fn to_disk(value: &[u8]) -> Option<Vec<u8>> {
    let (version, entries) = value.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != CALL_VERSION || entries.len() % CALL_ENTRY != 0 {
        return None;
    }
    let mut disk = DISK_VERSION.to_le_bytes().to_vec();
    for entry in entries.chunks_exact(CALL_ENTRY) {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        match tag {
            TAG_USER | TAG_GROUP => disk.extend_from_slice(entry),
            _ if TAGS_WITHOUT_ID.contains(&tag) => disk.extend_from_slice(&entry[..4]),
            _ => return None,
        }
    }
    Some(disk)
}

#[cfg(test)]
mod tests {
    use super::to_disk;

    #[test]
    fn ids_stay_with_named_entries_only() {
        let call = [
            &2u32.to_le_bytes()[..],
            &[1, 0, 7, 0, 0xff, 0xff, 0xff, 0xff],
            &[2, 0, 6, 0, 0xe8, 3, 0, 0],
            &[4, 0, 5, 0, 0xff, 0xff, 0xff, 0xff],
            &[16, 0, 7, 0, 0xff, 0xff, 0xff, 0xff],
            &[32, 0, 4, 0, 0xff, 0xff, 0xff, 0xff],
        ]
        .concat();
        let disk = [
            &1u32.to_le_bytes()[..],
            &[1, 0, 7, 0],
            &[2, 0, 6, 0, 0xe8, 3, 0, 0],
            &[4, 0, 5, 0],
            &[16, 0, 7, 0],
            &[32, 0, 4, 0],
        ]
        .concat();
        assert_eq!(to_disk(&call), Some(disk));
        assert_eq!(to_disk(&call[..9]), None);
        assert_eq!(to_disk(b"\x01\0\0\0"), None);
    }
}
