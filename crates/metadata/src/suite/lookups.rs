//! What is found by the names that clients know.

use berth_types::{Digest, Tag};

use super::places::{Place, digest, linked_blob, manifest, name};
use crate::tables::lookup::{self, Located};
use crate::tables::{manifest as manifests, scrub, tag};

fn content<T>(found: Option<Located<T>>) -> Option<Option<T>> {
    found.map(|found| {
        assert_eq!((found.repo_id.as_str(), found.repo_type.as_str()), ("crr-1", "PRIVATE"));
        found.content
    })
}

pub(crate) async fn one_statement_finds_repository_and_content(place: &Place) {
    place.furnish().await;
    let (v1, v2): (Tag, Tag) = ("v1".parse().expect("tag"), "v2".parse().expect("tag"));
    let row = manifest("{}", None);
    let mut session = place.begin().await;
    linked_blob(&mut session, "crr-1", "layer").await;
    manifests::insert(&mut session, &row, &[]).await.expect("manifest");
    tag::upsert(&mut session, "crr-1", &v1, &row.digest, None, 1, 1).await.expect("tag");
    session.commit().await.expect("commit");

    let mut session = place.read().await;
    for (instance, repository, known) in
        [("cri-1", "ns/app", true), ("cri-1", "ns/none", false), ("cri-2", "ns/app", false)]
    {
        let repository = name(repository);
        let found = lookup::manifest_by_tag(&mut session, instance, &repository, &v1).await;
        let found = content(found.expect("lookup"));
        assert_eq!(found.is_some(), known, "{instance} {repository}");
        if let Some(head) = found {
            let head = head.expect("the manifest");
            assert_eq!((&head.digest, &head.media_type), (&row.digest, &row.media_type));
            assert_eq!(head.review_after, row.review_after);
        }
        let found = lookup::manifest_by_tag(&mut session, instance, &repository, &v2).await;
        assert_eq!(content(found.expect("lookup")), known.then_some(None));
        for (digest, there) in [(&row.digest, true), (&Digest::sha256(b"?"), false)] {
            let found = lookup::manifest_by_digest(&mut session, instance, &repository, digest);
            let found = content(found.await.expect("lookup"));
            assert_eq!(found.map(|head| head.is_some()), known.then_some(there));
        }
        for (of, there) in [("layer", true), ("other", false)] {
            let found = lookup::blob(&mut session, instance, &repository, &digest(of)).await;
            let found = content(found.expect("lookup"));
            let key = found.map(|blob| blob.map(|blob| blob.storage_key));
            assert_eq!(key, known.then(|| there.then(|| format!("key of {of}"))));
        }
    }
    drop(session);

    let mut session = place.begin().await;
    scrub::set_damaged(&mut session, &digest("layer"), "key of layer", 9).await.expect("damaged");
    session.commit().await.expect("commit");
    let mut session = place.read().await;
    let found = lookup::blob(&mut session, "cri-1", &name("ns/app"), &digest("layer")).await;
    assert_eq!(content(found.expect("lookup")), Some(None), "in quarantine");
}
