//! Inputs of the fuzz targets, read once more by every run of the tests: the seeds, and every input that
//! once did harm.

use std::path::Path;

#[path = "../../../../fuzz/src/formats.rs"]
#[expect(unreachable_pub, reason = "it is the fuzz targets' own file")]
mod targets;

#[test]
fn inputs_that_once_did_harm_end_well() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let mut read = 0;
    for kept in ["seeds", "found"] {
        let Ok(folders) = fuzz.join(kept).read_dir() else { continue };
        for folder in folders {
            let folder = folder.expect("a folder").path();
            let target = folder.file_name().expect("a name").to_string_lossy().into_owned();
            for input in folder.read_dir().expect("a folder") {
                let path = input.expect("a file").path();
                let bytes = std::fs::read(&path).expect("an input");
                read += usize::from(targets::run(&target, &bytes));
            }
        }
    }
    assert!(read > 30, "{read} inputs");
}
