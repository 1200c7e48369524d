//! A real containerd with runc: pulls, runs and pushes.

use crate::{BOTH_WAYS, VERSION, start};
use berth_testkit::engine::Containerd;
use berth_testkit::image::MediaTypes;
use berth_tests::guide::{Reader, SystemFolder};
use std::path::Path;

#[test]
fn as_the_guide_says() {
    let containerd = Containerd::start();
    for way in BOTH_WAYS {
        let (server, image) = start(way, MediaTypes::Oci);
        let hosts = Path::new("/etc/containerd/certs.d");
        let _hosts = SystemFolder::new(hosts.join(server.host()));
        let mut reader = Reader::new(&server);
        reader.with("CONTAINERD_ADDRESS", containerd.address());
        let said = reader.follow("containerd", "containerd");
        assert!(said.lines().any(|line| line == VERSION), "{said}");
        let pushed = server.registry().manifest("team/containerd", "v2").expect("the tag");
        assert_eq!(pushed.digest, image.digest, "byte for byte");

        // Forgotten and pulled again, from where it was pushed to.
        let (again, first) = (
            format!("{}/team/containerd:v2", server.host()),
            format!("{}/team/app:v1", server.host()),
        );
        let _ = reader.run("ctr", &["images", "rm", "--sync", &again, &first]);
        let (hosts, user) = (hosts.display().to_string(), server.user_and_password());
        let pull = ["images", "pull", "--hosts-dir", &hosts, "--user", &user, &again];
        let _ = reader.run("ctr", &pull);
        assert_eq!(reader.run("ctr", &["run", "--rm", &again, "again"]).trim(), VERSION);
    }
}
