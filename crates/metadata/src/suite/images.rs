//! Blobs, manifests, tags, uploads.

use berth_types::Tag;

use super::places::{Place, blob, digest, linked_blob, manifest, repository};
use crate::tables::blob::{self as blobs, Blob, Linked};
use crate::tables::manifest::{self as manifests, Manifest, ManifestReference, ReferenceKind};
use crate::tables::object_removal as removals;
use crate::tables::referrer::{self, Referring};
use crate::tables::repository as repositories;
use crate::tables::tag as tags;
use crate::tables::upload::{self as uploads, Upload};
use crate::{Page, Session};

fn tag(text: &str) -> Tag {
    text.parse().expect("a tag")
}

pub(crate) async fn blobs_and_links(place: &Place) {
    place.furnish().await;
    let mut session = place.begin().await;
    let first = blob("bytes");
    assert!(blobs::insert(&mut session, &first).await.expect("insert"));
    let mut second = first.clone();
    second.storage_key = "another copy".into();
    assert!(!blobs::insert(&mut session, &second).await.expect("insert"));
    assert_eq!(blobs::find(&mut session, &first.digest).await.expect("find"), Some(first.clone()));
    assert!(blobs::is_key_used(&mut session, &first.storage_key).await.expect("used"));
    assert!(!blobs::is_key_used(&mut session, "another copy").await.expect("used"));

    let in_repo = blobs::find_in_repo(&mut session, "crr-1", &first.digest).await.expect("find");
    assert_eq!(in_repo, None, "not linked, not served");
    for (review_after, expected) in [(50, Linked::New), (60, Linked::Again), (30, Linked::Again)] {
        let linked = blobs::link(&mut session, "crr-1", &first.digest, 5, review_after).await;
        assert_eq!(linked.expect("link"), expected);
    }
    assert!(blobs::is_linked(&mut session, "crr-1", &first.digest).await.expect("linked"));
    assert!(!blobs::is_linked(&mut session, "crr-2", &first.digest).await.expect("linked"));
    let in_repo = blobs::find_in_repo(&mut session, "crr-1", &first.digest).await.expect("find");
    let served = Blob { review_after: Some(60), ..first.clone() };
    assert_eq!(in_repo, Some(served), "the link's review, which never comes nearer");
    assert!(blobs::lease(&mut session, "crr-1", &first.digest, 70).await.expect("lease"));
    assert!(!blobs::lease(&mut session, "crr-1", &first.digest, 70).await.expect("lease"));
    assert!(blobs::unlink(&mut session, "crr-1", &first.digest, 300).await.expect("unlink"));
    assert!(!blobs::unlink(&mut session, "crr-1", &first.digest, 300).await.expect("unlink"));
    let unlinked = blobs::find(&mut session, &first.digest).await.expect("find");
    assert_eq!(unlinked.and_then(|blob| blob.review_after), Some(300));
    assert!(blobs::delete(&mut session, &first.digest).await.expect("delete"));
    assert!(!blobs::delete(&mut session, &first.digest).await.expect("delete"));
    session.commit().await.expect("commit");

    let mut session = place.begin().await;
    let linked = blobs::link(&mut session, "crr-1", &digest("never pushed"), 5, 50).await;
    assert_eq!(linked.expect("link"), Linked::NoBlob);
    blobs::insert(&mut session, &first).await.expect("insert");
    let linked = blobs::link(&mut session, "crr-9", &first.digest, 5, 50).await;
    assert!(linked.expect_err("no such repository").is_conflict());
}

pub(crate) async fn damaged_blobs_are_absent(place: &Place) {
    place.furnish().await;
    let mut session = place.begin().await;
    let damaged = Blob { damaged_at: Some(7), ..blob("bytes") };
    assert!(blobs::insert(&mut session, &damaged).await.expect("insert"));
    let linked = blobs::link(&mut session, "crr-1", &damaged.digest, 5, 50).await;
    assert_eq!(linked.expect("link"), Linked::NoBlob);
    let new = Blob { storage_key: "new".into(), stamp: Some("s".into()), ..blob("bytes") };
    let old = damaged.storage_key.as_str();
    assert!(!blobs::replace(&mut session, &new, "another key").await.expect("replace"));
    assert!(blobs::replace(&mut session, &new, old).await.expect("replace"));
    let linked = blobs::link(&mut session, "crr-1", &damaged.digest, 5, 50).await;
    assert_eq!(linked.expect("link"), Linked::New);
    let served = blobs::find_in_repo(&mut session, "crr-1", &new.digest).await.expect("find");
    assert_eq!(served, Some(Blob { review_after: Some(50), ..new }));
}

pub(crate) async fn an_object_on_its_way_out_is_nobodys(place: &Place) {
    let mut session = place.begin().await;
    let blob = blob("bytes");
    removals::hold(&mut session, &blob.storage_key).await.expect("hold");
    assert!(removals::insert(&mut session, &blob.storage_key, 5).await.expect("insert"));
    assert!(!removals::insert(&mut session, &blob.storage_key, 6).await.expect("insert"));
    assert!(!blobs::insert(&mut session, &blob).await.expect("insert"));
    assert_eq!(blobs::find(&mut session, &blob.digest).await.expect("find"), None);
    let listed = removals::list(&mut session, "", 9).await.expect("list");
    let keys: Vec<_> =
        listed.iter().map(|row| (row.storage_key.as_str(), row.created_at)).collect();
    assert_eq!(keys, [("key of bytes", 5)]);
    removals::delete(&mut session, &blob.storage_key).await.expect("delete");
    assert!(!removals::exists(&mut session, &blob.storage_key).await.expect("exists"));
    assert!(blobs::insert(&mut session, &blob).await.expect("insert"));
}

pub(crate) async fn manifests_and_referrers(place: &Place) {
    place.furnish().await;
    let mut session = place.begin().await;
    let image = manifest("image", None);
    let reference = |child: &str, kind| ManifestReference { child: digest(child), kind };
    let references = [
        reference("config", ReferenceKind::Config),
        reference("layer", ReferenceKind::Layer),
        // A layer twice in one image.
        reference("layer", ReferenceKind::Layer),
    ];
    assert!(manifests::insert(&mut session, &image, &references).await.expect("insert"));
    assert!(!manifests::insert(&mut session, &image, &references).await.expect("insert"));
    let found = manifests::find(&mut session, "crr-1", &image.digest).await.expect("find");
    assert_eq!(found.as_ref(), Some(&image));
    assert!(manifests::exists(&mut session, "crr-1", &image.digest).await.expect("exists"));
    assert!(!manifests::exists(&mut session, "crr-1", &digest("x")).await.expect("exists"));
    let named = manifests::references(&mut session, "crr-1", &image.digest).await.expect("named");
    assert_eq!(named, references[..2]);

    let mut signatures: Vec<_> =
        ["one", "two", "three"].iter().map(|content| manifest(content, Some("image"))).collect();
    for signature in &mut signatures {
        signature.artifact_type = Some("application/vnd.example".into());
        signature.config_digest = None;
        manifests::insert(&mut session, signature, &[]).await.expect("insert");
    }
    signatures.sort_by(|a, b| a.digest.cmp(&b.digest));
    let subject = digest("image");
    let referring =
        Referring { repo_id: "crr-1", subject: &subject, artifact_type: None, after: None };
    let sizes = referrer::sizes(&mut session, referring, 2).await.expect("sizes");
    let expected = signatures.iter().map(|one| (one.digest.clone(), one.content.len() as i64));
    assert_eq!(sizes, expected.take(2).collect::<Vec<_>>());
    let until = |after, last| (Referring { after, ..referring }, last);
    for (asked, from, to) in [
        (until(None, &signatures[1].digest), 0, 2),
        (until(Some(&signatures[1].digest), &signatures[2].digest), 2, 3),
    ] {
        let found = referrer::until(&mut session, asked.0, asked.1).await.expect("referrers");
        let found: Vec<_> = found.into_iter().map(|one| (one.digest, one.content)).collect();
        let expected = signatures[from..to].iter();
        let expected: Vec<_> =
            expected.map(|one| (one.digest.clone(), one.content.clone())).collect();
        assert_eq!(found, expected);
    }
    for (artifact_type, count) in [("application/vnd.example", 3), ("application/vnd.other", 0)] {
        let asked = Referring { artifact_type: Some(artifact_type), ..referring };
        assert_eq!(referrer::sizes(&mut session, asked, 9).await.expect("sizes").len(), count);
    }

    let index = manifest("index", None);
    let child = [ManifestReference { child: digest("image"), kind: ReferenceKind::Manifest }];
    manifests::insert(&mut session, &index, &child).await.expect("insert");
    let parents = manifests::parents(&mut session, "crr-1", &digest("image"), 9).await;
    assert_eq!(parents.expect("parents"), [index.digest]);
    assert_eq!(manifests::count(&mut session, "crr-1").await.expect("count"), 5);
    assert!(manifests::delete(&mut session, "crr-1", &image.digest, 900).await.expect("delete"));
    assert!(!manifests::delete(&mut session, "crr-1", &image.digest, 900).await.expect("delete"));
    let orphan = manifests::find(&mut session, "crr-1", &signatures[0].digest).await.expect("find");
    assert_eq!(orphan.and_then(|referrer| referrer.review_after), Some(900));
    let named = manifests::references(&mut session, "crr-1", &image.digest).await.expect("named");
    assert_eq!(named, []);
}

pub(crate) async fn tags(place: &Place) {
    place.furnish().await;
    let mut session = place.begin().await;
    let (one, two) = (manifest("one", None), manifest("two", None));
    for manifest in [&one, &two] {
        manifests::insert(&mut session, manifest, &[]).await.expect("insert");
    }
    for (number, name) in ["v1", "V1", "1", "_", "v1_accelerated"].into_iter().enumerate() {
        let derived = name.strip_suffix("_accelerated");
        let now = 100 + number as i64;
        let set =
            tags::upsert(&mut session, "crr-1", &tag(name), &one.digest, derived, now, 0).await;
        set.expect("upsert");
    }
    let listed = tags::list(&mut session, "crr-1", None, 100).await.expect("list");
    assert_eq!(listed, ["1", "V1", "_", "v1", "v1_accelerated"].map(tag));
    let listed = tags::list(&mut session, "crr-1", Some("V1"), 2).await.expect("list");
    assert_eq!(listed, ["_", "v1"].map(tag));
    let listed = tags::list(&mut session, "crr-1", Some("W"), 0).await.expect("list");
    assert_eq!(listed, []);

    let moved = tags::upsert(&mut session, "crr-1", &tag("v1"), &two.digest, None, 500, 600).await;
    moved.expect("upsert");
    let review = async |session: &mut Session, manifest: &Manifest| {
        let found = manifests::find(session, "crr-1", &manifest.digest).await.expect("find");
        found.and_then(|found| found.review_after)
    };
    assert_eq!(review(&mut session, &one).await, Some(600));
    assert_eq!(review(&mut session, &two).await, two.review_after);
    let row = tags::find(&mut session, "crr-1", &tag("v1")).await.expect("find").expect("the tag");
    assert_eq!((&row.digest, row.created_at, row.updated_at), (&two.digest, 100, 500));
    let at = manifests::find_by_tag(&mut session, "crr-1", &tag("v1")).await.expect("find");
    assert_eq!(at, Some(two.clone()));
    let none = manifests::find_by_tag(&mut session, "crr-1", &tag("v2")).await.expect("find");
    assert_eq!(none, None);

    let (page, total) = tags::page(&mut session, "crr-1", Page::new(1, 2)).await.expect("page");
    assert_eq!(total, 5);
    let names: Vec<_> = page.iter().map(|detail| detail.tag.name.as_str()).collect();
    assert_eq!(names, ["v1", "v1_accelerated"]);
    assert_eq!(page[1].tag.derived_from.as_deref(), Some("v1"));
    assert_eq!((page[0].image_size, page[0].layer_count), (5_000_000_000, 3));
    let detail = tags::find_detail(&mut session, "crr-1", &tag("v1")).await.expect("find");
    assert_eq!(detail.as_ref(), page.first());

    let of_one = tags::by_digest(&mut session, "crr-1", &one.digest).await.expect("by digest");
    assert_eq!(of_one.len(), 4);
    assert!(tags::delete(&mut session, "crr-1", &tag("V1"), 700).await.expect("delete"));
    assert!(!tags::delete(&mut session, "crr-1", &tag("V1"), 700).await.expect("delete"));
    assert_eq!(review(&mut session, &one).await, Some(700));
    let gone = tags::delete_by_digest(&mut session, "crr-1", &one.digest).await.expect("delete");
    assert_eq!(gone, 3);
    assert_eq!(tags::count(&mut session, "crr-1").await.expect("count"), 1);
}

fn upload(id: &str, updated_at: i64) -> Upload {
    Upload {
        upload_id: id.into(),
        repo_id: "crr-1".into(),
        principal: "1:root".into(),
        partial: "{}".into(),
        received: 0,
        hash_state: vec![1, 2],
        created_at: 1,
        updated_at,
    }
}

pub(crate) async fn uploads(place: &Place) {
    place.furnish().await;
    let mut session = place.begin().await;
    let mut row = upload("u1", 10);
    uploads::insert(&mut session, &row).await.expect("insert");
    uploads::insert(&mut session, &upload("u2", 20)).await.expect("insert");
    row.received = 6_000_000_000;
    row.partial = "{\"more\":true}".into();
    row.hash_state = vec![3];
    row.updated_at = 30;
    assert!(uploads::update(&mut session, &row, 10).await.expect("update"));
    let mut late = row.clone();
    late.received = 5;
    assert!(!uploads::update(&mut session, &late, 10).await.expect("update"), "it has moved on");
    assert_eq!(uploads::find(&mut session, "u1").await.expect("find"), Some(row.clone()));

    let all = uploads::by_repository(&mut session, "crr-1", 9).await.expect("by repository");
    assert_eq!(all.len(), 2);
    let stale = uploads::delete_stale(&mut session, 30, 9).await.expect("delete");
    assert_eq!(stale, [upload("u2", 20)]);
    assert_eq!(uploads::find(&mut session, "u2").await.expect("find"), None);
    assert!(blobs::is_key_used(&mut session, "more").await.expect("used"), "by the upload");
    assert!(!uploads::delete(&mut session, &upload("u1", 10)).await.expect("delete"), "it moved");
    assert!(uploads::delete(&mut session, &row).await.expect("delete"));
    assert!(!uploads::delete(&mut session, &row).await.expect("delete"));
    assert!(!uploads::update(&mut session, &row, row.updated_at).await.expect("update"));
    assert!(!blobs::is_key_used(&mut session, "more").await.expect("used"));
}

pub(crate) async fn a_deleted_repository_takes_its_own_along(place: &Place) {
    place.furnish().await;
    let mut session = place.begin().await;
    repositories::insert(&mut session, &repository("crr-2", "ns", "two")).await.expect("insert");
    linked_blob(&mut session, "crr-1", "shared").await;
    let linked = blobs::link(&mut session, "crr-2", &digest("shared"), 5, 50).await;
    assert_eq!(linked.expect("link"), Linked::New);
    let image = manifest("image", None);
    let layer = [ManifestReference { child: digest("shared"), kind: ReferenceKind::Layer }];
    manifests::insert(&mut session, &image, &layer).await.expect("insert");
    tags::upsert(&mut session, "crr-1", &tag("v1"), &image.digest, None, 1, 1).await.expect("tag");
    uploads::insert(&mut session, &upload("u1", 10)).await.expect("insert");

    assert!(repositories::delete(&mut session, "crr-1", 900).await.expect("delete"));
    assert_eq!(tags::count(&mut session, "crr-1").await.expect("count"), 0);
    assert_eq!(manifests::count(&mut session, "crr-1").await.expect("count"), 0);
    assert_eq!(uploads::find(&mut session, "u1").await.expect("find"), None);
    assert!(!blobs::is_linked(&mut session, "crr-1", &digest("shared")).await.expect("linked"));
    assert!(blobs::is_linked(&mut session, "crr-2", &digest("shared")).await.expect("linked"));
    let shared = blobs::find(&mut session, &digest("shared")).await.expect("find");
    assert_eq!(shared.and_then(|blob| blob.review_after), Some(900));
}
