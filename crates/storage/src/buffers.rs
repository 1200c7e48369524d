//! Memory for pieces on their way out, used again: what was just sent is still in the processor's
//! cache, and needs no clearing.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// Bytes of a buffer.
pub(crate) const LEN: usize = 128 << 10;

/// Buffers kept, 4 MiB at most.
const KEPT: usize = 32;

static FREE: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

/// A buffer that returns when it is dropped.
pub(crate) struct Buffer {
    memory: Box<[u8]>,
    used: usize,
}

impl Buffer {
    /// The one that was used last, or a new one.
    pub(crate) fn take() -> Self {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Self { memory: free.unwrap_or_else(|| vec![0; LEN].into_boxed_slice()), used: 0 }
    }

    /// Room for the first `len` bytes, [`LEN`] at most. It still holds what was there before.
    pub(crate) fn room(&mut self, len: usize) -> &mut [u8] {
        self.used = len.min(LEN);
        self.memory.get_mut(..self.used).unwrap_or_default()
    }

    /// The bytes of the room.
    pub(crate) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.memory.get(..self.used).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < KEPT {
            free.push(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_sees_the_buffer_of_another() {
        let mut held = Vec::new();
        for byte in 0..3 * u8::try_from(KEPT).expect("few") {
            let mut buffer = Buffer::take();
            buffer.room(usize::from(byte) + 1).fill(byte);
            held.push((byte, buffer.freeze()));
        }
        for (byte, bytes) in held {
            assert_eq!(bytes.len(), usize::from(byte) + 1);
            assert!(bytes.iter().all(|actual| *actual == byte));
        }
        assert!(FREE.lock().expect("whole").len() <= KEPT);
        assert_eq!(Buffer::take().room(LEN + 1).len(), LEN);
        assert!(Buffer::take().freeze().is_empty());
    }
}
