//! `berth demo` shows the main job in one command and exits 0.

use berth_testkit::process::run;
use berth_testkit::server::berth;
use berth_tests::{skopeo, source};

fn assert_tells_the_story(text: &str) {
    for word in [
        "GetArtifactSubscriptionTaskResult",
        "GetArtifactBuildTask",
        "SUCCESS",
        "COMPLETED",
        "_accelerated",
    ] {
        assert!(text.contains(word), "{word} is told of:\n{text}");
    }
}

#[test]
fn a_real_image_goes_the_whole_way() {
    let scratch = tempfile::tempdir().expect("a folder");
    let (layout, _) = source::real_image(scratch.path());
    let text = run(berth().args(["demo", "--image", &skopeo::local(layout.folder(), "real")]));
    assert_tells_the_story(&text);
}

#[test]
fn without_an_image_the_machine_itself_is_one() {
    assert_tells_the_story(&run(berth().arg("demo")));
}
