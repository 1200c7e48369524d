//! Uploads that survive: lost clients, killed servers, another server, rivals, and nobody at all.

use berth_testkit::registry::{Registry, sha256};
use berth_testkit::upload::Upload;
use berth_tests::places::Place;
use berth_tests::source::random_bytes;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

/// No collector while the story is told.
const NO_GC: &str = "[gc]\ninterval = 0\n";

/// Ends a session and reads the blob back.
fn end(upload: &Upload, registry: &Registry, repository: &str, content: &[u8], sent: usize) {
    let digest = sha256(content);
    let rest = content.get(sent..).expect("bytes left");
    let answer = upload.put(&digest, Some(sent as u64), rest).expect("an answer");
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(registry.blob(repository, &digest).expect("a blob").len(), content.len());
    assert_eq!(upload.status().expect("an answer").status, 404);
}

/// The offset once it stays where it is.
fn settled_offset(upload: &Upload) -> u64 {
    let (mut last, mut since) = (None, Instant::now());
    loop {
        let now = upload.status().expect("an answer");
        assert_eq!(now.status, 204, "{}", now.body);
        if last != now.received {
            (last, since) = (now.received, Instant::now());
        } else if since.elapsed() > Duration::from_secs(1) {
            return now.received.expect("a range");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_session_belongs_to_its_repository_and_its_caller() {
    for place in Place::all(NO_GC) {
        let registry = place.registry();
        let elsewhere = registry.push_blob("app/two", b"so that it exists").expect("a push");
        let content = random_bytes(100);
        let upload = Upload::start(&registry, "app/one").expect("a session");
        assert_eq!(upload.patch(Some(0), &content[..50]).expect("an answer").status, 202);
        let digest = sha256(&content);
        let every_way = |upload: &Upload| {
            [
                upload.status(),
                upload.patch(Some(50), b"more"),
                upload.put(&digest, Some(50), &content[50..]),
                upload.cancel(),
            ]
            .map(|answer| answer.expect("an answer"))
        };
        for answer in every_way(&upload.in_repository("app/two")) {
            assert_eq!((answer.status, &*answer.code), (404, "BLOB_UPLOAD_UNKNOWN"));
        }
        for answer in every_way(&upload.in_repository("app/nowhere")) {
            assert_eq!(answer.status, 404, "{}", answer.body);
        }
        for answer in every_way(&upload.at(&Registry::anonymous(&place.servers[0].url()))) {
            assert_eq!(answer.status, 401, "{}", answer.body);
        }
        let wrong = upload.patch(Some(49), b"more").expect("an answer");
        assert_eq!((wrong.status, wrong.received), (416, Some(50)));
        end(&upload, &registry, "app/one", &content, 50);
        assert!(registry.blob("app/two", &digest).is_none());
        assert!(registry.blob("app/two", &elsewhere).is_some());
        place.assert_nothing_refused();
    }
}

#[test]
fn a_client_that_went_away_comes_back() {
    for place in Place::all(NO_GC) {
        let registry = place.registry();
        let content = random_bytes(30 * MIB);
        let digest = sha256(&content);
        let upload = Upload::start(&registry, "app/lost").expect("a session");
        let first = upload.patch(Some(0), &content[..1_000_001]).expect("an answer");
        assert_eq!((first.status, first.received), (202, Some(1_000_001)));
        // Away in the middle of a chunk: what came of it is kept.
        upload.patch_and_leave(29_000_000, &content[1_000_001..12 * MIB]);
        let kept = settled_offset(&upload) as usize;
        assert!((1_000_001..=12 * MIB).contains(&kept), "{kept}");
        // And in the middle of the request that ends the session, at the other server.
        let other = upload.at(&place.registry_of_turn(1));
        other.put_and_leave(&digest, (content.len() - kept) as u64, &content[kept..20 * MIB]);
        let kept_of_put = settled_offset(&upload) as usize;
        assert!((kept..=20 * MIB).contains(&kept_of_put), "{kept_of_put}");
        assert!(registry.blob("app/lost", &digest).is_none(), "nothing has ended");
        end(&upload, &registry, "app/lost", &content, kept_of_put);
        place.assert_nothing_refused();
    }
}

#[test]
fn a_killed_server_takes_up_every_chunk_that_it_acknowledged() {
    for mut place in Place::all(NO_GC) {
        let registry = place.registry();
        // Smaller and larger than a part of the store, one byte, and many.
        let chunks = [4 * MIB, 1, 9 * MIB, 20 * MIB, 12_345];
        let content = random_bytes(chunks.iter().sum::<usize>() + 5_000_000);
        let upload = Upload::start(&registry, "app/killed").expect("a session");
        let mut sent = 0;
        for size in chunks {
            let answer = upload.patch(Some(sent as u64), &content[sent..sent + size]);
            let answer = answer.expect("an answer");
            sent += size;
            assert_eq!((answer.status, answer.received), (202, Some(sent as u64)));
            // And some that it does not come to acknowledge.
            upload.patch_and_leave(50_000_000, &content[sent..sent + 3_000_000]);
            place.servers[0].kill9();
            place.servers[0].restart();
            let offset = settled_offset(&upload) as usize;
            assert!((sent..=sent + 3_000_000).contains(&offset), "{offset} of {sent}");
            sent = offset.min(content.len());
            if sent > content.len() - 5_000_000 {
                break;
            }
        }
        end(&upload, &registry, "app/killed", &content, sent);
        place.assert_nothing_refused();
    }
}

#[test]
fn two_servers_take_turns() {
    let mut place = Place::shared(NO_GC);
    let chunks = [1, MIB, 9 * MIB, 8 * MIB, 7 * MIB, 7 * MIB, 7 * MIB, 50_000_000, 3, MIB, MIB];
    let content = random_bytes(chunks.iter().sum());
    let upload = Upload::start(&place.registry(), "app/turns").expect("a session");
    let mut sent = 0;
    for (turn, size) in chunks.into_iter().enumerate() {
        if turn == 4 {
            place.servers[0].kill9();
            place.servers[0].restart();
        }
        let at = upload.at(&place.registry_of_turn(turn));
        assert_eq!(at.status().expect("an answer").status, 204);
        let answer = at.patch(Some(sent as u64), &content[sent..sent + size]);
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 202, "{}", answer.body);
        sent += size;
    }
    end(&upload.at(&place.registry_of_turn(1)), &place.registry(), "app/turns", &content, sent);
    assert_eq!(place.unfinished(), Vec::<String>::new());
    place.assert_nothing_refused();
}

#[test]
fn sixteen_clients_push_the_same_at_once() {
    for place in Place::all(NO_GC) {
        let content = random_bytes(9 * MIB);
        let digest = sha256(&content);
        std::thread::scope(|scope| {
            for client in 0..16 {
                let registry = place.registry_of_turn(client);
                let (content, digest) = (&content, &digest);
                scope.spawn(move || {
                    // Half of them into one repository, some in chunks.
                    let repository = format!("same/r{}", client % 8);
                    if client % 3 == 0 {
                        let upload = Upload::start(&registry, &repository).expect("a session");
                        let half = content.len() / 2;
                        let first = upload.patch(Some(0), &content[..half]).expect("an answer");
                        assert_eq!(first.status, 202, "{}", first.body);
                        end(&upload, &registry, &repository, content, half);
                    } else {
                        let pushed = registry.push_blob(&repository, content);
                        assert_eq!(pushed.as_ref().expect("a push"), digest);
                    }
                    assert!(registry.blob(&repository, digest).as_ref() == Some(content));
                });
            }
        });
        // Whoever came second threw its copy away.
        place.wait_nothing_but(vec![digest]);
        place.assert_nothing_refused();
    }
}

#[test]
fn of_two_that_write_to_one_session_one_goes_on() {
    for place in Place::all(NO_GC) {
        let registry = place.registry();
        let upload = Upload::start(&registry, "app/rivals").expect("a session");
        let mut content = random_bytes(9 * MIB);
        assert_eq!(upload.patch(Some(0), &content).expect("an answer").status, 202);
        for round in 0..6 {
            let size = [9 * MIB, 70_000, 17 * MIB][round % 3];
            let offset = content.len() as u64;
            let mine = [random_bytes(size), random_bytes(size + 1)];
            let answers: Vec<_> = std::thread::scope(|scope| {
                let patch = |turn: usize| {
                    let at = upload.at(&place.registry_of_turn(turn));
                    let bytes = &mine[turn];
                    scope.spawn(move || at.patch(Some(offset), bytes).expect("an answer"))
                };
                let running = [0, 1].map(patch);
                running.map(|one| one.join().expect("no panic")).into()
            });
            let taken: Vec<usize> = (0..2).filter(|one| answers[*one].status == 202).collect();
            assert!(taken.len() <= 1, "both were acknowledged: {answers:?}");
            for refused in (0..2).filter(|one| !taken.contains(one)) {
                let answer = &answers[refused];
                assert!([404, 416, 400].contains(&answer.status), "{answer:?}");
                assert_ne!(answer.status, 404, "the session is still there: {answer:?}");
            }
            if let Some(winner) = taken.first() {
                content.extend_from_slice(&mine[*winner]);
            }
            assert_eq!(settled_offset(&upload), content.len() as u64, "{answers:?}");
        }
        assert!(content.len() > 9 * MIB, "nobody ever came through");
        end(&upload, &registry, "app/rivals", &content, content.len());
        place.assert_nothing_refused();
    }
}

#[test]
fn a_cancelled_session_leaves_nothing() {
    for place in Place::all(NO_GC) {
        let registry = place.registry();
        for sizes in [&[][..], &[5], &[9 * MIB], &[9 * MIB, 1, MIB]] {
            let upload = Upload::start(&registry, "app/cancelled").expect("a session");
            let mut sent = 0;
            for (turn, size) in sizes.iter().enumerate() {
                let at = upload.at(&place.registry_of_turn(turn));
                let answer = at.patch(Some(sent), &random_bytes(*size)).expect("an answer");
                assert_eq!(answer.status, 202, "{}", answer.body);
                sent += *size as u64;
            }
            assert_eq!(upload.cancel().expect("an answer").status, 204);
            let again = upload.cancel().expect("an answer");
            assert_eq!((again.status, &*again.code), (404, "BLOB_UPLOAD_UNKNOWN"));
            assert_eq!(upload.patch(None, b"more").expect("an answer").status, 404);
            assert_eq!(place.unfinished(), Vec::<String>::new(), "{sizes:?}");
        }
        assert_eq!(place.objects(), Vec::<String>::new());
        place.assert_nothing_refused();
    }
}

#[test]
fn abandoned_sessions_go_with_their_bytes() {
    for mut place in Place::all(NO_GC) {
        let kept = place.registry().push_blob("app/kept", b"kept").expect("a push");
        let config = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
            "config":{{"mediaType":"a/b","digest":"{kept}","size":4}},"layers":[]}}"#
        );
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let pushed =
            place.registry().push_manifest("app/kept", "v1", media_type, config.as_bytes());
        pushed.expect("a push");
        let mut uploads = Vec::new();
        for sizes in [&[][..], &[5], &[9 * MIB], &[9 * MIB, 1, MIB]] {
            let upload = Upload::start(&place.registry(), "app/abandoned").expect("a session");
            let mut sent = 0;
            for size in sizes {
                let answer = upload.patch(Some(sent), &random_bytes(*size)).expect("an answer");
                assert_eq!(answer.status, 202, "{}", answer.body);
                sent += *size as u64;
            }
            uploads.push(upload);
        }
        // One more of which no row tells: its client and then its server went away.
        let upload = Upload::start(&place.registry(), "app/abandoned").expect("a session");
        upload.patch_and_leave(60_000_000, &random_bytes(20 * MIB));
        uploads.push(upload);
        assert!(!place.unfinished().is_empty());
        place.restart_with("[gc]\ninterval = 1\ngrace = 1\nupload_pause = 1\n");
        place.wait_nothing_but(vec![kept.clone()]);
        for upload in uploads {
            assert_eq!(upload.status().expect("an answer").status, 404);
        }
        assert_eq!(place.registry().blob("app/kept", &kept).as_deref(), Some(&b"kept"[..]));
        place.assert_nothing_refused();
    }
}
