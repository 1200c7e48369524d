//! `berth call` over TLS; over plain HTTP every other story uses the control plane.

use crate::{Way, start};
use berth_testkit::image::MediaTypes;
use berth_tests::guide::Reader;

#[test]
fn as_the_guide_says() {
    let (server, _) = start(Way::Tls, MediaTypes::Oci);
    let reader = Reader::new(&server);
    let said = reader.follow("berth call", "berth call");
    let answer: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(answer["Repositories"][0]["RepoName"], "app", "{answer}");
}
