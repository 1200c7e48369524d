//! podman: pulls, runs and pushes.

use crate::{BOTH_WAYS, VERSION, containers, start};
use berth_testkit::image::MediaTypes;
use berth_tests::guide::{Content, Reader};

#[test]
fn as_the_guide_says() {
    for way in BOTH_WAYS {
        let (server, _) = start(way, MediaTypes::Oci);
        let mut reader = Reader::new(&server);
        containers::isolate(&mut reader);
        let said = reader.follow("Podman", "Podman");
        assert!(said.lines().any(|line| line == VERSION), "{said}");
        let registry = server.registry();
        let pushed = registry.manifest("team/podman", "v2").expect("the tag is there");
        assert_eq!(pushed.digest.as_bytes(), reader.read("digest"));
        // podman compresses layers again when it pushes.
        assert_eq!(
            Content::of(&registry, "team/podman", "v2"),
            Content::of(&registry, "team/app", "v1")
        );
    }
}
