//! buildah: an image from nothing, pushed, forgotten and pulled again.

use crate::{BOTH_WAYS, containers, start};
use berth_testkit::image::MediaTypes;
use berth_tests::guide::{Content, Reader};

#[test]
fn as_the_guide_says() {
    for way in BOTH_WAYS {
        let (server, _) = start(way, MediaTypes::Oci);
        let mut reader = Reader::new(&server);
        containers::isolate(&mut reader);
        let said = reader.follow("Podman", "Buildah");
        assert!(said.lines().any(|line| line == "built by buildah"), "{said}");
        let registry = server.registry();
        let pushed = registry.manifest("team/buildah", "v1").expect("the tag is there");
        assert_eq!(pushed.digest.as_bytes(), reader.read("digest"));
        let content = Content::of(&registry, "team/buildah", "v1");
        assert!(content.configuration.contains(r#""maintainer":"team""#), "{content:?}");
    }
}
