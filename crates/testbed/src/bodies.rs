//! What clients send.

use bytes::Bytes;
use futures::{Stream, StreamExt as _};

/// A client that sends all of it.
pub fn chunks(
    parts: &[&'static [u8]],
) -> impl Stream<Item = Result<Bytes, String>> + Send + Unpin + 'static {
    let parts: Vec<_> = parts.iter().map(|part| Ok(Bytes::from_static(part))).collect();
    futures::stream::iter(parts)
}

/// A client that goes away after these.
pub fn broken(
    parts: &[&'static [u8]],
) -> impl Stream<Item = Result<Bytes, String>> + Send + Unpin + 'static {
    chunks(parts).chain(futures::stream::iter([Err("connection reset".to_owned())]))
}
