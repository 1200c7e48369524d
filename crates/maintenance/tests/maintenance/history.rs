//! How long finished builds and subscription runs are remembered.

use std::time::Duration;

use berth_maintenance::{Forgotten, History, HistoryConfig, MaintenanceScope};
use berth_metadata::args;
use berth_metadata::tables::{artifact_build_task, artifact_subscription_task};
use berth_tasks::{NewTask, enqueue};
use berth_types::{Clock as _, Digest, SystemClock};
use serde_json::Value;

use berth_testbed::{INSTANCE, Place, on_both_engines};

on_both_engines!(
    old_builds_go_and_the_newest_of_each_tag_stays,
    more_runs_of_a_rule_than_are_kept_go,
    what_is_unfinished_stays_however_old,
    nothing_goes_where_everything_is_kept,
);

const DAY: i64 = 24 * 3_600_000;

/// A task and its row; it ended `ended` days ago, if it did, and was made an hour before.
pub(crate) async fn add(place: &Place, id: &str, of: Of<'_>, days_ago: i64, ended: bool) {
    let mut session = place.artifacts.db.begin().await.expect("begin");
    let at = SystemClock.now() - days_ago * DAY;
    let task = NewTask {
        task_id: id.to_owned(),
        queue: "test",
        kind: "test",
        payload: Value::Null,
        tenant: INSTANCE.to_owned(),
        share: "share".to_owned(),
        priority: 1,
        max_attempts: 1,
        dedup_key: None,
        run_at: None,
    };
    enqueue(&mut session, task, at - 3_600_000).await.expect("task");
    match of {
        Of::Build { repo_id, tag } => {
            let row = artifact_build_task::BuildTask {
                task_id: id.to_owned(),
                instance_id: INSTANCE.to_owned(),
                repo_id: repo_id.to_owned(),
                build_type: "IMAGE_TO_ACCELERATED_IMAGE".to_owned(),
                rule_id: None,
                parameters: "{}".to_owned(),
                priority: 1,
                source_tag: tag.to_owned(),
                source_digest: Digest::sha256(b"source"),
                source_size: 1,
                source_layer_count: 1,
                target_tag: format!("{tag}_accelerated"),
                created_at: at - 3_600_000,
            };
            artifact_build_task::insert(&mut session, &row).await.expect("build");
        }
        Of::Rule(rule_id) => {
            let row = artifact_subscription_task::SubscriptionTask {
                task_id: id.to_owned(),
                instance_id: INSTANCE.to_owned(),
                rule_id: rule_id.to_owned(),
                task_type: "AUTO".to_owned(),
                rule: "{}".to_owned(),
                namespace_name: "ns".to_owned(),
                repo_name: "app".to_owned(),
                source_provider: "CUSTOM".to_owned(),
                source_namespace_name: "n".to_owned(),
                source_repo_name: "r".to_owned(),
                created_at: at - 3_600_000,
            };
            artifact_subscription_task::insert(&mut session, &row).await.expect("run");
            let result = "INSERT INTO subscription_result (task_id, tag, position, status) \
                 VALUES ($1, 'v1', 0, 'COMPLETED')";
            session.execute(result, args![id]).await.expect("result");
        }
    }
    let line = "INSERT INTO task_log (task_id, line_number, message, created_at) \
         VALUES ($1, 1, 'line', 1)";
    session.execute(line, args![id]).await.expect("line");
    if ended {
        let end = "UPDATE task SET state = 'SUCCEEDED', finished_at = $2 WHERE task_id = $1";
        session.execute(end, args![id, at]).await.expect("end");
    }
    session.commit().await.expect("commit");
}

pub(crate) enum Of<'a> {
    Build { repo_id: &'a str, tag: &'a str },
    Rule(&'a str),
}

pub(crate) async fn left(place: &Place) -> Vec<String> {
    let mut session = place.artifacts.db.read().await.expect("read");
    let rows = session.fetch_all("SELECT task_id FROM task ORDER BY task_id", args![]).await;
    let rows = rows.expect("rows");
    rows.iter().map(|row| row.text("task_id").expect("id")).collect()
}

async fn forget(place: &Place, days: u64, count: u32) -> Forgotten {
    let config = HistoryConfig { keep: Duration::from_secs(days * 24 * 3600), count };
    let history = History::new(place.artifacts.db.clone(), config);
    history.run(&MaintenanceScope::Server, |_| true).await.expect("history")
}

async fn old_builds_go_and_the_newest_of_each_tag_stays(place: Place) {
    let build = |tag| Of::Build { repo_id: "crr-a", tag };
    add(&place, "old", build("v1"), 100, true).await;
    add(&place, "older", build("v1"), 101, true).await;
    add(&place, "young", build("v1"), 10, true).await;
    add(&place, "only-of-its-tag", build("v2"), 300, true).await;
    add(&place, "elsewhere", Of::Build { repo_id: "crr-b", tag: "v1" }, 300, true).await;
    let forgotten = forget(&place, 90, 0).await;
    assert_eq!(forgotten, Forgotten { builds: 2, subscriptions: 0 });
    assert_eq!(left(&place).await, ["elsewhere", "only-of-its-tag", "young"]);
    assert_eq!(place.count("SELECT COUNT(*) AS n FROM build_task").await, 3);
    assert_eq!(place.count("SELECT COUNT(*) AS n FROM task_log").await, 3);
}

async fn more_runs_of_a_rule_than_are_kept_go(place: Place) {
    for n in 0..250 {
        add(&place, &format!("r{n:03}"), Of::Rule("crasr-a"), 250 - n, true).await;
    }
    for n in 0..3 {
        add(&place, &format!("s{n}"), Of::Rule("crasr-b"), 400 - n, true).await;
    }
    let forgotten = forget(&place, 0, 5).await;
    assert_eq!(forgotten, Forgotten { builds: 0, subscriptions: 245 });
    let kept = ["r245", "r246", "r247", "r248", "r249", "s0", "s1", "s2"];
    assert_eq!(left(&place).await, kept);
    assert_eq!(place.count("SELECT COUNT(*) AS n FROM subscription_task").await, 8);
    assert_eq!(place.count("SELECT COUNT(*) AS n FROM subscription_result").await, 8);
    assert_eq!(place.count("SELECT COUNT(*) AS n FROM task_log").await, 8);
}

async fn what_is_unfinished_stays_however_old(place: Place) {
    let build = || Of::Build { repo_id: "crr-a", tag: "v1" };
    add(&place, "unfinished", build(), 500, false).await;
    add(&place, "finished", build(), 400, true).await;
    add(&place, "newest", build(), 300, true).await;
    add(&place, "runs", Of::Rule("crasr-a"), 500, false).await;
    add(&place, "newest-run", Of::Rule("crasr-a"), 400, true).await;
    let forgotten = forget(&place, 1, 1).await;
    assert_eq!(forgotten, Forgotten { builds: 1, subscriptions: 0 });
    assert_eq!(left(&place).await, ["newest", "newest-run", "runs", "unfinished"]);
}

async fn nothing_goes_where_everything_is_kept(place: Place) {
    for n in 0..3 {
        let of = Of::Build { repo_id: "crr-a", tag: "v1" };
        add(&place, &format!("b{n}"), of, 1_000 + n, true).await;
    }
    assert_eq!(forget(&place, 0, 0).await, Forgotten::default());
    assert_eq!(left(&place).await.len(), 3);
}
