//! Little-endian integers inside byte records.

/// A record whose length the caller has checked; a field past its end reads as zero, so that no
/// input can make a parser panic.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    /// `N` bytes at `at`.
    pub(crate) fn array<const N: usize>(self, at: usize) -> [u8; N] {
        let mut out = [0; N];
        let from = self.0.get(at..).unwrap_or_default();
        for (target, byte) in out.iter_mut().zip(from) {
            *target = *byte;
        }
        out
    }

    /// `len` bytes at `at`, fewer when the record ends before.
    pub(crate) fn bytes(self, at: usize, len: usize) -> &'a [u8] {
        let from = self.0.get(at..).unwrap_or_default();
        from.get(..len).unwrap_or(from)
    }

    pub(crate) fn u8(self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or_default()
    }

    pub(crate) fn u16(self, at: usize) -> u16 {
        u16::from_le_bytes(self.array(at))
    }

    pub(crate) fn u32(self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    pub(crate) fn u64(self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }
}

/// Writes `bytes` at `at`; what does not fit is a programming error and is left out.
pub(crate) fn put(record: &mut [u8], at: usize, bytes: &[u8]) {
    debug_assert!(at + bytes.len() <= record.len());
    for (target, byte) in record.iter_mut().skip(at).zip(bytes) {
        *target = *byte;
    }
}
