//! Services over stored artifacts: namespaces, repositories, uploads, manifests, tags.
