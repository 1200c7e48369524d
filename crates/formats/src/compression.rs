//! How a layer is compressed, and reading it as if it were not.

use std::io::{self, BufRead, BufReader, Read};

mod unzstd;

use flate2::bufread::MultiGzDecoder;
use unzstd::Unzstd;

use crate::overlaybd::Cancel;

/// The compressions that image layers use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// A plain archive.
    None,
    /// Gzip (RFC 1952), any number of members.
    Gzip,
    /// Zstandard (RFC 8878), any number of frames.
    Zstd,
}

const BUFFER: usize = 256 * 1024;
const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Recognises a compression by the first bytes; four are enough.
pub fn detect(first_bytes: &[u8]) -> Compression {
    let is_skippable =
        first_bytes.get(1..4) == Some(&[0x2a, 0x4d, 0x18]) && first_bytes[0] & 0xf0 == 0x50;
    if first_bytes.starts_with(&GZIP_MAGIC) {
        Compression::Gzip
    } else if first_bytes.starts_with(&ZSTD_MAGIC) || is_skippable {
        Compression::Zstd
    } else {
        Compression::None
    }
}

/// What a layer's media type claims; `None` when it says nothing about compression.
pub fn from_media_type(media_type: &str) -> Option<Compression> {
    let plain = media_type.split(';').next().unwrap_or_default().trim();
    if plain.ends_with("+gzip") || plain.ends_with(".tar.gzip") {
        Some(Compression::Gzip)
    } else if plain.ends_with("+zstd") || plain.ends_with(".tar.zstd") {
        Some(Compression::Zstd)
    } else if plain.ends_with(".tar") {
        Some(Compression::None)
    } else {
        None
    }
}

/// A frame of zstd looks further back than a caller allows: an [`io::Error`] has it inside.
#[derive(Debug, thiserror::Error)]
#[error(
    "a zstd frame looks back {window} bytes, which memory must hold; the limit is {limit} bytes"
)]
pub struct WindowTooLarge {
    /// Bytes of the frame's window.
    pub window: u64,
    /// Bytes that were allowed.
    pub limit: u64,
}

/// Reads `source` decompressed. All members or frames are read; zero bytes that pad the end of
/// gzip data are ignored. Corrupt or cut-off data end in an error, never in a short read.
///
/// A zstd frame may look back `window` bytes at most, 2 GiB at the utmost. Of frames that look back
/// more than 128 MiB a process reads one at a time; the others wait, until `cancel` is set.
pub fn decoder<'a>(
    compression: Compression,
    source: Box<dyn Read + Send + 'a>,
    window: u64,
    cancel: &'a Cancel,
) -> Box<dyn Read + Send + 'a> {
    match compression {
        Compression::None => source,
        Compression::Gzip => Box::new(Gunzip::new(source)),
        Compression::Zstd => {
            let source = BufReader::with_capacity(BUFFER, source);
            Box::new(Unzstd::new(source, window, cancel))
        }
    }
}

/// A gzip header is read ten bytes at a time.
const GZIP_HEADER: u64 = 10;

/// Bytes of the shortest member: header, an empty block of two bytes, checksum and length.
const SHORTEST_MEMBER: u64 = 20;

/// Gzip whose padding of zeros behind the last member is dropped.
struct Gunzip<R: Read> {
    inner: MultiGzDecoder<ZeroCounter<BufReader<R>>>,
    ended: bool,
}

impl<R: Read> Gunzip<R> {
    fn new(source: R) -> Self {
        let source = BufReader::with_capacity(BUFFER, source);
        let inner = MultiGzDecoder::new(ZeroCounter { source, zeros: 0, consumed: 0 });
        Self { inner, ended: false }
    }

    /// Whether the decoder stopped at ten bytes of zeros where the header of a further member was
    /// expected, with nothing but zeros behind them.
    fn only_padding_left(&mut self) -> io::Result<bool> {
        let source = self.inner.get_mut();
        if source.zeros < GZIP_HEADER || source.consumed < SHORTEST_MEMBER + GZIP_HEADER {
            return Ok(false);
        }
        loop {
            let bytes = source.fill_buf()?;
            if bytes.is_empty() {
                return Ok(true);
            }
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            let count = bytes.len();
            source.consume(count);
        }
    }
}

impl<R: Read> Read for Gunzip<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.ended {
            return Ok(0);
        }
        match self.inner.read(buf) {
            // A damaged body or checksum must not pass for padding: only this message means that
            // a header was expected.
            Err(error) if error.to_string() == "invalid gzip header" => {
                if self.only_padding_left()? {
                    self.ended = true;
                    return Ok(0);
                }
                Err(error)
            }
            result => result,
        }
    }
}

/// Counts the zero bytes consumed last.
struct ZeroCounter<R> {
    source: R,
    zeros: u64,
    consumed: u64,
}

impl<R: BufRead> Read for ZeroCounter<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buf.len());
        buf[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for ZeroCounter<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.source.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        // The bytes are still in the source's buffer: this does not read.
        if let Ok(available) = self.source.fill_buf() {
            let consumed = available.get(..count).unwrap_or(available);
            let zeros = consumed.iter().rev().take_while(|byte| **byte == 0).count();
            let all = zeros == consumed.len();
            self.zeros = if all { self.zeros + zeros as u64 } else { zeros as u64 };
        }
        self.source.consume(count);
        self.consumed += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::{Compression, decoder, detect, from_media_type};
    use crate::overlaybd::Cancel;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(data).expect("compress");
        encoder.finish().expect("compress")
    }

    fn read(compression: Compression, data: Vec<u8>) -> std::io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let cancel = Cancel::new();
        let source = Box::new(std::io::Cursor::new(data));
        decoder(compression, source, 1 << 31, &cancel).read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn all_gzip_members_are_read() {
        let data = [gzip(b"one "), gzip(b""), gzip(b"two")].concat();
        assert_eq!(detect(&data), Compression::Gzip);
        assert_eq!(read(Compression::Gzip, data).expect("read"), b"one two");
    }

    #[test]
    fn zeros_behind_gzip_are_padding() {
        let data = [gzip(b"one "), gzip(b"two"), vec![0; 3000]].concat();
        assert_eq!(read(Compression::Gzip, data).expect("read"), b"one two");
    }

    #[test]
    fn zeros_behind_an_empty_gzip_are_padding_too() {
        let padded = |zeros| [gzip(b""), vec![0; zeros]].concat();
        for zeros in [10, 512, 1024] {
            assert_eq!(read(Compression::Gzip, padded(zeros)).expect("read"), b"");
        }
        assert!(read(Compression::Gzip, vec![0; 1024]).is_err(), "zeros are no gzip");
    }

    #[test]
    fn garbage_and_truncation_are_errors() {
        let whole = gzip(b"some text that is long enough to be cut");
        assert!(
            read(Compression::Gzip, [whole.clone(), b"garbage bytes".to_vec()].concat()).is_err()
        );
        let mut padded = [whole.clone(), vec![0; 20]].concat();
        padded.push(1);
        assert!(read(Compression::Gzip, padded).is_err());
        let mut zeroed = whole.clone();
        zeroed.iter_mut().skip(25).for_each(|byte| *byte = 0);
        assert!(read(Compression::Gzip, [zeroed, vec![0; 64]].concat()).is_err());
        for cut in 1..whole.len() {
            assert!(read(Compression::Gzip, whole[..cut].to_vec()).is_err(), "cut at {cut}");
        }
        let zstd = zstd::encode_all(&b"some text"[..], 3).expect("compress");
        assert!(read(Compression::Zstd, zstd[..zstd.len() - 1].to_vec()).is_err());
    }

    #[test]
    fn all_zstd_frames_are_read() {
        let frame = |text: &[u8]| zstd::encode_all(text, 3).expect("compress");
        let data = [frame(b"one "), frame(b"two")].concat();
        assert_eq!(detect(&data), Compression::Zstd);
        assert_eq!(read(Compression::Zstd, data).expect("read"), b"one two");
    }

    #[test]
    fn media_types_name_compressions() {
        let of = from_media_type;
        assert_eq!(of("application/vnd.oci.image.layer.v1.tar+gzip"), Some(Compression::Gzip));
        assert_eq!(
            of("application/vnd.docker.image.rootfs.diff.tar.gzip"),
            Some(Compression::Gzip)
        );
        assert_eq!(of("application/vnd.oci.image.layer.v1.tar+zstd"), Some(Compression::Zstd));
        assert_eq!(of("application/vnd.oci.image.layer.v1.tar"), Some(Compression::None));
        assert_eq!(of("application/octet-stream"), None);
    }
}
