//! Rules and their schedules.

use std::sync::Arc;
use std::time::Duration;

use berth_metadata::Page;
use berth_subscription::{RuleChanges, SubscriptionConfig, SubscriptionErrorKind};
use berth_tasks::Scheduler;

use berth_testbed::on_both_engines;

use crate::support::{INSTANCE, Target, rule_from};

on_both_engines!(
    rules_are_created_changed_listed_and_deleted,
    the_target_must_exist,
    a_changed_rule_makes_a_new_run,
    rules_run_by_themselves_one_run_at_a_time,
);

async fn rules_are_created_changed_listed_and_deleted(place: Target) {
    let (subscription, ctx) = (place.subscription(&[]), &place.ctx);
    let first = rule_from("registry.example.com", "v.*", 3);
    let first = subscription.create_rule(ctx, INSTANCE, first).await.expect("rule");
    let mut second = rule_from("", ".*", 10);
    second.source_domain = None;
    second.source_provider = "DOCKER_HUB".to_owned();
    second.source_namespace_name = None;
    second.source_repo_name = "nginx".to_owned();
    let second = subscription.create_rule(ctx, INSTANCE, second).await.expect("rule");
    assert!(first.starts_with("crasr-"));
    let hub = subscription.get_rule(ctx, INSTANCE, &second).await.expect("read").expect("rule");
    assert_eq!(hub.source_namespace_name, "library");
    assert_eq!(hub.source_domain, "registry-1.docker.io");
    let (rules, total) =
        subscription.list_rules(ctx, INSTANCE, Page::new(1, 30)).await.expect("list");
    assert_eq!((rules.len(), total), (2, 2));

    let changes = RuleChanges {
        tag_count: Some(7),
        override_tags: Some(false),
        platforms: Some(vec!["linux/arm64".to_owned()]),
        ..RuleChanges::default()
    };
    subscription.update_rule(ctx, INSTANCE, &first, changes).await.expect("update");
    let changed = subscription.get_rule(ctx, INSTANCE, &first).await.expect("read").expect("rule");
    assert_eq!((changed.tag_count, changed.override_tags), (7, false));
    assert_eq!(
        (changed.platforms.concat(), changed.tag_regexp),
        ("linux/arm64".into(), "v.*".into())
    );
    assert_eq!(changed.source_domain, "registry.example.com");
    let changes =
        RuleChanges { source_provider: Some("QUAY".to_owned()), ..RuleChanges::default() };
    subscription.update_rule(ctx, INSTANCE, &first, changes).await.expect("update");
    let quay = subscription.get_rule(ctx, INSTANCE, &first).await.expect("read").expect("rule");
    assert_eq!(quay.source_domain, "quay.io");
    let changes = RuleChanges { tag_regexp: Some("(".to_owned()), ..RuleChanges::default() };
    let error = subscription.update_rule(ctx, INSTANCE, &first, changes).await.expect_err("bad");
    assert_eq!(error.kind(), SubscriptionErrorKind::InvalidParameter("TagRegexp"));

    // History outlives the rule; another instance sees neither.
    let task = subscription.create_task(ctx, INSTANCE, &first).await.expect("task");
    assert!(subscription.get_task(ctx, "cri-other", &task).await.is_err());
    assert_eq!(subscription.get_rule(ctx, "cri-other", &first).await.expect("read"), None);
    assert!(subscription.delete_rule(ctx, "cri-other", &first).await.is_err());
    subscription.delete_rule(ctx, INSTANCE, &first).await.expect("delete");
    assert_eq!(subscription.get_rule(ctx, INSTANCE, &first).await.expect("read"), None);
    let view = subscription.get_task(ctx, INSTANCE, &task).await.expect("task");
    assert_eq!((view.rule_id.as_str(), view.source_provider.as_str()), (first.as_str(), "QUAY"));
    for gone in [
        subscription.delete_rule(ctx, INSTANCE, &first).await.expect_err("gone"),
        subscription.create_task(ctx, INSTANCE, &first).await.expect_err("gone"),
    ] {
        assert_eq!(gone.kind(), SubscriptionErrorKind::RuleNotFound);
    }
}

async fn the_target_must_exist(place: Target) {
    let (subscription, ctx) = (place.subscription(&[]), &place.ctx);
    let mut rule = rule_from("registry.example.com", "v.*", 3);
    rule.repo_name = "missing".to_owned();
    let error = subscription.create_rule(ctx, INSTANCE, rule.clone()).await.expect_err("missing");
    assert_eq!(error.kind(), SubscriptionErrorKind::RepositoryNotFound);
    rule.namespace_name = "nowhere".to_owned();
    let error = subscription.create_rule(ctx, INSTANCE, rule).await.expect_err("missing");
    assert_eq!(error.kind(), SubscriptionErrorKind::NamespaceNotFound);
}

async fn a_changed_rule_makes_a_new_run(place: Target) {
    let (subscription, ctx) = (place.subscription(&[]), &place.ctx);
    let rule = rule_from("registry.example.com", "v.*", 3);
    let rule = subscription.create_rule(ctx, INSTANCE, rule).await.expect("rule");
    let run = async || subscription.create_task(ctx, INSTANCE, &rule).await.expect("task");
    let change = async |tag_count| {
        let changes = RuleChanges { tag_count: Some(tag_count), ..RuleChanges::default() };
        subscription.update_rule(ctx, INSTANCE, &rule, changes).await.expect("update");
    };
    let first = run().await;
    change(3).await;
    assert_eq!(run().await, first, "an update that changes nothing");
    change(5).await;
    let second = run().await;
    assert_ne!(second, first, "the waiting run is of the old rule");
    assert_eq!(run().await, second);
}

async fn rules_run_by_themselves_one_run_at_a_time(place: Target) {
    let config =
        SubscriptionConfig { interval: Duration::from_millis(20), ..SubscriptionConfig::default() };
    let subscription = place.subscription_with(config);
    let ctx = &place.ctx;
    let rule = rule_from("registry.example.com", "v.*", 3);
    let rule = subscription.create_rule(ctx, INSTANCE, rule).await.expect("rule");
    let fire = Arc::new(subscription.clone());
    let scheduler = Scheduler::new(place.db.clone(), fire);
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(scheduler.tick().await.expect("tick"), 1);
    }
    let (tasks, total) =
        subscription.list_tasks(ctx, INSTANCE, Page::new(1, 30)).await.expect("list");
    assert_eq!(total, 1, "the unfinished run holds back others");
    assert_eq!(tasks.first().map(|task| task.task_type.as_str()), Some("AUTO"));
    subscription.delete_rule(ctx, INSTANCE, &rule).await.expect("delete");
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(scheduler.tick().await.expect("tick"), 0);
}
