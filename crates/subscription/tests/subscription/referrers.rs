//! Signatures, SBOMs and attestations come along with their images.

use berth_artifacts::ReferrerFilter;
use berth_types::{Digest, Reference};

use crate::odd::Odd;
use berth_testbed::on_both_engines;

use crate::support::{INSTANCE, Target};

on_both_engines!(
    signatures_of_the_referrers_api_come_along,
    referrers_under_a_tag_come_along,
    tags_of_cosign_come_along_and_are_none_to_choose,
    a_rule_may_leave_referrers_out,
);

const LOOPBACK: &[&str] = &["127.0.0.0/8"];
const SIGNATURE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

async fn has(place: &Target, digest: &Digest) -> bool {
    let manifests = place.artifacts.manifests();
    manifests.exists(&place.target.repo_id, digest).await.expect("exists")
}

async fn signatures_of_the_referrers_api_come_along(place: Target) {
    let upstream = Odd::start().await;
    let (image, of_image) = upstream.image("linux/amd64", b"layer");
    upstream.tag("v1", &image);
    upstream.refer(&image, None);
    let subscription = place.subscription(LOOPBACK);
    let _worker = place.worker(&subscription);
    let rule = subscription.create_rule(&place.ctx, INSTANCE, upstream.rule(".*", 5)).await;
    let rule = rule.expect("rule");
    place.run(&subscription, &rule).await;

    // It is signed after it was copied, and its SBOM is signed in its turn.
    let subject = format!(r#","subject":{of_image}"#);
    let (signature, of_signature) = upstream.artifact(SIGNATURE, b"signature", &subject);
    let (sbom, of_sbom) = upstream.artifact("application/spdx+json", b"sbom", &subject);
    let subject = format!(r#","subject":{of_sbom}"#);
    let (signed_sbom, of_signed_sbom) = upstream.artifact(SIGNATURE, b"of the sbom", &subject);
    let (unrelated, of_unrelated) = upstream.artifact(SIGNATURE, b"of something else", "");
    upstream.refer(&image, Some(&of_signature));
    upstream.refer(&image, Some(&of_sbom));
    upstream.refer(&image, Some(&of_unrelated));
    upstream.refer(&sbom, Some(&of_signed_sbom));
    let ended = place.run(&subscription, &rule).await;
    assert_eq!(ended.said(), ("SUCCESS", "success"), "{ended:?}");
    let message = ended.row("v1").message.clone().unwrap_or_default();
    let expected = format!(
        "unchanged, 3 referrers copied, referrer not copied: {unrelated} does not refer to {image}"
    );
    assert_eq!(message, expected);
    for digest in [&signature, &sbom, &signed_sbom] {
        assert!(has(&place, digest).await, "{digest}");
    }
    assert!(!has(&place, &unrelated).await);
    let manifests = place.artifacts.manifests();
    let page = manifests
        .referrers(&place.target.repo_id, &image, ReferrerFilter::default())
        .await
        .expect("referrers");
    assert_eq!(page.referrers.len(), 2);
}

async fn referrers_under_a_tag_come_along(place: Target) {
    let upstream = Odd::start().await;
    let (image, of_image) = upstream.image("linux/amd64", b"layer");
    upstream.tag("v1", &image);
    let subject = format!(r#","subject":{of_image}"#);
    let (signature, of_signature) = upstream.artifact(SIGNATURE, b"signature", &subject);
    let (list, _) = upstream.index(&[of_signature]);
    upstream.tag(&format!("sha256-{}", image.hex()), &list);
    let subscription = place.subscription(LOOPBACK);
    let _worker = place.worker(&subscription);
    // With the list of tags, and without: the pattern spells the tag out.
    for (pattern, count) in [(".*", 5), ("v1", 1)] {
        let rule = upstream.rule(pattern, count);
        let rule = subscription.create_rule(&place.ctx, INSTANCE, rule).await.expect("rule");
        let ended = place.run(&subscription, &rule).await;
        assert_eq!(ended.said(), ("SUCCESS", "success"), "{ended:?}");
        assert_eq!(ended.tags(), ["v1"]);
        assert!(has(&place, &signature).await, "{pattern}: {ended:?}");
        let manifests = place.artifacts.manifests();
        manifests.delete(&place.ctx, &place.target, &image).await.expect("deleted");
        manifests.delete(&place.ctx, &place.target, &signature).await.expect("deleted");
    }
}

async fn tags_of_cosign_come_along_and_are_none_to_choose(place: Target) {
    let upstream = Odd::start().await;
    let (image, _) = upstream.image("linux/amd64", b"layer");
    upstream.tag("v1", &image);
    let tag = format!("sha256-{}.sig", image.hex());
    let (signature, _) = upstream.artifact("application/vnd.dev.cosign.simplesigning", b"1", "");
    upstream.tag(&tag, &signature);
    let subscription = place.subscription(LOOPBACK);
    let _worker = place.worker(&subscription);
    let rule = subscription.create_rule(&place.ctx, INSTANCE, upstream.rule(".*", 5)).await;
    let rule = rule.expect("rule");
    let ended = place.run(&subscription, &rule).await;
    assert_eq!(ended.said(), ("SUCCESS", "success"), "{ended:?}");
    assert_eq!((ended.tags(), ended.task.tag_total_count), (vec!["v1"], Some(2)));
    assert_eq!(place.pulled(&place.target, &tag).await, Some(signature));

    // Another signature moves the tag, though not the image's.
    let (signature, _) = upstream.artifact("application/vnd.dev.cosign.simplesigning", b"2", "");
    upstream.tag(&tag, &signature);
    let again = place.run(&subscription, &rule).await;
    let message = again.row("v1").message.as_deref();
    assert_eq!(message, Some("unchanged, 1 referrers copied"), "{again:?}");
    assert_eq!(place.pulled(&place.target, &tag).await, Some(signature));
    upstream.asked();
    let again = place.run(&subscription, &rule).await;
    assert_eq!(again.row("v1").message.as_deref(), Some("unchanged"), "{again:?}");
    let signature = format!("HEAD manifests/{tag}");
    assert_eq!(upstream.asked(), ["GET tags/list", "HEAD manifests/v1", &signature]);
}

async fn a_rule_may_leave_referrers_out(place: Target) {
    let upstream = Odd::start().await;
    let (image, of_image) = upstream.image("linux/amd64", b"layer");
    upstream.tag("v1", &image);
    let subject = format!(r#","subject":{of_image}"#);
    let (signature, of_signature) = upstream.artifact(SIGNATURE, b"signature", &subject);
    upstream.refer(&image, Some(&of_signature));
    let subscription = place.subscription(LOOPBACK);
    let _worker = place.worker(&subscription);
    let mut rule = upstream.rule(".*", 5);
    rule.referrers = Some(false);
    let rule = subscription.create_rule(&place.ctx, INSTANCE, rule).await.expect("rule");
    let ended = place.run(&subscription, &rule).await;
    assert_eq!(ended.said(), ("SUCCESS", "success"), "{ended:?}");
    assert!(!has(&place, &signature).await);
    assert!(!upstream.asked().iter().any(|one| one.contains("referrers")), "{ended:?}");
    let reference = Reference::Digest(image);
    let manifests = place.artifacts.manifests();
    assert!(manifests.get(&place.target.repo_id, &reference).await.is_ok());
}
