//! The tar around a blob: one pax record with the size, one member `overlaybd.commit`.
//!
//! Three blocks come before the blob. The member's own size field is 0, so that blobs above
//! 8 GiB look like all others; its size is in the pax record alone.

use super::OverlayError;
use crate::fields::{Fields, put};
use crate::read_at::ReadAt;

/// Bytes before the blob.
pub const HEAD_SIZE: u64 = 1536;

const BLOCK: usize = 512;
const HEAD_LEN: usize = 3 * BLOCK;
/// Zero blocks that end an archive.
const END: u64 = 1024;

const PAX_NAME: &[u8] = b"overlaybd.pax";
/// The name under which an unpacked layer is recognised.
const MEMBER_NAME: &[u8] = b"overlaybd.commit";

/// What keeps the place of [`head`] until the size is known.
pub(crate) fn placeholder() -> [u8; HEAD_LEN] {
    [0; HEAD_LEN]
}

/// The blocks before a blob of `size` bytes.
pub fn head(size: u64) -> [u8; HEAD_LEN] {
    let record = pax_record(size);
    let mut pax = [0; BLOCK];
    put(&mut pax, 0, PAX_NAME);
    put(&mut pax, 124, format!("{:>11o} ", record.len()).as_bytes());
    put(&mut pax, 156, b"x");
    put(&mut pax, 257, b"ustar\x0000");
    seal(&mut pax);

    let mut member = [0; BLOCK];
    put(&mut member, 0, MEMBER_NAME);
    put(&mut member, 100, b"100644 \0");
    put(&mut member, 108, b"     0 \0");
    put(&mut member, 116, b"     0 \0");
    put(&mut member, 124, b"          0 ");
    put(&mut member, 136, b"          0 ");
    put(&mut member, 156, b"0");
    put(&mut member, 257, b"ustar\x0000");
    put(&mut member, 265, b"root");
    put(&mut member, 297, b"root");
    seal(&mut member);

    let mut out = placeholder();
    put(&mut out, 0, &pax);
    put(&mut out, BLOCK, record.as_bytes());
    put(&mut out, 2 * BLOCK, &member);
    out
}

/// The bytes after a blob of `size` bytes.
pub fn tail(size: u64) -> Vec<u8> {
    let padding = size.next_multiple_of(BLOCK as u64) - size;
    vec![0; usize::try_from(padding + END).unwrap_or_default()]
}

/// The blob inside of `file`: its position and length. The whole file when it is not wrapped.
///
/// # Errors
/// [`OverlayError::Invalid`] when the wrapped size does not fit the file, [`OverlayError::Io`].
pub fn locate(file: &impl ReadAt) -> Result<(u64, u64), OverlayError> {
    let mut bytes = [0; HEAD_LEN];
    let whole = (0, file.len());
    let take = usize::try_from(file.len()).unwrap_or(HEAD_LEN).min(HEAD_LEN);
    file.read_at(bytes.get_mut(..take).unwrap_or_default(), 0)?;
    let first = Fields(bytes.get(..BLOCK).unwrap_or_default());
    if !is_header(first) {
        return Ok(whole);
    }
    let (offset, size) = if first.u8(156) == b'x' {
        let record_len = octal(first.bytes(124, 12));
        let len = record_len.and_then(|len| usize::try_from(len).ok()).filter(|len| *len <= BLOCK);
        let len = len.ok_or_else(|| invalid("the pax record does not fit one block"))?;
        let pax_size = size_of(Fields(&bytes).bytes(BLOCK, len));
        let member = Fields(bytes.get(2 * BLOCK..).unwrap_or_default());
        if !is_header(member) {
            return Err(invalid("the pax record is not followed by a member"));
        }
        (HEAD_SIZE, pax_size.filter(|size| *size > 0).or_else(|| octal(member.bytes(124, 12))))
    } else {
        (BLOCK as u64, octal(first.bytes(124, 12)))
    };
    let size = size.ok_or_else(|| invalid("the size of the member is not a number"))?;
    if offset.checked_add(size).is_none_or(|end| end > file.len()) {
        return Err(invalid("the member is longer than the file"));
    }
    Ok((offset, size))
}

fn invalid(reason: &str) -> OverlayError {
    OverlayError::invalid("tar wrapping", reason)
}

/// `"<length of the record> size=<size>\n"`, the length counting itself.
fn pax_record(size: u64) -> String {
    let body = format!(" size={size}\n");
    let mut len = body.len() + 1;
    while len != body.len() + len.to_string().len() {
        len = body.len() + len.to_string().len();
    }
    format!("{len}{body}")
}

/// The value of the `size` record.
fn size_of(mut records: &[u8]) -> Option<u64> {
    while !records.is_empty() {
        let space = records.iter().position(|byte| *byte == b' ')?;
        let len: usize = std::str::from_utf8(records.get(..space)?).ok()?.parse().ok()?;
        let record = records.get(space + 1..len)?;
        if let Some(value) = record.strip_prefix(b"size=") {
            return std::str::from_utf8(value.strip_suffix(b"\n")?).ok()?.parse().ok();
        }
        records = records.get(len..)?;
    }
    None
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    let digits = text.trim_matches([' ', '\0']);
    if digits.is_empty() { Some(0) } else { u64::from_str_radix(digits, 8).ok() }
}

fn is_header(block: Fields<'_>) -> bool {
    block.array(257) == *b"ustar\x0000"
        && octal(block.bytes(148, 8)) == Some(sum(block.bytes(0, BLOCK)))
}

/// The checksum of a header: all bytes, its own field as spaces.
fn sum(block: &[u8]) -> u64 {
    let value =
        |(at, byte): (usize, &u8)| u64::from(if (148..156).contains(&at) { b' ' } else { *byte });
    block.iter().enumerate().map(value).sum()
}

fn seal(block: &mut [u8; BLOCK]) {
    let sum = sum(block);
    put(block, 148, format!("{sum:>6o} \0").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::{HEAD_SIZE, head, locate, pax_record, tail};

    #[test]
    fn finds_what_it_wrapped() {
        for size in [0_u64, 1, 512, 65_053] {
            let mut file = head(size).to_vec();
            file.resize(file.len() + usize::try_from(size).expect("small"), 7);
            file.extend_from_slice(&tail(size));
            assert_eq!(file.len() % 512, 0);
            assert_eq!(locate(&file).expect("own wrapping is found"), (HEAD_SIZE, size));
        }
        assert_eq!(locate(&vec![7; 100]).expect("a bare blob"), (0, 100));
    }

    #[test]
    fn records_count_themselves() {
        assert_eq!(pax_record(65_053), "14 size=65053\n");
        for size in [1, 10, 12, 123, u64::MAX] {
            let record = pax_record(size);
            assert_eq!(record.split(' ').next(), Some(record.len().to_string().as_str()));
        }
    }

    #[test]
    fn refuses_sizes_that_do_not_fit() {
        let mut file = head(u64::MAX).to_vec();
        assert!(locate(&file).is_err());
        file.truncate(600);
        assert!(locate(&file).is_err());
    }
}
