//! crane: copies, changes images without unpacking them, lists and deletes.

use crate::{BOTH_WAYS, start};
use berth_testkit::image::MediaTypes;
use berth_testkit::registry::sha256;
use berth_tests::guide::{Content, Reader};

#[test]
fn as_the_guide_says() {
    for way in BOTH_WAYS {
        let (server, image) = start(way, MediaTypes::Oci);
        let reader = Reader::new(&server);
        let said = reader.follow("crane", "crane");
        assert!(said.lines().any(|line| line == image.digest), "{said}");
        let registry = server.registry();
        let v1 = registry.manifest("team/crane", "v1").expect("the tag is there");
        assert_eq!(v1.digest, image.digest);
        assert_eq!(
            String::from_utf8_lossy(&reader.read("tags")).lines().collect::<Vec<_>>(),
            ["latest", "v1", "v2", "v3"]
        );
        // One more layer on top, with the bytes of the file that was appended.
        let [base, appended, mutated] =
            ["v1", "v2", "v3"].map(|tag| Content::of(&registry, "team/crane", tag));
        let (last, below) = appended.archives.split_last().expect("layers");
        assert_eq!(below, base.archives);
        assert_eq!(*last, sha256(&reader.read("note.tar")));
        assert_eq!(mutated.archives, appended.archives);
        assert!(mutated.configuration.contains(r#""stage":"tested""#), "{mutated:?}");
        assert_eq!(Content::of(&registry, "team/crane", "latest"), mutated);
        assert!(registry.manifest("other/crane", "v1").is_none(), "deleted");
        assert!(registry.manifest("other/crane", &image.digest).is_none(), "deleted");
    }
}
