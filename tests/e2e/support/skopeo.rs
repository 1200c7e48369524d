//! Copies with skopeo, always byte for byte: without `--preserve-digests` it would compress plain
//! layers on the way.

use berth_testkit::process::run;
use berth_testkit::server::TestServer;
use std::path::Path;
use std::process::Command;

/// Pushes `tag` of a layout folder, with all platforms of an index.
pub fn push(server: &TestServer, layout: &Path, tag: &str, image: &str) {
    push_from(server, &local(layout, tag), image);
}

/// Pushes what skopeo finds at `from`, e.g. `dir:…`.
pub fn push_from(server: &TestServer, from: &str, image: &str) {
    let user = server.user_and_password();
    let to = format!("docker://{}/{image}", server.host());
    run(copy().args(["--dest-tls-verify=false", "--dest-creds", &user, from, &to]));
}

/// Pulls an image into a layout folder under `tag`, with all platforms of an index.
pub fn pull(server: &TestServer, image: &str, layout: &Path, tag: &str) {
    pull_to(server, image, &local(layout, tag));
}

/// Pulls an image to wherever skopeo writes, e.g. `dir:…`.
pub fn pull_to(server: &TestServer, image: &str, to: &str) {
    let user = server.user_and_password();
    let from = format!("docker://{}/{image}", server.host());
    run(copy().args(["--src-tls-verify=false", "--src-creds", &user, &from, to]));
}

/// `skopeo copy` with what every copy here needs.
#[must_use]
pub fn copy() -> Command {
    let mut command = Command::new("skopeo");
    command.args(["--insecure-policy", "copy", "--quiet", "--all", "--preserve-digests"]);
    command
}

/// The name that skopeo has for a tag of a layout folder.
#[must_use]
pub fn local(layout: &Path, tag: &str) -> String {
    format!("oci:{}:{tag}", layout.display())
}
