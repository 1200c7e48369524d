// Inputs of fuzz targets, which the tests of the crates read once more.

/// Reads every kept input of a target: the seeds, and what once did harm.
pub(crate) fn each(target: &str, mut read: impl FnMut(&[u8])) {
    let fuzz = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let mut inputs = 0;
    for kept in ["seeds", "found"] {
        let Ok(folder) = fuzz.join(kept).join(target).read_dir() else { continue };
        for input in folder {
            read(&std::fs::read(input.expect("a file").path()).expect("an input"));
            inputs += 1;
        }
    }
    assert!(inputs > 0, "no inputs of {target}");
}
