//! PAX extended header records.

use super::SparseRegion;
use super::number;
use crate::layer::Timestamp;

const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";
const SPARSE_PREFIX: &[u8] = b"GNU.sparse.";
/// Limits of the kernel's attribute calls.
const MAX_XATTR_NAME: usize = 255;
const MAX_XATTR_VALUE: usize = 65_536;
const MAX_REGIONS: usize = 1 << 20;

/// What is wrong with an extended header.
#[derive(Debug, thiserror::Error)]
pub(super) enum PaxError {
    #[error("an extended header is malformed")]
    Malformed,
    /// With the key of the record.
    #[error("bad extended header record {0:?}")]
    Record(String),
}

/// What extended headers say about the entry that follows.
#[derive(Clone, Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link_path: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<i64>,
    pub(super) gid: Option<i64>,
    pub(super) mtime: Option<Timestamp>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: PaxSparse,
}

/// What they say about holes.
#[derive(Clone, Debug, Default)]
pub(super) struct PaxSparse {
    /// Any record of the family was seen.
    pub(super) seen: bool,
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    /// `GNU.sparse.size` or `GNU.sparse.realsize`.
    pub(super) real_size: Option<u64>,
    pub(super) regions: Vec<SparseRegion>,
    pending_offset: Option<u64>,
}

impl Pax {
    /// Parses the body of a local extended header.
    pub(super) fn parse(body: &[u8]) -> Result<Self, PaxError> {
        let mut pax = Self::default();
        pax.extend(body)?;
        Ok(pax)
    }

    fn extend(&mut self, mut body: &[u8]) -> Result<(), PaxError> {
        while !body.is_empty() {
            let (key, value, rest) = next_record(body).ok_or(PaxError::Malformed)?;
            body = rest;
            self.record(key, value).ok_or_else(|| PaxError::Record(printable(key)))?;
        }
        Ok(())
    }

    /// `None` when the value is not acceptable. An empty value takes an earlier record back.
    fn record(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let empty = value.is_empty();
        match key {
            b"path" => self.path = name(value)?,
            b"linkpath" => self.link_path = name(value)?,
            b"size" => self.size = if empty { None } else { Some(number::decimal(value)?) },
            b"uid" => self.uid = if empty { None } else { Some(number::signed_decimal(value)?) },
            b"gid" => self.gid = if empty { None } else { Some(number::signed_decimal(value)?) },
            b"mtime" => self.mtime = if empty { None } else { Some(number::pax_time(value)?) },
            _ => {
                if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
                    if name.is_empty() || name.len() > MAX_XATTR_NAME || name.contains(&0) {
                        return None;
                    }
                    if value.len() > MAX_XATTR_VALUE {
                        return None;
                    }
                    self.set_xattr(name, value);
                } else if let Some(key) = key.strip_prefix(SPARSE_PREFIX) {
                    self.sparse.record(key, value)?;
                }
            }
        }
        Some(())
    }

    /// An attribute may have an empty value: it says as much by being there. Attributes of name spaces
    /// that Linux file systems do not have are left out, as every unpacker does.
    fn set_xattr(&mut self, name: &[u8], value: &[u8]) {
        self.xattrs.retain(|(known, _)| known != name);
        if is_linux_xattr(name) {
            self.xattrs.push((name.to_vec(), value.to_vec()));
        }
    }
}

/// Whether ext4 can hold an attribute of this name. Archives made on other systems carry more, such
/// as `com.apple.provenance`.
fn is_linux_xattr(name: &[u8]) -> bool {
    let name_spaces: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
    let access_lists: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];
    access_lists.contains(&name)
        || name_spaces.iter().any(|space| name.len() > space.len() && name.starts_with(space))
}

impl PaxSparse {
    fn record(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        self.seen = true;
        match key {
            b"major" => self.major = Some(number::decimal(value)?),
            b"minor" => self.minor = Some(number::decimal(value)?),
            b"name" => self.name = name(value)?,
            b"size" | b"realsize" => self.real_size = Some(number::decimal(value)?),
            b"offset" => self.pending_offset = Some(number::decimal(value)?),
            b"numbytes" => {
                let offset = self.pending_offset.take()?;
                self.regions.push(SparseRegion { offset, len: number::decimal(value)? });
            }
            b"map" => {
                let numbers: Option<Vec<u64>> =
                    value.split(|byte| *byte == b',').map(number::decimal).collect();
                let numbers = if value.is_empty() { Vec::new() } else { numbers? };
                if numbers.len() % 2 != 0 {
                    return None;
                }
                self.regions.extend(
                    numbers.chunks(2).map(|pair| SparseRegion { offset: pair[0], len: pair[1] }),
                );
            }
            _ => {}
        }
        (self.regions.len() <= MAX_REGIONS).then_some(())
    }
}

fn name(value: &[u8]) -> Option<Option<Vec<u8>>> {
    if value.contains(&0) {
        return None;
    }
    Some((!value.is_empty()).then(|| value.to_vec()))
}

/// Splits `"<length> <key>=<value>\n"` off; the length counts the whole record.
fn next_record(body: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = body.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(number::decimal(body.get(..space)?)?).ok()?;
    let record = body.get(space + 1..length)?;
    let rest = body.get(length..)?;
    let record = record.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let (key, value) = record.split_at(equals);
    if key.is_empty() || key.contains(&0) {
        return None;
    }
    Some((key, value.get(1..)?, rest))
}

fn printable(bytes: &[u8]) -> String {
    let shown = bytes.get(..80).unwrap_or(bytes);
    String::from_utf8_lossy(shown).into_owned()
}

#[cfg(test)]
mod tests {
    use super::Pax;

    #[test]
    fn attributes_that_nobody_would_set_are_left_out() {
        let record = |text: &str| {
            let line = format!(" SCHILY.xattr.{text}\n");
            let digits = if line.len() + 2 > 99 { 3 } else { 2 };
            format!("{}{line}", line.len() + digits)
        };
        let records = ["user.a=1", "user.b=", "com.apple.provenance=x", "security.capability=c"];
        let text: String = records.into_iter().map(record).collect();
        let pax = Pax::parse(text.as_bytes()).expect("parse");
        let names: Vec<&[u8]> = pax.xattrs.iter().map(|(name, _)| name.as_slice()).collect();
        assert_eq!(names, [b"user.a".as_slice(), b"user.b", b"security.capability"]);
    }

    #[test]
    fn records_may_hold_any_bytes() {
        let pax = Pax::parse(b"11 uid=123\n28 SCHILY.xattr.user.a=\0\n=\x01\n").expect("parse");
        assert_eq!(pax.uid, Some(123));
        assert_eq!(pax.xattrs, vec![(b"user.a".to_vec(), b"\0\n=\x01".to_vec())]);
    }

    #[test]
    fn lengths_must_fit() {
        assert!(Pax::parse(b"12 uid=123\n").is_err());
        assert!(Pax::parse(b"10 uid=123\n").is_err());
        assert!(Pax::parse(b"5 =1\n").is_err());
        assert!(Pax::parse(b"11 uid=12x\n").is_err());
        assert!(Pax::parse(b"99999999999999999999 uid=1\n").is_err());
    }
}
