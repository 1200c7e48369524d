//! helm: a chart packaged, pushed, pulled and rendered.

use crate::{BOTH_WAYS, start};
use berth_testkit::image::MediaTypes;
use berth_tests::guide::Reader;

#[test]
fn as_the_guide_says() {
    for way in BOTH_WAYS {
        let (server, _) = start(way, MediaTypes::Oci);
        let mut reader = Reader::new(&server);
        // Without the guide's own setting of it, helm has no option at all.
        reader.with("TRANSPORT", "");
        let _ = reader.follow("Helm", "Helm");
        let chart = reader.read("hello-0.1.0.tgz");
        assert_eq!(reader.read("pulled/hello-0.1.0.tgz"), chart);
        let registry = server.registry();
        let manifest = registry.manifest("charts/hello", "0.1.0").expect("the chart").json();
        assert_eq!(manifest["config"]["mediaType"], "application/vnd.cncf.helm.config.v1+json");
        let layer = manifest["layers"][0]["digest"].as_str().expect("a digest");
        assert_eq!(registry.blob("charts/hello", layer).expect("the layer"), chart);
        let rendered = String::from_utf8(reader.read("manifests.yaml")).expect("text");
        assert!(rendered.contains("kind: Deployment"), "{rendered}");
        assert!(rendered.contains("name: release-hello"), "{rendered}");
    }
}
