//! Object ids in ACR's style: a prefix and 16 lower-case alphanumerics.

use rand::Rng as _;

pub const INSTANCE: &str = "cri-";
pub const NAMESPACE: &str = "crn-";
pub const REPOSITORY: &str = "crr-";
pub const BUILD_RULE: &str = "crabr-";
/// Tasks of type `IMAGE_TO_ACCELERATED_IMAGE`.
pub const ACCELERATED_BUILD_TASK: &str = "i2a-";
/// Tasks of type `IMAGE_TO_ECI_ACCELERATED_IMAGE`.
pub const ECI_BUILD_TASK: &str = "i2ei-";
pub const SUBSCRIPTION_RULE: &str = "crasr-";
pub const SUBSCRIPTION_TASK: &str = "crast-";

/// A new random id with the prefix.
pub fn generate(prefix: &str) -> String {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = rand::rng();
    let mut id = String::with_capacity(prefix.len() + 16);
    id.push_str(prefix);
    for _ in 0..16 {
        id.push(char::from(ALPHABET[random.random_range(0..ALPHABET.len())]));
    }
    id
}

/// A new request id: an upper-case UUID.
pub fn request() -> String {
    uuid::Uuid::new_v4().to_string().to_uppercase()
}

/// A new storage or upload key: a time-ordered UUID in plain hexadecimal.
pub fn key() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}
