//! Inputs of the fuzz target, read once more by every run of the tests.

use std::path::Path;

#[path = "../../../../fuzz/src/names.rs"]
#[expect(unreachable_pub, reason = "it is the fuzz target's own file")]
mod targets;

#[test]
fn names_that_once_did_harm_end_well() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let mut read = 0;
    for kept in ["seeds", "found"] {
        let Ok(folder) = fuzz.join(kept).join("names").read_dir() else { continue };
        for input in folder {
            targets::names(&std::fs::read(input.expect("a file").path()).expect("an input"));
            read += 1;
        }
    }
    assert!(read > 0, "no inputs");
}
