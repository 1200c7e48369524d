//! Access control lists: ext4 stores a shorter form than the system calls show.

use crate::fields::Fields;

const STORED_VERSION: u32 = 1;
const SYSTEM_VERSION: u32 = 2;
const NO_ID: u32 = u32::MAX;

/// Entries of these tags (owner, owning group, mask, others) have no id.
const WITHOUT_ID: [u16; 4] = [0x01, 0x04, 0x10, 0x20];
/// Entries of these tags (a user, a group) have one.
const WITH_ID: [u16; 2] = [0x02, 0x08];

/// The stored form as system calls show it; `None` when it is broken.
pub(super) fn to_system_call(stored: &[u8]) -> Option<Vec<u8>> {
    let (version, mut rest) = stored.split_at_checked(4)?;
    if Fields(version).u32(0) != STORED_VERSION {
        return None;
    }
    let mut out = SYSTEM_VERSION.to_le_bytes().to_vec();
    while !rest.is_empty() {
        let fields = Fields(rest);
        let tag = fields.u16(0);
        let (len, id) = if WITHOUT_ID.contains(&tag) {
            (4, NO_ID)
        } else if WITH_ID.contains(&tag) {
            (8, fields.u32(4))
        } else {
            return None;
        };
        let (entry, later) = rest.split_at_checked(len)?;
        out.extend_from_slice(entry.get(..4)?);
        out.extend_from_slice(&id.to_le_bytes());
        rest = later;
    }
    Some(out)
}
