//! curl: the protocol by hand, in pieces, broken off and wrong.

use berth_testkit::image::{Archive, Compression, Image, Layer, Layout};
use berth_testkit::process::{output, run, run_failing};
use berth_testkit::registry::sha256;
use berth_testkit::server::TestServer;
use berth_tests::source;
use std::path::Path;
use std::process::Command;

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
        output(&mut command).stdout
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
    let tar = Archive::new().file("missing", b"layer").finish();
    let image = layout.add(&Image::new(vec![Layer { tar, compression: Compression::Gzip }]));
    let refused = server
        .registry()
        .push_manifest("team/wrong", "v1", &image.media_type, &layout.blob(&image.digest))
        .expect_err("its layer was never pushed");
    let refused = refused.to_string();
    assert!(refused.contains("404") || refused.contains("400"), "{refused}");
    assert!(refused.contains("MANIFEST_BLOB_UNKNOWN"), "{refused}");
}
