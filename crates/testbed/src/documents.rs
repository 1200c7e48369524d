//! Manifests as clients write them.

use std::fmt::Write as _;

use berth_types::Digest;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The manifest of an image.
pub fn image(config: &Digest, config_size: usize, layers: &[(&Digest, usize)]) -> String {
    image_with("", config, config_size, layers)
}

/// The manifest of an image with further fields, each ended by a comma.
pub fn image_with(
    extra: &str,
    config: &Digest,
    config_size: usize,
    layers: &[(&Digest, usize)],
) -> String {
    let mut text = format!(
        r#"{{"schemaVersion":2,{extra}"mediaType":"{MANIFEST}","config":{{"mediaType":"{CONFIG}","digest":"{config}","size":{config_size}}},"layers":["#,
    );
    for (n, (digest, size)) in layers.iter().enumerate() {
        let comma = if n == 0 { "" } else { "," };
        let _ =
            write!(text, r#"{comma}{{"mediaType":"{LAYER}","digest":"{digest}","size":{size}}}"#);
    }
    text + "]}"
}

/// An index of images of seven bytes.
pub fn index(children: &[&Digest]) -> String {
    let children: Vec<_> = children
        .iter()
        .map(|digest| format!(r#"{{"mediaType":"{MANIFEST}","digest":"{digest}","size":7}}"#))
        .collect();
    format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]}}"#, children.join(","))
}
