//! The Python client of oras: files of any kind.

use crate::{BOTH_WAYS, start};
use berth_testkit::image::MediaTypes;
use berth_tests::guide::Reader;

#[test]
fn as_the_guide_says() {
    for way in BOTH_WAYS {
        let (server, _) = start(way, MediaTypes::Oci);
        let reader = Reader::new(&server);
        let python = berth_testkit::required_path("BERTH_TEST_PYTHON");
        let said = reader.follow_python(&python, "oras");
        assert!(said.contains("a small model") && said.contains("['v1']"), "{said}");
        let registry = server.registry();
        let manifest = registry.manifest("team/oras", "v1").expect("the artifact").json();
        let layers = manifest["layers"].as_array().expect("layers");
        let described: Vec<(&str, &str)> = layers
            .iter()
            .map(|layer| {
                let title = &layer["annotations"]["org.opencontainers.image.title"];
                (
                    title.as_str().unwrap_or_default(),
                    layer["mediaType"].as_str().unwrap_or_default(),
                )
            })
            .collect();
        assert_eq!(
            described,
            [("model.bin", "application/vnd.example.model"), ("card.txt", "text/plain")]
        );
        for (layer, (name, _)) in layers.iter().zip(described) {
            let digest = layer["digest"].as_str().expect("a digest");
            let bytes = registry.blob("team/oras", digest).expect("the file");
            assert_eq!(bytes, reader.read(name), "{name}");
            assert_eq!(bytes, reader.read(&format!("pulled/{name}")), "{name}");
        }
    }
}
