//! Clients without an engine: skopeo, crane and curl, each the way its users use it.

use berth_testkit::image::{Compression, Descriptor, Image, Layer, Layout, MediaTypes, hazards};
use berth_testkit::process::{run, run_failing};
use berth_testkit::registry::sha256;
use berth_testkit::server::TestServer;
use berth_tests::{skopeo, source};
use std::path::Path;
use std::process::Command;

#[test]
fn skopeo_keeps_every_kind_of_image_byte_for_byte() {
    let server = TestServer::start();
    let mut layout = Layout::create(&server.scratch().join("source"));
    let oci = layout.add_tagged("oci", &hazards::image());
    let mut docker = Image::tiny("docker");
    docker.media_types = MediaTypes::Docker;
    let docker = layout.add_tagged("docker", &docker);
    let mut arm = Image::tiny("arm");
    arm.architecture = "arm64".to_owned();
    let arm = layout.add(&arm);
    let index = layout.add_index(MediaTypes::Oci, &[("amd64", oci.clone()), ("arm64", arm)]);
    layout.tag("index", &index);
    for (tag, image) in [("oci", &oci), ("index", &index)] {
        skopeo::push(&server, layout.folder(), tag, &format!("team/skopeo:{tag}"));
        assert_stored(&server, tag, image);
        let pulled = server.scratch().join("pulled");
        skopeo::pull(&server, &format!("team/skopeo:{tag}"), &pulled, tag);
        let stored = |folder: &Path| folder.join("blobs").join(image.digest.replace(':', "/"));
        run(Command::new("cmp").args([stored(layout.folder()), stored(&pulled)]));
    }
    // skopeo keeps Docker's manifests in its own kind of folder only.
    let [folder, pulled] = ["docker", "docker-pulled"].map(|name| server.scratch().join(name));
    layout.export(&docker, &folder);
    skopeo::push_from(&server, &format!("dir:{}", folder.display()), "team/skopeo:docker");
    assert_stored(&server, "docker", &docker);
    skopeo::pull_to(&server, "team/skopeo:docker", &format!("dir:{}", pulled.display()));
    run(Command::new("diff").arg("--recursive").args([folder, pulled]));

    let image = format!("docker://{}/team/skopeo", server.host());
    let mut list = Command::new("skopeo");
    list.args(["list-tags", "--tls-verify=false", "--creds", &server.user_and_password(), &image]);
    let listed: serde_json::Value = serde_json::from_str(&run(&mut list)).expect("JSON");
    assert_eq!(listed["Tags"], serde_json::json!(["docker", "index", "oci"]));
    let mut delete = Command::new("skopeo");
    let oci = format!("{image}:oci");
    delete.args(["delete", "--tls-verify=false", "--creds", &server.user_and_password(), &oci]);
    run(&mut delete);
    assert!(server.registry().manifest("team/skopeo", "oci").is_none());
}

fn assert_stored(server: &TestServer, tag: &str, image: &Descriptor) {
    let stored = server.registry().manifest("team/skopeo", tag).expect("the tag is there");
    assert_eq!(stored.digest, image.digest, "{tag}");
    assert_eq!(stored.media_type, image.media_type, "{tag}");
}

#[test]
fn a_wrong_password_and_no_password_are_refused() {
    let server = TestServer::start();
    let mut layout = Layout::create(&server.scratch().join("source"));
    layout.add_tagged("v1", &Image::tiny("secret"));
    skopeo::push(&server, layout.folder(), "v1", "team/private:v1");
    let image = format!("docker://{}/team/private:v1", server.host());
    for credentials in [&["--no-creds"][..], &["--creds", "someone:wrong"]] {
        let mut inspect = Command::new("skopeo");
        inspect.args(["inspect", "--tls-verify=false"]).args(credentials).arg(&image);
        run_failing(&mut inspect);
    }
}

/// crane with a configuration folder of its own, logged in.
fn crane(server: &TestServer) -> impl Fn(&[&str]) -> String + use<> {
    let config = server.scratch().join("crane");
    let call = move |arguments: &[&str]| {
        let mut command = Command::new(berth_testkit::required_path("BERTH_TEST_CRANE"));
        run(command.env("DOCKER_CONFIG", &config).arg("--insecure").args(arguments))
    };
    let credentials = server.credentials();
    let (user, secret) = (&credentials.access_key_id, &credentials.access_key_secret);
    call(&["auth", "login", &server.host(), "-u", user, "-p", secret]);
    call
}

#[test]
fn crane_pushes_pulls_copies_and_validates() {
    let server = TestServer::start();
    let crane = crane(&server);
    let mut layout = Layout::create(&server.scratch().join("source"));
    let layers = vec![
        source::random_layer(3, Compression::Gzip),
        source::random_layer(2, Compression::Gzip),
    ];
    let pushed = layout.add_tagged("v1", &Image::new(layers));
    let image = format!("{}/team/crane", server.host());
    let folder = layout.folder().to_string_lossy().into_owned();
    crane(&["push", &folder, &format!("{image}:v1")]);
    assert_eq!(crane(&["digest", &format!("{image}:v1")]).trim(), pushed.digest);
    crane(&["validate", "--remote", &format!("{image}:v1")]);
    // Copied within the registry: the layers are mounted, not sent again.
    let copied = format!("{}/other/copy:v2", server.host());
    crane(&["copy", &format!("{image}:v1"), &copied]);
    assert_eq!(crane(&["digest", &copied]).trim(), pushed.digest);
    crane(&["tag", &format!("{image}:v1"), "latest"]);
    assert_eq!(crane(&["ls", &image]).lines().collect::<Vec<_>>(), ["latest", "v1"]);
    let catalogued = crane(&["manifest", &format!("{image}@{}", pushed.digest)]);
    assert_eq!(sha256(catalogued.as_bytes()), pushed.digest, "byte for byte");
}

/// curl with Basic credentials; returns status line, headers and body as one text.
fn curl(server: &TestServer, arguments: &[&str]) -> String {
    let user = server.user_and_password();
    let mut command = Command::new("curl");
    run(command.args(["--silent", "--show-error", "--include", "--user", &user]).args(arguments))
}

fn header(answer: &str, name: &str) -> Option<String> {
    answer.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

fn absolute(server: &TestServer, location: &str) -> String {
    if location.starts_with("http") {
        location.to_owned()
    } else {
        format!("{}{location}", server.url())
    }
}

fn write(folder: &Path, name: &str, content: &[u8]) -> String {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("a file can be written");
    format!("@{}", path.display())
}

#[test]
fn curl_uploads_in_pieces_and_resumes_where_the_server_says() {
    let server = TestServer::start();
    let content: Vec<u8> = source::random_layer(5, Compression::None).tar;
    let digest = sha256(&content);
    let begin = curl(
        &server,
        &["--request", "POST", &format!("{}/v2/team/curl/blobs/uploads/", server.url())],
    );
    assert!(begin.contains(" 202 "), "{begin}");
    let mut location = absolute(&server, &header(&begin, "Location").expect("a location"));

    // Two pieces in order, then one that leaves a gap: refused, and nothing is lost.
    let piece = content.len() / 3;
    for (number, range) in [(0, 0..piece), (1, piece..2 * piece)] {
        let data = write(server.scratch(), &format!("piece-{number}"), &content[range.clone()]);
        let place = format!("Content-Range: {}-{}", range.start, range.end - 1);
        let sent = curl(
            &server,
            &[
                "--request",
                "PATCH",
                "--header",
                "Content-Type: application/octet-stream",
                "--header",
                &place,
                "--data-binary",
                &data,
                &location,
            ],
        );
        assert!(sent.contains(" 202 "), "{sent}");
        assert_eq!(header(&sent, "Range"), Some(format!("0-{}", range.end - 1)), "{sent}");
        location = absolute(&server, &header(&sent, "Location").expect("a location"));
    }
    let data = write(server.scratch(), "gap", &content[2 * piece + 10..]);
    let gap = curl(
        &server,
        &[
            "--request",
            "PATCH",
            "--header",
            "Content-Type: application/octet-stream",
            "--header",
            &format!("Content-Range: {}-{}", 2 * piece + 10, content.len() - 1),
            "--data-binary",
            &data,
            &location,
        ],
    );
    assert!(gap.contains(" 416 "), "{gap}");
    let status = curl(&server, &[&location]);
    assert!(status.contains(" 204 "), "{status}");
    assert_eq!(header(&status, "Range"), Some(format!("0-{}", 2 * piece - 1)));
    location = absolute(&server, &header(&status, "Location").expect("a location"));

    // The rest comes with the end.
    let data = write(server.scratch(), "rest", &content[2 * piece..]);
    let separator = if location.contains('?') { '&' } else { '?' };
    let end = format!("{location}{separator}digest={digest}");
    let done = curl(
        &server,
        &[
            "--request",
            "PUT",
            "--header",
            "Content-Type: application/octet-stream",
            "--header",
            &format!("Content-Range: {}-{}", 2 * piece, content.len() - 1),
            "--data-binary",
            &data,
            &end,
        ],
    );
    assert!(done.contains(" 201 "), "{done}");
    assert_eq!(server.registry().blob("team/curl", &digest).expect("the blob"), content);

    // Ranges of it.
    let blob = format!("{}/v2/team/curl/blobs/{digest}", server.url());
    let user = server.user_and_password();
    let range = |range: &str| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--fail", "--user", &user, "--range", range, &blob]);
        berth_testkit::process::output(&mut command).stdout
    };
    assert_eq!(range("0-99"), content[..100]);
    assert_eq!(range("1000000-1000999"), content[1_000_000..1_001_000]);
    assert_eq!(range("-7"), content[content.len() - 7..]);
    let beyond = curl(&server, &["--range", &format!("{}-", content.len()), &blob]);
    assert!(beyond.contains(" 416 "), "{beyond}");
}

#[test]
fn an_upload_cut_off_in_the_middle_goes_on_after_a_restart() {
    let mut server = TestServer::start();
    let content: Vec<u8> = source::random_layer(8, Compression::None).tar;
    let digest = sha256(&content);
    let begin = curl(
        &server,
        &["--request", "POST", &format!("{}/v2/team/cut/blobs/uploads/", server.url())],
    );
    let location = absolute(&server, &header(&begin, "Location").expect("a location"));
    // A stream without a length, broken off by the client's own clock.
    let data = write(server.scratch(), "content", &content);
    let user = server.user_and_password();
    let mut streamed = Command::new("curl");
    streamed.args([
        "--silent",
        "--user",
        &user,
        "--request",
        "PATCH",
        "--limit-rate",
        "2M",
        "--max-time",
        "2",
    ]);
    streamed.args([
        "--header",
        "Transfer-Encoding: chunked",
        "--header",
        "Content-Type: application/octet-stream",
    ]);
    run_failing(streamed.args(["--data-binary", &data, &location]));

    let offset = |server: &TestServer| -> usize {
        let status = curl(server, &[&location]);
        assert!(status.contains(" 204 "), "{status}");
        let range = header(&status, "Range").expect("a range");
        range.split_once('-').and_then(|(_, end)| end.parse::<usize>().ok()).expect("a range") + 1
    };
    let reached = offset(&server);
    assert!(reached > 1 && reached < content.len(), "{reached}");
    server.kill9();
    server.restart();
    let kept = offset(&server);
    assert_eq!(kept, reached, "what the server has said stays true");
    let data = write(server.scratch(), "rest", &content[kept..]);
    let sent = curl(
        &server,
        &[
            "--request",
            "PATCH",
            "--header",
            "Content-Type: application/octet-stream",
            "--header",
            &format!("Content-Range: {kept}-{}", content.len() - 1),
            "--data-binary",
            &data,
            &location,
        ],
    );
    assert!(sent.contains(" 202 "), "{sent}");
    let location = absolute(&server, &header(&sent, "Location").expect("a location"));
    let separator = if location.contains('?') { '&' } else { '?' };
    let done =
        curl(&server, &["--request", "PUT", &format!("{location}{separator}digest={digest}")]);
    assert!(done.contains(" 201 "), "{done}");
    assert_eq!(server.registry().blob("team/cut", &digest).expect("the blob"), content);
}

#[test]
fn content_that_is_not_that_of_its_digest_is_refused() {
    let server = TestServer::start();
    let begin = curl(
        &server,
        &["--request", "POST", &format!("{}/v2/team/wrong/blobs/uploads/", server.url())],
    );
    let location = absolute(&server, &header(&begin, "Location").expect("a location"));
    let separator = if location.contains('?') { '&' } else { '?' };
    let promised = sha256(b"promised");
    let put = curl(
        &server,
        &[
            "--request",
            "PUT",
            "--header",
            "Content-Type: application/octet-stream",
            "--data-binary",
            "sent",
            &format!("{location}{separator}digest={promised}"),
        ],
    );
    assert!(put.contains(" 400 ") && put.contains("DIGEST_INVALID"), "{put}");
    assert!(server.registry().blob("team/wrong", &promised).is_none());
    assert!(server.registry().blob("team/wrong", &sha256(b"sent")).is_none());

    // A manifest that names what is not here is refused too.
    let mut layout = Layout::create(&server.scratch().join("missing"));
    let tar = berth_testkit::image::Archive::new().file("missing", b"layer").finish();
    let image = layout.add(&Image::new(vec![Layer { tar, compression: Compression::Gzip }]));
    let refused = server
        .registry()
        .push_manifest("team/wrong", "v1", &image.media_type, &layout.blob(&image.digest))
        .expect_err("its layer was never pushed");
    assert!(refused.contains("404") || refused.contains("400"), "{refused}");
    assert!(refused.contains("MANIFEST_BLOB_UNKNOWN"), "{refused}");
}
