//! Large reads that go straight to the bucket.

use berth_testkit::image::{Compression, Image, Layout};
use berth_testkit::registry::sha256;
use berth_testkit::server::TestServer;
use berth_tests::places::Place;
use berth_tests::skopeo;
use berth_tests::source::{random_bytes, random_layer};
use reqwest::blocking::{Client, Response};
use reqwest::redirect::Policy;

const LARGE: usize = 3 << 20;

/// Asks for a blob and goes nowhere else.
fn ask(server: &TestServer, method: &str, digest: &str, range: Option<&str>) -> Response {
    let credentials = server.credentials();
    let client = Client::builder().no_proxy().redirect(Policy::none()).build().expect("a client");
    let url = format!("{}/v2/app/one/blobs/{digest}", server.url());
    let mut request = client
        .request(method.parse().expect("a method"), url)
        .basic_auth(&credentials.access_key_id, Some(&credentials.access_key_secret));
    if let Some(range) = range {
        request = request.header("Range", range);
    }
    request.send().expect("an answer")
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[test]
fn large_blobs_come_from_the_bucket() {
    let place = Place::shared("redirect = true\nredirect_minimum = \"1MiB\"\n");
    let (server, registry) = (&place.servers[0], place.registry());
    let bucket = place.proxy.as_ref().expect("a bucket").bucket().clone();
    let (large, small) = (random_bytes(LARGE), random_bytes(1000));
    let digest = registry.push_blob("app/one", &large).expect("a push");
    let small_digest = registry.push_blob("app/one", &small).expect("a push");

    for range in [None, Some("bytes=5-9")] {
        let answer = ask(server, "GET", &digest, range);
        assert_eq!(answer.status().as_u16(), 307);
        assert!(header(&answer, "location").starts_with(&bucket.endpoint), "{answer:?}");
        assert_eq!(header(&answer, "docker-content-digest"), digest);
        assert_eq!(header(&answer, "cache-control"), "private, no-store");
    }
    assert!(registry.blob("app/one", &digest).as_ref() == Some(&large));
    let part = registry.request("GET", &format!("/v2/app/one/blobs/{digest}"));
    let part = part.header("Range", "bytes=1000000-1999999").send().expect("an answer");
    assert_eq!(part.status().as_u16(), 206);
    assert!(part.bytes().expect("bytes") == large[1_000_000..2_000_000]);

    // What is asked about, what is small, and what is not there is answered here.
    let head = ask(server, "HEAD", &digest, None);
    assert_eq!((head.status().as_u16(), header(&head, "content-length")), (200, "3145728"));
    assert_eq!(ask(server, "GET", &digest, Some("bytes=9999999-")).status().as_u16(), 416);
    let answer = ask(server, "GET", &small_digest, None);
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(sha256(&answer.bytes().expect("bytes")), small_digest);
    assert_eq!(ask(server, "GET", &sha256(b"nothing"), None).status().as_u16(), 404);

    // A real client follows.
    let mut layout = Layout::create(&server.scratch().join("source"));
    let image = layout.add_tagged("v1", &Image::new(vec![random_layer(4, Compression::Gzip)]));
    skopeo::push(server, layout.folder(), "v1", "app/image:v1");
    let pulled = server.scratch().join("pulled");
    skopeo::pull(server, "app/image:v1", &pulled, "v1");
    let (_, name) = image.digest.split_once(':').expect("a digest");
    assert!(pulled.join("blobs/sha256").join(name).is_file());

    // Nobody is sent to what somebody has changed, and the next push brings it back.
    let key = bucket
        .objects("blobs/objects/")
        .into_iter()
        .find(|key| bucket.object(key).as_ref() == Some(&large))
        .expect("the object");
    bucket.write(&key, &random_bytes(LARGE));
    let answer = ask(server, "GET", &digest, None);
    assert_eq!(answer.status().as_u16(), 404);
    assert_eq!(ask(&place.servers[1], "GET", &digest, Some("bytes=0-1")).status().as_u16(), 404);
    registry.push_blob("app/one", &large).expect("a push");
    assert_eq!(ask(server, "GET", &digest, None).status().as_u16(), 307);
    assert!(registry.blob("app/one", &digest).as_ref() == Some(&large));
    place.assert_nothing_refused();
}
