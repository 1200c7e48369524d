//! ZFile's checksum: the CRC-32C register without inversion before or after.

/// Start value for header, trailer and jump table.
pub(crate) const PLAIN: u32 = 0;

/// Start value for blocks.
pub(crate) const BLOCK: u32 = 100_007;

/// Runs the register from `seed` over `bytes`.
pub(crate) fn raw(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

#[cfg(test)]
mod tests {
    use super::raw;

    #[test]
    fn differs_from_the_usual_checksum_only_in_the_inversions() {
        assert_eq!(!raw(!0, b"123456789"), 0xe306_9283);
        assert_eq!(raw(0, b""), 0);
        assert_eq!(raw(raw(7, b"1234"), b"56789"), raw(7, b"123456789"));
    }
}
