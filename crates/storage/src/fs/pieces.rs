//! Writing many pieces of memory to one place of a file.

use std::fs::File;
use std::io::{self, IoSlice};
use std::num::NonZeroU64;
use std::ops::Range;

use bytes::Bytes;
use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, pwritev};

/// Bytes of one write. The page cache takes larger ones in larger pages, which on a virtual machine
/// are more often such as its hypervisor has to give first: several times the cost of the copy.
const WRITE: usize = 256 << 10;

/// Writes the pieces one after another.
pub(super) fn write_all_at(file: &File, pieces: &[Bytes], mut offset: u64) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> =
        pieces.iter().flat_map(|piece| piece.chunks(WRITE)).map(IoSlice::new).collect();
    let mut rest = slices.as_mut_slice();
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |slice: &&IoSlice<'_>| {
            bytes += slice.len();
            bytes <= WRITE
        };
        // At least the first always fits.
        let count = rest.iter().take_while(fits).count();
        let written = match pwritev(file, rest.get(..count).unwrap_or_default(), offset) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        offset += written as u64;
        IoSlice::advance_slices(&mut rest, written);
    }
    Ok(())
}

/// Lets the disk begin with what was written there, so that little is left to wait for in the end.
/// The kernel does so for what is said to be needed no more; it forgets only what is on the disk
/// already, which of bytes just written is nothing.
pub(super) fn begin_writeback(file: &File, range: &Range<u64>) {
    if let Some(len) = NonZeroU64::new(range.end.saturating_sub(range.start)) {
        // Advice: without it the sync in the end takes longer.
        let _ = fadvise(file, range.start, Some(len), Advice::DontNeed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_every_size() {
        let file = tempfile::tempfile().expect("a file");
        let sizes = [1, WRITE - 1, WRITE, WRITE + 1, 3 * WRITE + 7, 5, 5, WRITE / 2, WRITE / 2, 9];
        let pieces: Vec<Bytes> =
            (0u8..).zip(sizes).map(|(byte, size)| Bytes::from(vec![byte; size])).collect();
        write_all_at(&file, &pieces, 3).expect("written");
        begin_writeback(&file, &(0..100));
        let expected = pieces.concat();
        let mut actual = vec![0; expected.len() + 1];
        assert_eq!(rustix::io::pread(&file, &mut actual[..], 3).expect("read"), expected.len());
        actual.truncate(expected.len());
        assert!(actual == expected);
    }
}
