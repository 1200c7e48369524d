//! Keys of objects: time-ordered UUIDs in plain hexadecimal, made here and never taken from a user.

use berth_types::id;

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

#[cfg(test)]
mod tests {
    use super::{check, fresh};

    #[test]
    fn keys() {
        assert!(check(&fresh()).is_ok());
        let hexadecimal = "0".repeat(31);
        for bad in ["", "..", "../../etc/passwd", &hexadecimal, &format!("{hexadecimal}/")] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
