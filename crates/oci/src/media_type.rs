//! Media types of the OCI image specification and of Docker's image manifest, version 2 schema 2.

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// The manifest types that Berth takes, in the order in which a client should ask for them.
pub const MANIFESTS: &[&str] = &[OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST];

/// Layers that their publisher did not allow to be distributed: their bytes may be elsewhere
/// (image-spec "Non-Distributable Layers", Docker "foreign" layers).
pub fn is_foreign_layer(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.nondistributable.v1.tar")
        || media_type.starts_with("application/vnd.docker.image.rootfs.foreign.diff.tar")
}

/// Whether the type is one of an index or manifest list.
pub fn is_index(media_type: &str) -> bool {
    media_type == OCI_INDEX || media_type == DOCKER_INDEX
}

/// Whether the type is one of a single image's manifest.
pub fn is_image_manifest(media_type: &str) -> bool {
    media_type == OCI_MANIFEST || media_type == DOCKER_MANIFEST
}

/// Whether the type is that of a container image's config, OCI's or Docker's.
pub fn is_image_config(media_type: &str) -> bool {
    media_type == OCI_CONFIG || media_type == DOCKER_CONFIG
}

/// Whether the type is that of a file-system layer whose bytes a registry may hold.
pub fn is_layer(media_type: &str) -> bool {
    matches!(
        media_type,
        OCI_LAYER | OCI_LAYER_GZIP | OCI_LAYER_ZSTD | DOCKER_LAYER | DOCKER_LAYER_GZIP
    ) || media_type == "application/vnd.docker.image.rootfs.diff.tar.zstd"
}

/// Whether a config of this type in a Docker manifest is a container image's all the same: what
/// registries of 2015 and 2016 gave back for a config that was pushed without a type
/// (moby, "config descriptor media type").
pub fn is_untyped_config(media_type: &str) -> bool {
    matches!(
        essence(media_type).as_str(),
        "" | "application/octet-stream" | "text/html" | "text/plain" | "application/json"
    )
}

/// Whether the type is that of a file-system layer, wherever its bytes may be.
pub fn is_file_system_layer(media_type: &str) -> bool {
    let media_type = essence(media_type);
    let foreign = [
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
    ];
    let compression = foreign.iter().find_map(|prefix| media_type.strip_prefix(prefix));
    is_layer(&media_type)
        || compression.is_some_and(|end| matches!(end, "" | "+gzip" | "+zstd" | ".gzip" | ".zstd"))
}

/// A Content-Type without its parameters, in lower case, spaces trimmed.
pub fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        assert!(is_foreign_layer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"));
        assert!(is_foreign_layer("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"));
        assert!(!is_foreign_layer(OCI_LAYER_GZIP));
        assert!(is_layer(OCI_LAYER_ZSTD) && !is_layer(OCI_CONFIG));
        let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
        assert!(is_file_system_layer(foreign) && is_file_system_layer(OCI_LAYER));
        assert!(!is_file_system_layer("application/vnd.in-toto+json"));
        assert!(is_untyped_config("") && is_untyped_config("text/html; charset=utf-8"));
        assert!(!is_untyped_config(OCI_EMPTY));
        assert_eq!(essence(" Application/JSON ; charset=utf-8"), "application/json");
    }
}
