//! Inputs of the fuzz target, read once more by every run of the tests.

#[path = "../../../../fuzz/inputs.rs"]
mod inputs;
#[path = "../../../../fuzz/src/names.rs"]
#[expect(unreachable_pub, reason = "it is the fuzz target's own file")]
mod targets;

#[test]
fn names_that_once_did_harm_end_well() {
    inputs::each("names", targets::names);
}
