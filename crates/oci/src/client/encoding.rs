//! Answers that come compressed although only `identity` was asked for.

use std::io::Write as _;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use futures::StreamExt as _;
use futures::stream;

use super::ClientError;
use super::bounds::Body;

/// Compressed bytes that are inflated in one step: what they can inflate to bounds the memory.
const STEP: usize = 4096;

/// How the bytes of an answer are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
}

impl Encoding {
    /// Reads `Content-Encoding`; `None` for one that Berth cannot read.
    pub(crate) fn of(header: Option<&str>) -> Option<Self> {
        match header.unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            _ => None,
        }
    }
}

/// The bytes behind a gzip encoding. The caller bounds how many it takes.
pub(crate) fn gunzip(what: &str, body: Body) -> Body {
    let decoder = Some(MultiGzDecoder::new(Vec::new()));
    let state =
        Gunzip { what: what.to_owned(), body, decoder, pending: Bytes::new(), begun: false };
    stream::try_unfold(state, |mut state| async move {
        Ok(state.next().await?.map(|chunk| (chunk, state)))
    })
    .boxed()
}

struct Gunzip {
    what: String,
    body: Body,
    /// `None` after the end.
    decoder: Option<MultiGzDecoder<Vec<u8>>>,
    pending: Bytes,
    begun: bool,
}

impl Gunzip {
    async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(decoder) = &mut self.decoder {
            if self.pending.is_empty() {
                let Some(chunk) = self.body.next().await else {
                    return self.finish();
                };
                self.pending = chunk?;
                self.begun = true;
            }
            let step = self.pending.split_to(self.pending.len().min(STEP));
            if let Err(error) = decoder.write_all(&step) {
                return Err(self.damaged(&error));
            }
            let inflated = std::mem::take(decoder.get_mut());
            if !inflated.is_empty() {
                return Ok(Some(inflated.into()));
            }
        }
        Ok(None)
    }

    fn finish(&mut self) -> Result<Option<Bytes>, ClientError> {
        let decoder = self.decoder.take().filter(|_| self.begun);
        let rest = decoder.map(MultiGzDecoder::finish).transpose();
        let rest = rest.map_err(|error| self.damaged(&error))?.unwrap_or_default();
        Ok((!rest.is_empty()).then(|| rest.into()))
    }

    fn damaged(&self, error: &std::io::Error) -> ClientError {
        let reason = format!("the gzip that the answer came in is damaged: {error}");
        ClientError::Broken { what: self.what.clone(), offset: 0, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use futures::TryStreamExt as _;

    fn compressed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    async fn inflate(bytes: Vec<u8>, piece: usize) -> Result<Vec<Bytes>, ClientError> {
        let pieces: Vec<_> =
            bytes.chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        gunzip("blob", stream::iter(pieces).boxed()).try_collect().await
    }

    #[tokio::test]
    async fn bytes_come_back_whatever_the_pieces() {
        let bytes: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        for piece in [1000, 7, 1_000_000] {
            let chunks = inflate(compressed(&bytes), piece).await.expect("gzip");
            assert!(chunks.concat() == bytes, "{piece}");
        }
        assert_eq!(inflate(compressed(b""), 10).await.map(|chunks| chunks.len()), Ok(0));
    }

    #[tokio::test]
    async fn a_bomb_comes_in_bounded_pieces() {
        let chunks = inflate(compressed(&vec![0; 64 << 20]), 1 << 20).await.expect("gzip");
        assert!(chunks.iter().all(|chunk| chunk.len() <= STEP * 1100));
    }

    #[tokio::test]
    async fn damage_is_a_fault() {
        let mut bytes = compressed(&[7; 1000]);
        bytes.truncate(bytes.len() / 2);
        assert!(inflate(bytes, 10).await.is_err());
        assert!(inflate(b"no gzip at all".to_vec(), 10).await.is_err());
    }

    #[test]
    fn encodings() {
        for (header, expected) in [
            (None, Some(Encoding::Identity)),
            (Some("identity"), Some(Encoding::Identity)),
            (Some("GZIP"), Some(Encoding::Gzip)),
            (Some("x-gzip"), Some(Encoding::Gzip)),
            (Some("br"), None),
            (Some("gzip, gzip"), None),
        ] {
            assert_eq!(Encoding::of(header), expected, "{header:?}");
        }
    }
}
