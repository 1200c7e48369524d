//! Presigned URLs (AWS signature version 4 in the query).

use super::S3Config;
use crate::api::{httpdate, percent_encode};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

impl S3Config {
    /// A URL by which anybody may make this request for a few minutes.
    pub(super) fn presigned(&self, method: &str, key: &str, query: &[(&str, &str)]) -> String {
        let host = self.endpoint.trim_start_matches("http://");
        let path = match key {
            "" => format!("/{}", self.bucket),
            key => format!("/{}/{key}", self.bucket),
        };
        let moment = httpdate(std::time::SystemTime::now()).replace(['-', ':'], "");
        let day = moment.get(..8).unwrap_or_default();
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let credential = format!("{}/{scope}", self.access_key_id);
        let mut pairs: Vec<(String, String)> = query
            .iter()
            .copied()
            .chain([
                ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
                ("X-Amz-Credential", &credential),
                ("X-Amz-Date", &moment),
                ("X-Amz-Expires", "300"),
                ("X-Amz-SignedHeaders", "host"),
            ])
            .map(|(name, value)| (percent_encode(name), percent_encode(value)))
            .collect();
        pairs.sort();
        let joined: Vec<String> =
            pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let query = joined.join("&");
        let request = format!("{method}\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD");
        let hashed = hex::encode(Sha256::digest(request.as_bytes()));
        let to_sign = format!("AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashed}");
        let mut secret = format!("AWS4{}", self.secret_access_key).into_bytes();
        for part in [day, &self.region, "s3", "aws4_request"] {
            secret = hmac(&secret, part);
        }
        let signature = hex::encode(hmac(&secret, &to_sign));
        format!("http://{host}{path}?{query}&X-Amz-Signature={signature}")
    }
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}
