//! Inputs of the fuzz targets, read once more by every run of the tests.

#[path = "../../../../fuzz/inputs.rs"]
mod inputs;
#[path = "../../../../fuzz/src/documents.rs"]
#[expect(unreachable_pub, reason = "it is the fuzz targets' own file")]
mod targets;

#[test]
fn documents_that_once_did_harm_end_well() {
    inputs::each("manifest", targets::manifest);
    inputs::each("config", targets::config);
}
