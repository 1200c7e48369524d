//! Inputs of the fuzz targets, read once more by every run of the tests.

use std::path::Path;

use berth_oci::{ConfigView, ManifestView};

#[test]
fn documents_that_once_did_harm_end_well() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let mut read = 0;
    for kept in ["seeds", "found"] {
        for target in ["manifest", "config"] {
            let Ok(folder) = fuzz.join(kept).join(target).read_dir() else { continue };
            for input in folder {
                let bytes = std::fs::read(input.expect("a file").path()).expect("an input");
                drop((ManifestView::parse(None, &bytes), ConfigView::parse(&bytes)));
                read += 1;
            }
        }
    }
    assert!(read > 5, "{read} inputs");
}
