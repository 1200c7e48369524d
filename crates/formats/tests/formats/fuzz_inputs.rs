//! Inputs of the fuzz targets, read once more by every run of the tests: the seeds, and every input that
//! once did harm.

#[path = "../../../../fuzz/inputs.rs"]
mod inputs;
#[path = "../../../../fuzz/src/formats.rs"]
#[expect(unreachable_pub, reason = "it is the fuzz targets' own file")]
mod targets;

#[test]
fn inputs_that_once_did_harm_end_well() {
    inputs::each("tar", targets::tar);
    inputs::each("compression", targets::compression);
    inputs::each("layer", targets::layer);
    inputs::each("lsmt", targets::lsmt);
    inputs::each("zfile", targets::zfile);
    inputs::each("blob", targets::blob);
    inputs::each("ext4", targets::ext4);
}
