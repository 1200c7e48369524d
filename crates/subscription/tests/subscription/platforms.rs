//! A rule that takes some platforms of an index.

use berth_oci::{ManifestView, media_type};
use berth_subscription::RuleChanges;
use berth_types::{Digest, Reference};

use crate::odd::{Odd, attesting, on};
use berth_testbed::on_both_engines;

use crate::support::{INSTANCE, Target};

on_both_engines!(
    a_platform_filter_keeps_the_index_byte_for_byte,
    an_unchanged_tag_costs_one_head_also_with_a_filter,
    a_rule_that_grew_copies_what_is_missing_of_an_unchanged_tag,
    a_filter_descends_and_takes_along_what_is_no_image,
    rewriting_an_index_is_asked_for,
);

const LOOPBACK: &[&str] = &["127.0.0.0/8"];

/// Two platforms with an attestation each, under the tag `v1`; the digests in the order of the index,
/// the index last.
fn two_platforms(upstream: &Odd) -> [Digest; 5] {
    let (amd64, of_amd64) = upstream.image("linux/amd64", b"for amd64");
    let (arm64, of_arm64) = upstream.image("linux/arm64", b"for arm64");
    let (proof_amd64, of_proof_amd64) = upstream.image("unknown/unknown", b"proof of amd64");
    let (proof_arm64, of_proof_arm64) = upstream.image("unknown/unknown", b"proof of arm64");
    let (index, _) = upstream.index(&[
        on(&of_amd64, "linux/amd64"),
        on(&of_arm64, "linux/arm64"),
        attesting(&of_proof_amd64, &amd64),
        attesting(&of_proof_arm64, &arm64),
    ]);
    upstream.tag("v1", &index);
    [amd64, arm64, proof_amd64, proof_arm64, index]
}

async fn has(place: &Target, digests: &[Digest]) -> Vec<bool> {
    let mut has = Vec::new();
    for digest in digests {
        let manifests = place.artifacts.manifests();
        has.push(manifests.exists(&place.target.repo_id, digest).await.expect("exists"));
    }
    has
}

async fn a_platform_filter_keeps_the_index_byte_for_byte(place: Target) {
    let upstream = Odd::start().await;
    let digests = two_platforms(&upstream);
    let subscription = place.subscription(LOOPBACK);
    let _worker = place.worker(&subscription);
    let mut rule = upstream.rule(".*", 5);
    rule.platforms = vec!["linux/amd64".to_owned()];
    let rule = subscription.create_rule(&place.ctx, INSTANCE, rule).await.expect("rule");
    let ended = place.run(&subscription, &rule).await;
    assert_eq!(ended.said(), ("SUCCESS", "success"), "{ended:?}");
    assert_eq!(ended.row("v1").digest.as_ref(), digests.last());
    let message = ended.row("v1").message.clone().unwrap_or_default();
    assert!(message.ends_with(", 2 of 4 children left out (linux/arm64)"), "{message}");
    assert_eq!(has(&place, &digests).await, [true, false, true, false, true]);
    let asked = upstream.asked();
    let lost: Vec<_> = asked.iter().filter(|one| one.contains(digests[1].as_str())).collect();
    assert!(lost.is_empty(), "{lost:?}");
    // One GET by tag, none by the digest of the index, no HEAD.
    assert!(asked.contains(&"GET manifests/v1".to_owned()), "{asked:?}");
    assert!(!asked.iter().any(|one| one.starts_with("HEAD")), "{asked:?}");
}

async fn an_unchanged_tag_costs_one_head_also_with_a_filter(place: Target) {
    let upstream = Odd::start().await;
    two_platforms(&upstream);
    let subscription = place.subscription(LOOPBACK);
    let _worker = place.worker(&subscription);
    let mut rule = upstream.rule(".*", 5);
    rule.platforms = vec!["linux/amd64".to_owned()];
    let rule = subscription.create_rule(&place.ctx, INSTANCE, rule).await.expect("rule");
    place.run(&subscription, &rule).await;
    upstream.asked();
    let again = place.run(&subscription, &rule).await;
    let message = again.row("v1").message.as_deref();
    assert_eq!(message, Some("unchanged, 2 of 4 children left out (linux/arm64)"), "{again:?}");
    assert_eq!(upstream.asked(), ["GET tags/list", "HEAD manifests/v1"]);
}

async fn a_rule_that_grew_copies_what_is_missing_of_an_unchanged_tag(place: Target) {
    let upstream = Odd::start().await;
    let digests = two_platforms(&upstream);
    let subscription = place.subscription(LOOPBACK);
    let _worker = place.worker(&subscription);
    let mut rule = upstream.rule(".*", 5);
    rule.platforms = vec!["linux/amd64".to_owned()];
    let rule = subscription.create_rule(&place.ctx, INSTANCE, rule).await.expect("rule");
    place.run(&subscription, &rule).await;
    upstream.asked();
    let platforms = Some(vec!["linux/amd64".to_owned(), "linux/arm64".to_owned()]);
    let changes = RuleChanges { platforms, ..RuleChanges::default() };
    subscription.update_rule(&place.ctx, INSTANCE, &rule, changes).await.expect("update");
    let ended = place.run(&subscription, &rule).await;
    assert_eq!(ended.said(), ("SUCCESS", "success"), "{ended:?}");
    let message = ended.row("v1").message.clone().unwrap_or_default();
    assert!(message.starts_with("copied: ") && !message.contains("left out"), "{message}");
    assert_eq!(has(&place, &digests).await, [true; 5]);
    let asked = upstream.asked();
    assert!(!asked.iter().any(|one| one == "GET manifests/v1"), "{asked:?}");
    assert!(!asked.iter().any(|one| one.contains(digests[0].as_str())), "{asked:?}");
    assert_eq!(place.pulled(&place.target, "v1").await.as_ref(), digests.last());
}

async fn a_filter_descends_and_takes_along_what_is_no_image(place: Target) {
    let upstream = Odd::start().await;
    let (amd64, of_amd64) = upstream.image("linux/amd64", b"for amd64");
    let (arm64, of_arm64) = upstream.image("linux/arm64", b"for arm64");
    let (inner, of_inner) =
        upstream.index(&[on(&of_amd64, "linux/amd64"), on(&of_arm64, "linux/arm64")]);
    let (s390x, of_s390x) = upstream.image("linux/s390x", b"for s390x");
    let (nothing, of_nothing) = upstream.index(&[on(&of_s390x, "linux/s390x")]);
    let (chart, of_chart) = upstream.artifact("application/vnd.cncf.helm.chart", b"chart", "");
    // Only their configs say of which platforms they are.
    let (plain, of_plain) = upstream.image("linux/amd64", b"plain amd64");
    let (plain_arm64, of_plain_arm64) = upstream.image("linux/arm64", b"plain arm64");
    let subject = format!(r#","subject":{of_arm64}"#);
    let (proof, of_proof) = upstream.artifact("application/vnd.proof", b"of arm64", &subject);
    let subject = format!(r#","subject":{of_plain}"#);
    let (kept_proof, of_kept_proof) =
        upstream.artifact("application/vnd.proof", b"of plain", &subject);
    let children = [
        of_inner,
        of_nothing,
        of_chart,
        of_plain,
        of_plain_arm64,
        of_kept_proof,
        on(&of_arm64, "linux/arm64"),
        of_proof,
    ];
    let (index, _) = upstream.index(&children);
    upstream.tag("v1", &index);
    let subscription = place.subscription(LOOPBACK);
    let _worker = place.worker(&subscription);
    let mut rule = upstream.rule(".*", 5);
    rule.platforms = vec!["linux/amd64".to_owned()];
    let rule = subscription.create_rule(&place.ctx, INSTANCE, rule).await.expect("rule");
    let ended = place.run(&subscription, &rule).await;
    assert_eq!(ended.said(), ("SUCCESS", "success"), "{ended:?}");
    let kept = [index, inner, amd64, chart, plain, kept_proof];
    assert_eq!(has(&place, &kept).await, [true; 6], "{ended:?}");
    let left_out = [arm64, s390x, nothing, plain_arm64, proof];
    assert_eq!(has(&place, &left_out).await, [false; 5], "{ended:?}");
    let message = ended.row("v1").message.clone().unwrap_or_default();
    assert!(message.contains("children left out (linux/arm64, linux/s390x)"), "{message}");

    upstream.asked();
    let again = place.run(&subscription, &rule).await;
    let message = again.row("v1").message.clone().unwrap_or_default();
    assert!(message.starts_with("unchanged"), "{again:?}");
    let asked = upstream.asked();
    // The index that was left out as a whole is not here to be looked into.
    assert!(asked.len() <= 3 && asked.contains(&"HEAD manifests/v1".to_owned()), "{asked:?}");
}

async fn rewriting_an_index_is_asked_for(place: Target) {
    let upstream = Odd::start().await;
    let digests = two_platforms(&upstream);
    let subscription = place.subscription(LOOPBACK);
    let _worker = place.worker(&subscription);
    let mut rule = upstream.rule(".*", 5);
    rule.platforms = vec!["linux/arm64".to_owned()];
    rule.index_mode = Some("rewrite".to_owned());
    let wrong = subscription.create_rule(&place.ctx, INSTANCE, rule.clone()).await;
    let wrong = wrong.expect_err("lower case").to_string();
    assert_eq!(wrong, "IndexMode: `rewrite` is neither KEEP nor REWRITE");
    rule.index_mode = Some("REWRITE".to_owned());
    let rule = subscription.create_rule(&place.ctx, INSTANCE, rule).await.expect("rule");
    let ended = place.run(&subscription, &rule).await;
    assert_eq!(ended.said(), ("SUCCESS", "success"), "{ended:?}");
    let here = place.pulled(&place.target, "v1").await.expect("v1");
    assert_ne!(Some(&here), digests.last());
    let manifests = place.artifacts.manifests();
    let stored = manifests.get(&place.target.repo_id, &Reference::Digest(here)).await;
    let stored = stored.expect("index");
    let view = ManifestView::parse(Some(media_type::OCI_INDEX), &stored.content).expect("view");
    let children: Vec<_> = view.manifests.iter().map(|child| &child.digest).collect();
    assert_eq!(children, [&digests[1], &digests[3]]);
    let again = place.run(&subscription, &rule).await;
    let message = again.row("v1").message.clone().unwrap_or_default();
    assert!(message.starts_with("unchanged, 2 of 4 children left out"), "{again:?}");
}
