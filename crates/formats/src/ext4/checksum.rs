//! The checksums of ext4: CRC-16 (polynomial 0x8005, reflected) over group descriptors and
//! CRC-32C over attribute values that have an inode.

/// Continues a checksum; start with 0xffff.
pub(super) fn crc16(start: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(start, |crc, byte| {
        (0..8).fold(
            crc ^ u16::from(*byte),
            |crc, _| {
                if crc & 1 == 1 { crc >> 1 ^ 0xa001 } else { crc >> 1 }
            },
        )
    })
}

/// CRC-32C as ext4 uses it: the register as it is, without inversion at either end. Start with
/// `u32::MAX` or an earlier result.
pub(super) fn crc32c_register(start: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!start, bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn check_value() {
        // "CRC-16/MODBUS" is this register with this start.
        assert_eq!(super::crc16(0xffff, b"123456789"), 0x4b37);
    }
}
