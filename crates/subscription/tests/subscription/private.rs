//! Who may read what is here: nobody comes to a blob by knowing its digest (ADR 16).

use berth_artifacts::{NewNamespace, NewRepository, RepoType};
use berth_metadata::tables::instance;
use berth_oci::media_type;
use berth_types::Digest;
use bytes::Bytes;
use futures::stream;

use crate::odd::Odd;
use berth_testbed::on_both_engines;

use crate::support::{INSTANCE, Target};

on_both_engines!(
    a_private_blob_is_not_shown_to_an_upstream_that_names_its_digest,
    what_a_registry_delivered_is_linked_when_it_has_it_still,
    another_registry_delivers_for_itself,
    another_instance_is_delivered_to_for_itself,
);

const LOOPBACK: &[&str] = &["127.0.0.0/8"];
const OTHER: &str = "cri-bbbbbbbbbbbbbbbb";

async fn a_private_blob_is_not_shown_to_an_upstream_that_names_its_digest(place: Target) {
    let secret = b"the keys to everything".to_vec();
    let digest = Digest::sha256(&secret);
    let private = place.repository("private").await;
    let body = stream::iter([Ok::<_, std::io::Error>(Bytes::from(secret.clone()))]);
    let blobs = place.artifacts.blobs();
    blobs.put(&place.ctx, &private, &digest, None, body).await.expect("private blob");

    let upstream = Odd::start().await;
    let stolen = upstream.claim(media_type::OCI_LAYER, &digest, secret.len());
    let (image, _) = upstream.image_of("linux/amd64", &stolen);
    upstream.tag("v1", &image);
    let subscription = place.subscription(LOOPBACK);
    let _worker = place.worker(&subscription);
    let rule = subscription.create_rule(&place.ctx, INSTANCE, upstream.rule(".*", 5)).await;
    let rule = rule.expect("rule");
    // Also not once the registry has delivered something else to the instance.
    for run in 0..2 {
        if run == 1 {
            let (honest, _) = upstream.image("linux/amd64", b"honest");
            upstream.tag("v2", &honest);
        }
        let ended = place.run(&subscription, &rule).await;
        let row = ended.row("v1");
        assert_eq!(row.result.as_deref(), Some("FAILED"), "{ended:?}");
        let reason = format!("blob {digest} not found at source");
        assert!(row.message.as_ref().is_some_and(|text| text.contains(&reason)), "{ended:?}");
        let shown = blobs.stat(&place.target.repo_id, &digest).await.expect("stat");
        assert_eq!(shown, None);
    }
    assert!(place.pulled(&place.target, "v2").await.is_some());
    assert_eq!(place.pulled(&place.target, "v1").await, None);
}

/// What a run asked of blobs.
fn blobs_asked(upstream: &Odd) -> (usize, usize) {
    let asked = upstream.asked();
    let count = |part: &str| asked.iter().filter(|one| one.starts_with(part)).count();
    (count("HEAD blobs/"), count("GET blobs/"))
}

async fn what_a_registry_delivered_is_linked_when_it_has_it_still(place: Target) {
    let upstream = Odd::start().await;
    let (image, _) = upstream.image("linux/amd64", b"layer");
    upstream.tag("v1", &image);
    let subscription = place.subscription(LOOPBACK);
    let _worker = place.worker(&subscription);
    let rule = subscription.create_rule(&place.ctx, INSTANCE, upstream.rule(".*", 1)).await;
    let first = place.run(&subscription, &rule.expect("rule")).await;
    assert!(first.logged("2 blobs of"), "{first:?}");
    assert_eq!(blobs_asked(&upstream), (0, 2));

    let other = place.repository("other").await;
    let mut rule = upstream.rule(".*", 1);
    rule.repo_name = "other".to_owned();
    let rule = subscription.create_rule(&place.ctx, INSTANCE, rule).await.expect("rule");
    let second = place.run(&subscription, &rule).await;
    assert_eq!(second.said(), ("SUCCESS", "success"), "{second:?}");
    assert!(second.logged("0 blobs of 0 bytes downloaded, 2 blobs present"), "{second:?}");
    assert_eq!(blobs_asked(&upstream), (2, 0));
    assert!(place.pulled(&other, "v1").await.is_some());

    // What it no longer has there, it no longer shows that it may give.
    place.repository("third").await;
    let mut rule = upstream.rule(".*", 1);
    rule.repo_name = "third".to_owned();
    let rule = subscription.create_rule(&place.ctx, INSTANCE, rule).await.expect("rule");
    upstream.lose(b"layer");
    let third = place.run(&subscription, &rule).await;
    assert_eq!(third.said().0, "FAILED", "{third:?}");
}

async fn another_registry_delivers_for_itself(place: Target) {
    let (first, second) = (Odd::start().await, Odd::start().await);
    let subscription = place.subscription(LOOPBACK);
    let _worker = place.worker(&subscription);
    place.repository("other").await;
    for (upstream, repository) in [(&first, "app"), (&second, "other")] {
        let (image, _) = upstream.image("linux/amd64", b"layer");
        upstream.tag("v1", &image);
        let mut rule = upstream.rule(".*", 1);
        rule.repo_name = repository.to_owned();
        let rule = subscription.create_rule(&place.ctx, INSTANCE, rule).await.expect("rule");
        let ended = place.run(&subscription, &rule).await;
        assert_eq!(ended.said(), ("SUCCESS", "success"), "{ended:?}");
        assert_eq!(blobs_asked(upstream), (0, 2), "{repository}");
    }
}

async fn another_instance_is_delivered_to_for_itself(place: Target) {
    let upstream = Odd::start().await;
    let (image, _) = upstream.image("linux/amd64", b"layer");
    upstream.tag("v1", &image);
    let subscription = place.subscription(LOOPBACK);
    let _worker = place.worker(&subscription);
    let mut session = place.db.begin().await.expect("begin");
    let row = instance::find(&mut session, INSTANCE).await.expect("find").expect("instance");
    let row = instance::Instance { instance_id: OTHER.into(), name: "other".into(), ..row };
    instance::insert(&mut session, &row).await.expect("instance");
    session.commit().await.expect("commit");
    let namespace = NewNamespace {
        name: "team".to_owned(),
        auto_create_repo: false,
        default_repo_type: RepoType::Private,
        default_tag_immutability: false,
        build_rule_parameters: None,
    };
    place.artifacts.namespaces().create(&place.ctx, OTHER, namespace).await.expect("namespace");
    let repository = NewRepository {
        namespace_name: "team".to_owned(),
        name: "app".to_owned(),
        ..NewRepository::default()
    };
    place.artifacts.repositories().create(&place.ctx, OTHER, repository).await.expect("repository");
    for instance_id in [INSTANCE, OTHER] {
        let rule = subscription.create_rule(&place.ctx, instance_id, upstream.rule(".*", 1)).await;
        let rule = rule.expect("rule");
        let task = subscription.create_task(&place.ctx, instance_id, &rule).await.expect("task");
        let ended = place.end_in(&subscription, instance_id, &task).await;
        assert_eq!(ended.said(), ("SUCCESS", "success"), "{ended:?}");
        assert_eq!(blobs_asked(&upstream), (0, 2), "{instance_id}");
    }
}
