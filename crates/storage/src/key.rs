//! Keys of objects: time-ordered UUIDs in plain hexadecimal, made here and never taken from a user.

use berth_types::{Millis, id};

use crate::{StorageError, StorageErrorKind};

/// Length of every key.
pub(crate) const LEN: usize = 32;

/// A key that no object ever had.
pub(crate) fn fresh() -> String {
    id::key()
}

/// Refuses what cannot be a key, so that a wrong row can never name a path of its own.
pub(crate) fn check(key: &str) -> Result<(), StorageError> {
    if is_key(key) {
        return Ok(());
    }
    let message = format!("`{key}` is not a storage key");
    Err(StorageError::new(StorageErrorKind::NotFound, message))
}

pub(crate) fn is_key(key: &str) -> bool {
    let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    key.len() == LEN && key.bytes().all(lower_hex)
}

/// When the key was chosen, by the clock of who chose it.
pub(crate) fn time(key: &str) -> Millis {
    // RFC 9562, section 5.7: the first 48 bits are the time.
    key.get(..12).and_then(|digits| Millis::from_str_radix(digits, 16).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use berth_types::{Clock as _, SystemClock};

    use super::{check, fresh, time};

    #[test]
    fn keys_know_their_time() {
        let before = SystemClock.now();
        let key = fresh();
        assert!((before..=SystemClock.now()).contains(&time(&key)), "{key}");
    }

    #[test]
    fn keys() {
        assert!(check(&fresh()).is_ok());
        let hexadecimal = "0".repeat(31);
        for bad in ["", "..", "../../etc/passwd", &hexadecimal, &format!("{hexadecimal}/")] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
