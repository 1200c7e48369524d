//! A real Docker engine: pulls, runs and pushes.

use crate::{BOTH_WAYS, VERSION, start};
use berth_testkit::engine::Docker;
use berth_testkit::image::MediaTypes;
use berth_tests::guide::{Content, Reader, SystemFolder};
use std::path::Path;

#[test]
fn as_the_guide_says() {
    let docker = Docker::start();
    for way in BOTH_WAYS {
        let (server, _) = start(way, MediaTypes::Docker);
        let _trusted = SystemFolder::new(Path::new("/etc/docker/certs.d").join(server.host()));
        let mut reader = Reader::new(&server);
        reader.with("DOCKER_HOST", docker.socket());
        let said = reader.follow("Docker", "Docker");
        assert!(said.lines().any(|line| line == VERSION), "{said}");
        let registry = server.registry();
        assert_eq!(
            Content::of(&registry, "team/docker", "v2"),
            Content::of(&registry, "team/app", "v1")
        );
        // Forgotten by the engine and pulled again, by the digest that it pushed.
        let pushed = registry.manifest("team/docker", "v2").expect("the tag is there");
        let again = format!("{}/team/docker@{}", server.host(), pushed.digest);
        let _ = reader.run("sh", &["-euc", "docker image rm --force $(docker image ls --quiet)"]);
        let said = reader.run("docker", &["run", "--rm", "--network", "none", &again]);
        assert_eq!(said.trim(), VERSION);
    }
}
