//! A disk that fills up and is freed again: what the server says meanwhile, and that nothing which it
//! acknowledged is lost.

use berth_testkit::mount::Mounted;
use berth_testkit::process::wait_until;
use berth_testkit::registry::Registry;
use berth_testkit::server::TestServer;
use berth_testkit::upload::Upload;
use berth_tests::source;
use std::time::{Duration, Instant};

const DISK: u64 = 64 << 20;
const BALLAST: &str = "ballast";

/// A server whose database and blobs are on small file systems of their own, or on one.
struct Place {
    server: TestServer,
    database: Mounted,
    /// `None` when they are on the database's.
    blobs: Option<Mounted>,
}

impl Place {
    fn one_disk() -> Place {
        Place::new(Mounted::memory(DISK), None)
    }

    fn two_disks() -> Place {
        Place::new(Mounted::memory(DISK), Some(Mounted::memory(DISK)))
    }

    fn new(database: Mounted, blobs: Option<Mounted>) -> Place {
        let folder = blobs.as_ref().unwrap_or(&database).path().join("blobs");
        let config = format!(
            "[database]\nurl = \"sqlite:{}\"\n[storage]\nurl = \"file:{}\"\n",
            database.path().join("berth.db").display(),
            folder.display()
        );
        let server = TestServer::start_with(&config);
        Place { server, database, blobs }
    }

    fn blob_disk(&self) -> &Mounted {
        self.blobs.as_ref().unwrap_or(&self.database)
    }

    /// Status and body of `/readyz`.
    fn ready(&self) -> (u16, String) {
        let answer = Registry::anonymous(&self.server.url()).request("GET", "/readyz").send();
        let answer = answer.expect("the server answers");
        (answer.status().as_u16(), answer.text().expect("a body"))
    }

    fn wait_ready(&self, freed: Instant) {
        loop {
            let (status, body) = self.ready();
            if status == 200 {
                return;
            }
            assert!(freed.elapsed() < Duration::from_secs(5), "{body}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn a_full_blob_disk_answers_507_and_takes_pushes_again_when_it_is_freed() {
    for place in [Place::one_disk(), Place::two_disks()] {
        let registry = place.server.registry();
        let mut kept = Vec::new();
        for round in 0..3u8 {
            let repository = format!("full/round-{round}");
            let first = source::random_bytes(1 << 20);
            kept.push((
                repository.clone(),
                registry.push_blob(&repository, &first).expect("space"),
            ));
            place.blob_disk().fill(BALLAST);
            wait_until("readiness", Duration::from_secs(5), || {
                let (status, body) = place.ready();
                status == 503 && body.contains("\"storage\":\"full\"")
            });
            let refused = registry.push_blob(&repository, &source::random_bytes(4 << 20));
            let refused = refused.expect_err("there is no space for it");
            let refused = refused.to_string();
            assert!(refused.contains("507") && refused.contains("\"UNAVAILABLE\""), "{refused}");
            for (repository, digest) in &kept {
                assert!(registry.blob(repository, digest).is_some(), "{repository} lost {digest}");
            }
            place.blob_disk().free(BALLAST);
            let freed = Instant::now();
            let next = source::random_bytes(4 << 20);
            let next = registry.push_blob(&repository, &next).expect("there is space again");
            assert!(freed.elapsed() < Duration::from_secs(1), "{:?}", freed.elapsed());
            kept.push((repository, next));
            place.wait_ready(freed);
        }
        let Place { mut server, .. } = place;
        server.restart();
        for (repository, digest) in &kept {
            assert!(server.registry().blob(repository, digest).is_some(), "{digest} is lost");
        }
    }
}

#[test]
fn an_upload_that_meets_a_full_disk_goes_on_where_it_was_durable() {
    let place = Place::two_disks();
    let registry = place.server.registry();
    let (first, rest) = (source::random_bytes(3 << 20), source::random_bytes(5 << 20));
    let upload = Upload::start(&registry, "full/upload").expect("an upload");
    let taken = upload.patch(Some(0), &first).expect("an answer");
    assert_eq!(taken.status, 202, "{}", taken.body);
    place.blob_disk().fill(BALLAST);
    let offset = first.len() as u64;
    let refused = upload.patch(Some(offset), &rest).expect("an answer");
    assert_eq!((refused.status, &*refused.code), (507, "UNAVAILABLE"), "{}", refused.body);
    let status = upload.status().expect("an answer");
    assert_eq!((status.status, status.received), (204, Some(offset)), "{}", status.body);
    place.blob_disk().free(BALLAST);
    let taken = upload.patch(Some(offset), &rest).expect("an answer");
    assert_eq!(taken.status, 202, "{}", taken.body);
    let whole = [first, rest].concat();
    let digest = berth_testkit::registry::sha256(&whole);
    let done = upload.put(&digest, None, b"").expect("an answer");
    assert_eq!(done.status, 201, "{}", done.body);
    assert_eq!(registry.blob("full/upload", &digest).expect("the blob"), whole);
}

#[test]
fn a_full_database_disk_answers_507_and_takes_writes_again_when_it_is_freed() {
    let place = Place::two_disks();
    let api = place.server.api();
    let instance = place.server.credentials().instance_id.clone();
    let make = |name: &str| {
        let parameters = [("InstanceId", instance.as_str()), ("NamespaceName", name)];
        api.try_call("CreateNamespace", &parameters).expect("an answer")
    };
    let mut made = Vec::new();
    for round in 0..2 {
        place.database.fill(BALLAST);
        let refused = (0..20_000).find_map(|number| {
            let name = format!("full-{round}-{number}");
            let answer = make(&name);
            if answer.status == 200 {
                made.push(name);
                return None;
            }
            Some(answer)
        });
        let refused = refused.expect("the disk is full at last");
        assert_eq!(refused.status, 507, "{}", refused.body);
        assert_eq!(refused.body["Code"], "InsufficientStorage", "{}", refused.body);
        // A page may be left, which is enough for the probe.
        wait_until("readiness", Duration::from_secs(30), || {
            place.ready().1.contains("\"database\":\"full\"")
        });
        place.database.free(BALLAST);
        let freed = Instant::now();
        let name = format!("after-{round}");
        let again = make(&name);
        assert_eq!(again.status, 200, "{}", again.body);
        assert!(freed.elapsed() < Duration::from_secs(1), "{:?}", freed.elapsed());
        made.push(name);
        place.wait_ready(freed);
    }
    let Place { mut server, .. } = place;
    server.restart();
    let api = server.api();
    for name in &made {
        let parameters = [("InstanceId", instance.as_str()), ("NamespaceName", name.as_str())];
        let found = api.try_call("GetNamespace", &parameters).expect("an answer");
        assert_eq!(found.body["IsSuccess"], true, "{name} was acknowledged and is lost");
    }
}
