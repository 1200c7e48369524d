//! Records of extended headers (POSIX pax): `LENGTH KEY=VALUE`, each with a line's end.

use super::data::Piece;
use crate::layer::Timestamp;
use crate::overlaybd::OverlayError;

/// In the order of the header; of records of one key the last counts.
#[derive(Debug, Default)]
pub(super) struct Records(Vec<(Vec<u8>, Vec<u8>)>);

impl Records {
    pub(super) fn parse(mut body: &[u8]) -> Result<Self, OverlayError> {
        let broken = || OverlayError::invalid("source layer", "a broken extended header");
        let mut records = Vec::new();
        while !body.is_empty() {
            let space = body.iter().position(|byte| *byte == b' ').ok_or_else(broken)?;
            let length = std::str::from_utf8(&body[..space]).ok();
            let length: usize = length.and_then(|text| text.parse().ok()).ok_or_else(broken)?;
            if length < space + 3 || length > body.len() {
                return Err(broken());
            }
            let (record, rest) = body.split_at(length);
            let record = record.get(space + 1..length - 1).ok_or_else(broken)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(broken)?;
            let (key, value) = record.split_at(equals);
            records.push((key.to_vec(), value.get(1..).unwrap_or_default().to_vec()));
            body = rest;
        }
        Ok(Self(records))
    }

    /// A value that says something.
    pub(super) fn text(&self, key: &[u8]) -> Option<Vec<u8>> {
        let found = self.0.iter().rev().find(|(known, _)| known == key);
        found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
    }

    pub(super) fn number(&self, key: &[u8]) -> Option<i64> {
        String::from_utf8(self.text(key)?).ok()?.parse().ok()
    }

    /// The time of `mtime`: seconds, perhaps with a fraction.
    pub(super) fn time(&self) -> Option<Timestamp> {
        let text = String::from_utf8(self.text(b"mtime")?).ok()?;
        if text.starts_with('-') {
            return Some(Timestamp { secs: -1, nanos: 0 });
        }
        let (seconds, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
        Some(Timestamp { secs: seconds.parse().ok()?, nanos: digits.parse().ok()? })
    }

    /// Extended attributes that may be set, the last of each name.
    pub(super) fn xattrs(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for (key, value) in &self.0 {
            let Some(name) = key.strip_prefix(b"SCHILY.xattr.") else { continue };
            let known = name.starts_with(b"user.")
                || name.starts_with(b"security.")
                || name == b"system.posix_acl_access"
                || name == b"system.posix_acl_default";
            if known && !name.ends_with(b".") {
                found.retain(|(other, _)| other != name);
                found.push((name.to_vec(), value.clone()));
            }
        }
        found
    }

    /// The size with holes of a sparse file.
    pub(super) fn real_size(&self) -> Option<u64> {
        let sparse = self.0.iter().any(|(key, _)| key.starts_with(b"GNU.sparse."));
        let size = self.number(b"GNU.sparse.realsize").or(self.number(b"GNU.sparse.size"));
        size.filter(|_| sparse).and_then(|size| u64::try_from(size).ok())
    }

    /// The pieces of formats 0.0 and 0.1.
    pub(super) fn pieces(&self) -> Vec<Piece> {
        let mut numbers = Vec::new();
        for (key, value) in &self.0 {
            let text = String::from_utf8_lossy(value);
            match key.as_slice() {
                b"GNU.sparse.map" => numbers.extend(text.split(',').flat_map(str::parse::<u64>)),
                b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                    numbers.extend(text.parse::<u64>());
                }
                _ => {}
            }
        }
        let piece = |pair: &[u64]| Some(Piece { at: *pair.first()?, len: *pair.last()? });
        numbers.chunks_exact(2).filter_map(piece).collect()
    }
}
