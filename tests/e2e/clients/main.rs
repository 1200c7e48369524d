//! Real clients, each the way its users use it: most of them by the words of docs/clients.md, over TLS
//! with Berth's own certificate authority and over plain HTTP on loopback.

mod berth;
mod buildah;
mod containerd;
mod containers;
mod cosign;
mod crane;
mod curl;
mod docker;
mod helm;
mod oras;
mod podman;
mod regctl;
mod skopeo;

use berth_testkit::image::{Descriptor, Layout, MediaTypes};
use berth_testkit::server::TestServer;
use berth_tests::source;

/// How a client reaches the server.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// On loopback.
    PlainHttp,
    /// With Berth's own certificate authority.
    Tls,
}

const BOTH_WAYS: [Way; 2] = [Way::PlainHttp, Way::Tls];

/// A server that holds `team/app:v1`, an image that prints the version of its program.
fn start(way: Way, media_types: MediaTypes) -> (TestServer, Descriptor) {
    let server = match way {
        Way::PlainHttp => TestServer::start(),
        Way::Tls => TestServer::start_with_own_ca(),
    };
    let mut layout = Layout::create(&server.scratch().join("source"));
    let mut image = source::runnable_image();
    image.media_types = media_types;
    let image = layout.add(&image);
    layout.push(&image, &server.registry(), "team/app", "v1").expect("pushed");
    (server, image)
}

/// What the program of that image prints.
const VERSION: &str = "v0.22.1";
