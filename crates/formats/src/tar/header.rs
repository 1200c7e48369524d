//! One 512-byte header block.

use super::number;

/// Bytes of a block; everything in an archive is a multiple of it.
pub(super) const BLOCK: usize = 512;

/// A header block whose checksum was right.
pub(super) struct Header<'a>(pub(super) &'a [u8; BLOCK]);

impl<'a> Header<'a> {
    /// Checks the checksum, with bytes summed unsigned (POSIX) or signed (old implementations).
    pub(super) fn parse(block: &'a [u8; BLOCK]) -> Result<Self, &'static str> {
        let stored = number::field(&block[148..156]).ok_or("the checksum field is not a number")?;
        let mut unsigned: i64 = 8 * i64::from(b' ');
        let mut signed: i64 = unsigned;
        for (position, byte) in block.iter().enumerate() {
            if !(148..156).contains(&position) {
                unsigned += i64::from(*byte);
                signed += i64::from(byte.cast_signed());
            }
        }
        if stored != unsigned && stored != signed {
            return Err("the header checksum is wrong");
        }
        Ok(Self(block))
    }

    pub(super) fn type_flag(&self) -> u8 {
        self.0[156]
    }

    /// Name with the ustar prefix, where the format has one.
    pub(super) fn path(&self) -> Vec<u8> {
        let name = text(&self.0[0..100]);
        let prefix = match (&self.0[257..265], &self.0[508..512]) {
            (b"ustar\x0000", b"tar\0") => text(&self.0[345..476]),
            (magic, _) if magic.starts_with(b"ustar\0") => text(&self.0[345..500]),
            _ => b"",
        };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    pub(super) fn link_name(&self) -> Vec<u8> {
        text(&self.0[157..257]).to_vec()
    }

    pub(super) fn mode(&self) -> Option<u16> {
        u16::try_from(number::field(&self.0[100..108])? & 0o7777).ok()
    }

    pub(super) fn uid(&self) -> Option<i64> {
        number::field(&self.0[108..116])
    }

    pub(super) fn gid(&self) -> Option<i64> {
        number::field(&self.0[116..124])
    }

    pub(super) fn size(&self) -> Option<u64> {
        u64::try_from(number::field(&self.0[124..136])?).ok()
    }

    pub(super) fn mtime(&self) -> Option<i64> {
        number::field(&self.0[136..148])
    }

    pub(super) fn device_major(&self) -> Option<u32> {
        u32::try_from(number::field(&self.0[329..337])?).ok()
    }

    pub(super) fn device_minor(&self) -> Option<u32> {
        u32::try_from(number::field(&self.0[337..345])?).ok()
    }

    /// Size with holes of an old GNU sparse file.
    pub(super) fn gnu_real_size(&self) -> Option<u64> {
        u64::try_from(number::field(&self.0[483..495])?).ok()
    }

    /// The four sparse descriptors of an old GNU header and whether extension blocks follow.
    pub(super) fn gnu_sparse(&self) -> (&'a [u8], bool) {
        (&self.0[386..482], self.0[482] != 0)
    }
}

/// A field's bytes up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}
