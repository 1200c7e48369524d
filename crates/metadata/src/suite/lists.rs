//! Lists at any size: what they count, what their pages hold and what they read for it.

use std::collections::BTreeMap;

use berth_types::Tag;

use super::places::{Place, digest, manifest, namespace, repository};
use crate::tables::artifact_build_task::{self as builds, BuildTask, Filter};
use crate::tables::artifact_subscription_result as results;
use crate::tables::artifact_subscription_rule::{self as rules, SubscriptionRule};
use crate::tables::artifact_subscription_task::{self as runs, SubscriptionTask};
use crate::tables::namespace::{self as namespaces, NamespaceFilter};
use crate::tables::repository::{self as repositories, RepositoryFilter};
use crate::tables::task::claim::{Claimant, claim as claim_of, oldest, promote};
use crate::tables::task::{self as tasks, Released, Task, TaskState, TaskStatus};
use crate::tables::{manifest as manifests, tag as tags};
use crate::{Page, Session, args};

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let index = usize::try_from(self.below(from.len() as u64)).expect("index");
        &from[index]
    }
}

pub(crate) fn task(id: &str, queue: &str, kind: &str, created_at: i64) -> Task {
    Task {
        task_id: id.into(),
        queue: queue.into(),
        kind: kind.into(),
        payload: "{}".into(),
        state: TaskState::Ready,
        priority: 3,
        run_at: created_at,
        attempt: 0,
        max_attempts: 3,
        failures: 0,
        losses: 0,
        tenant: "cri-1".into(),
        share: "crr-1".into(),
        turn: Some(tasks::turn(created_at, 3)),
        lease_owner: None,
        lease_expires_at: None,
        cancel_requested: false,
        progress: "null".into(),
        dedup_key: None,
        error: None,
        log_lines: 0,
        created_at,
        started_at: None,
        finished_at: None,
    }
}

pub(crate) async fn add_build(
    session: &mut Session,
    id: &str,
    repo: &str,
    tag: &str,
    created_at: i64,
) {
    let new = task(id, "build", "build", created_at);
    assert!(tasks::insert(session, &new).await.expect("task"));
    let build = BuildTask {
        task_id: id.into(),
        instance_id: "cri-1".into(),
        repo_id: repo.into(),
        build_type: "IMAGE_TO_ACCELERATED_IMAGE".into(),
        rule_id: None,
        parameters: "{}".into(),
        priority: 3,
        source_tag: tag.into(),
        source_digest: digest("source"),
        source_size: 1,
        source_layer_count: 1,
        target_tag: "x".into(),
        created_at,
    };
    builds::insert(session, &build).await.expect("build");
}

/// Leases the build whose turn it is.
pub(crate) async fn claim(session: &mut Session, now: i64) -> Option<Task> {
    promote(session, "build", now).await.expect("promote");
    let losses = i64::MAX;
    let waiting = oldest(session, "build", losses, 1).await.expect("oldest");
    let by = Claimant { owner: "me", now, lease_expires_at: now + 9, losses };
    claim_of(session, "build", waiting.first()?, &by).await.expect("claim")
}

/// One thing that happens to builds.
async fn something(session: &mut Session, dice: &mut Dice, step: i64) {
    let unfinished = "SELECT task_id, attempt FROM task WHERE queue = 'build' AND state = 'RUNNING' \
        ORDER BY task_id";
    let running = session.fetch_all(unfinished, args![]).await.expect("running");
    let all = "SELECT task_id FROM build_task ORDER BY task_id";
    let all = session.fetch_all(all, args![]).await.expect("all");
    match dice.below(10) {
        0..=3 => {
            let repo = *dice.pick(&["crr-1", "crr-2", "crr-3"]);
            let tag = *dice.pick(&["v1", "v2"]);
            // Several have the same time.
            add_build(session, &format!("i2a-{step}"), repo, tag, step / 3).await;
        }
        4 => {
            claim(session, step).await;
        }
        5 if !all.is_empty() => {
            let id = dice.pick(&all).text("task_id").expect("id");
            tasks::cancel(session, &id, "canceled", step).await.expect("cancel");
        }
        6 if !all.is_empty() => {
            let id = dice.pick(&all).text("task_id").expect("id");
            let delete = "DELETE FROM build_task WHERE task_id = $1";
            session.execute(delete, args![&id]).await.expect("delete");
            session.execute("DELETE FROM task WHERE task_id = $1", args![&id]).await.expect("task");
        }
        choice if !running.is_empty() => {
            let row = dice.pick(&running);
            let (id, attempt) =
                (row.text("task_id").expect("id"), row.int("attempt").expect("attempt"));
            let done = match choice {
                7 => {
                    let (run_at, error) = (Some(step), Some("later".to_owned()));
                    let released = Released { run_at, error, failures: 1, losses: 0 };
                    tasks::release(session, &id, attempt, released).await
                }
                8 => tasks::release(session, &id, attempt, Released::default()).await,
                _ => {
                    let state = *dice.pick(&[TaskState::Succeeded, TaskState::Failed]);
                    tasks::finish(session, &id, attempt, state, None, step, None).await
                }
            };
            assert!(done.expect("the end of an attempt"));
        }
        _ => {}
    }
}

pub(crate) async fn builds_are_listed_and_counted_by_every_filter(place: &Place) {
    place.furnish().await;
    let mut dice = Dice(7);
    for round in 0..8_i64 {
        for step in 0..12 {
            let mut session = place.begin().await;
            for part in 0..4 {
                something(&mut session, &mut dice, round * 100 + step * 4 + part).await;
            }
            // What is rolled back counts nowhere.
            if dice.below(4) > 0 {
                session.commit().await.expect("commit");
            }
        }
        compare(place).await;
    }
}

/// Compares every filter's pages with the rows themselves.
async fn compare(place: &Place) {
    use TaskStatus::{Canceled, Failed, Pending, Running, Succeeded};
    let truth = "SELECT b.task_id, b.repo_id, b.source_tag, t.state, t.attempt FROM build_task b \
        JOIN task t ON t.task_id = b.task_id ORDER BY b.created_at DESC, b.task_id DESC";
    let mut session = place.read().await;
    let truth = session.fetch_all(truth, args![]).await.expect("rows");
    let truth: Vec<([String; 3], TaskStatus)> = truth
        .iter()
        .map(|row| {
            let state = row.parse("state").expect("state");
            let status = TaskStatus::of(state, row.int("attempt").expect("attempt"));
            (["task_id", "repo_id", "source_tag"].map(|name| row.text(name).expect(name)), status)
        })
        .collect();
    for repo_id in ["", "crr-1", "crr-2", "crr-9"] {
        for source_tag in ["", "v1"] {
            for status in [None, Some(Pending), Some(Running), Some(Succeeded), Some(Failed)] {
                let filter =
                    Filter { repo_id: repo_id.into(), source_tag: source_tag.into(), status };
                let fits = |text: &str, filter: &str| filter.is_empty() || text == filter;
                let stands = |is: TaskStatus| match status {
                    Some(Failed) => [Failed, Canceled].contains(&is),
                    status => status.is_none_or(|status| status == is),
                };
                let expected: Vec<&str> = truth
                    .iter()
                    .filter(|([_, repo, tag], status)| {
                        fits(repo, repo_id) && fits(tag, source_tag) && stands(*status)
                    })
                    .map(|([id, ..], _)| id.as_str())
                    .collect();
                let mut seen = Vec::new();
                for number in 1.. {
                    let page = Page::new(number, 4);
                    let list = builds::list(&mut session, "cri-1", &filter, page).await;
                    let (rows, total) = list.expect("list");
                    assert_eq!(total, expected.len() as i64, "{filter:?}");
                    for row in &rows {
                        assert!(stands(row.status), "{row:?}");
                    }
                    if rows.is_empty() {
                        break;
                    }
                    seen.extend(rows.into_iter().map(|row| row.task.task_id));
                }
                assert_eq!(seen, expected, "{filter:?}");
            }
        }
    }
    let other = builds::list(&mut session, "cri-2", &Filter::default(), Page::new(1, 9)).await;
    assert_eq!(other.expect("list"), (vec![], 0));
}

pub(crate) async fn every_list_counts_what_it_shows(place: &Place) {
    place.furnish().await;
    let mut session = place.begin().await;
    for number in 0..10_i64 {
        let mut new = namespace(&format!("crn-1{number}"), &format!("n{number}"));
        if number % 3 == 0 {
            new.status = "DELETING".into();
        }
        namespaces::insert(&mut session, &new).await.expect("namespace");
        let mut new = repository(&format!("crr-1{number}"), "ns", &format!("r{number}"));
        if number % 2 == 0 {
            new.status = "DELETING".into();
        }
        repositories::insert(&mut session, &new).await.expect("repository");
        let id = format!("m-{number}");
        let kind = if number % 2 == 0 { "gc" } else { "scrub" };
        let new = task(&id, "maintenance", kind, number / 2);
        assert!(tasks::insert(&mut session, &new).await.expect("task"));
        rules::insert(&mut session, &rule(number)).await.expect("rule");
        add_run(&mut session, number).await;
        let tag: Tag = format!("t{number}").parse().expect("tag");
        results::insert(&mut session, "run-0", &tag, number / 2).await.expect("result");
        // Once more changes nothing.
        results::insert(&mut session, "run-0", &tag, 99).await.expect("result");
    }
    session.commit().await.expect("commit");
    let mut session = place.begin().await;
    for id in ["crr-10", "crr-11"] {
        assert!(repositories::delete(&mut session, id, 9).await.expect("delete"));
    }
    assert!(rules::delete(&mut session, "cri-1", "rule-3").await.expect("delete"));
    session
        .execute("DELETE FROM subscription_task WHERE task_id = 'run-3'", args![])
        .await
        .expect("run");
    session.execute("DELETE FROM task WHERE task_id = 'm-2'", args![]).await.expect("task");
    let mut changed = namespace("crn-13", "n3");
    changed.status = "NORMAL".into();
    assert!(namespaces::update(&mut session, &changed).await.expect("update"));
    session.commit().await.expect("commit");

    let mut session = place.read().await;
    let mut walk = Walk::default();
    for number in 1..=9 {
        let page = Page::new(number, 3);
        for (status, name) in
            [("", ""), ("NORMAL", ""), ("DELETING", ""), ("", "n"), ("NORMAL", "n")]
        {
            let (instance_id, name_contains) = ("cri-1".into(), name.into());
            let filter = NamespaceFilter { instance_id, name_contains, status: status.into() };
            let (rows, total) = namespaces::list(&mut session, &filter, page).await.expect("list");
            walk.add(
                &format!("namespace {status} {name}"),
                rows.into_iter().map(|row| row.name),
                total,
            );
        }
        for (namespace, status) in
            [("", ""), ("ns", ""), ("", "NORMAL"), ("ns", "DELETING"), ("no", "")]
        {
            for name in ["", "r"] {
                let filter = RepositoryFilter {
                    instance_id: "cri-1".into(),
                    namespace_name: namespace.into(),
                    name_contains: name.into(),
                    status: status.into(),
                };
                let list = repositories::list(&mut session, &filter, page).await;
                let (rows, total) = list.expect("list");
                let key = format!("repository {namespace} {status} {name}");
                walk.add(&key, rows.into_iter().map(|row| row.name), total);
            }
        }
        for kind in ["", "gc", "scrub", "other"] {
            let (rows, total) =
                tasks::list(&mut session, "maintenance", kind, page).await.expect("list");
            walk.add(
                &format!("maintenance {kind}"),
                rows.into_iter().map(|row| row.task_id),
                total,
            );
        }
        let (rows, total) = rules::list(&mut session, "cri-1", page).await.expect("list");
        walk.add("rules", rows.into_iter().map(|row| row.rule_id), total);
        for rule_id in ["", "rule-1"] {
            let (rows, total) =
                runs::list(&mut session, "cri-1", rule_id, page).await.expect("list");
            walk.add(
                &format!("runs {rule_id}"),
                rows.into_iter().map(|row| row.task.task_id),
                total,
            );
        }
        let (rows, total) = results::page(&mut session, "run-0", page).await.expect("page");
        walk.add("results", rows.into_iter().map(|row| row.tag.to_string()), total);
    }
    let expected = [
        ("namespace  ", "n0 n1 n2 n3 n4 n5 n6 n7 n8 n9 ns"),
        ("namespace NORMAL ", "n1 n2 n3 n4 n5 n7 n8 ns"),
        ("namespace DELETING ", "n0 n6 n9"),
        ("namespace  n", "n0 n1 n2 n3 n4 n5 n6 n7 n8 n9 ns"),
        ("namespace NORMAL n", "n1 n2 n3 n4 n5 n7 n8 ns"),
        ("repository   ", "app r2 r3 r4 r5 r6 r7 r8 r9"),
        ("repository ns  ", "app r2 r3 r4 r5 r6 r7 r8 r9"),
        ("repository  NORMAL ", "app r3 r5 r7 r9"),
        ("repository ns DELETING ", "r2 r4 r6 r8"),
        ("repository no  ", ""),
        ("repository   r", "r2 r3 r4 r5 r6 r7 r8 r9"),
        ("repository ns  r", "r2 r3 r4 r5 r6 r7 r8 r9"),
        ("repository  NORMAL r", "r3 r5 r7 r9"),
        ("repository ns DELETING r", "r2 r4 r6 r8"),
        ("repository no  r", ""),
        ("maintenance ", "m-9 m-8 m-7 m-6 m-5 m-4 m-3 m-1 m-0"),
        ("maintenance gc", "m-8 m-6 m-4 m-0"),
        ("maintenance scrub", "m-9 m-7 m-5 m-3 m-1"),
        ("maintenance other", ""),
        ("rules", "rule-9 rule-8 rule-7 rule-6 rule-5 rule-4 rule-2 rule-1 rule-0"),
        ("runs ", "run-9 run-8 run-7 run-6 run-5 run-4 run-2 run-1 run-0"),
        ("runs rule-1", "run-9 run-7 run-5 run-1"),
        ("results", "t0 t1 t2 t3 t4 t5 t6 t7 t8 t9"),
    ];
    let expected: BTreeMap<String, String> =
        expected.iter().map(|(key, rows)| ((*key).to_owned(), (*rows).to_owned())).collect();
    assert_eq!(walk.finish(), expected);
}

/// What the pages of each list held, one after another, and how many rows each page said there are.
#[derive(Default)]
struct Walk(BTreeMap<String, (Vec<String>, Vec<i64>)>);

impl Walk {
    fn add(&mut self, list: &str, rows: impl Iterator<Item = String>, total: i64) {
        let (seen, totals) = self.0.entry(list.to_owned()).or_default();
        seen.extend(rows);
        totals.push(total);
    }

    fn finish(self) -> BTreeMap<String, String> {
        let finish = |(list, (seen, totals)): (String, (Vec<String>, Vec<i64>))| {
            for total in totals {
                assert_eq!(total, seen.len() as i64, "{list}");
            }
            (list, seen.join(" "))
        };
        self.0.into_iter().map(finish).collect()
    }
}

fn rule(number: i64) -> SubscriptionRule {
    SubscriptionRule {
        rule_id: format!("rule-{number}"),
        instance_id: "cri-1".into(),
        namespace_name: "ns".into(),
        repo_name: "app".into(),
        source_provider: "DOCKER_HUB".into(),
        source_domain: "docker.io".into(),
        source_namespace_name: "library".into(),
        source_repo_name: "nginx".into(),
        platforms: "[]".into(),
        tag_regexp: ".*".into(),
        tag_count: 1,
        override_tags: true,
        accelerate: false,
        index_mode: "KEEP".into(),
        referrers: true,
        created_at: number / 2,
        modified_at: number,
    }
}

async fn add_run(session: &mut Session, number: i64) {
    let id = format!("run-{number}");
    let new = task(&id, "subscription", "subscription", number);
    assert!(tasks::insert(session, &new).await.expect("task"));
    let run = SubscriptionTask {
        task_id: id,
        instance_id: "cri-1".into(),
        rule_id: format!("rule-{}", number % 2),
        task_type: "AUTO".into(),
        rule: "{}".into(),
        namespace_name: "ns".into(),
        repo_name: "app".into(),
        source_provider: "DOCKER_HUB".into(),
        source_namespace_name: "library".into(),
        source_repo_name: "nginx".into(),
        created_at: number / 2,
    };
    runs::insert(session, &run).await.expect("run");
}

async fn set(session: &mut Session, tag: &Tag, content: &str, now: i64) {
    tags::upsert(session, "crr-1", tag, &digest(content), None, now, 9).await.expect("tag");
}

pub(crate) async fn tags_are_listed_last_moved_first_from_any_place(place: &Place) {
    place.furnish().await;
    let mut session = place.begin().await;
    for content in ["one", "two"] {
        manifests::insert(&mut session, &manifest(content, None), &[]).await.expect("manifest");
    }
    let tag = |number: i64| -> Tag { format!("t{number:02}").parse().expect("tag") };
    for number in 0..20 {
        set(&mut session, &tag(number), "one", number / 5).await;
    }
    // Some move, some go.
    for number in [3, 12, 13] {
        set(&mut session, &tag(number), "two", 2).await;
    }
    for number in [0, 7] {
        assert!(tags::delete(&mut session, "crr-1", &tag(number), 9).await.expect("delete"));
    }
    session.commit().await.expect("commit");

    let mut expected: Vec<(i64, String)> = (0..20)
        .filter(|number| ![0, 7].contains(number))
        .map(|number| {
            (
                if [3, 12, 13].contains(&number) { -2 } else { -(number / 5) },
                tag(number).to_string(),
            )
        })
        .collect();
    expected.sort();
    let expected: Vec<String> = expected.into_iter().map(|(_, name)| name).collect();
    let mut session = place.read().await;
    let mut by_number = Vec::new();
    for number in 1..=5 {
        let page = tags::page(&mut session, "crr-1", Page::new(number, 4)).await.expect("page");
        assert_eq!(page.1, 18);
        by_number.extend(page.0.into_iter().map(|row| row.tag.name.to_string()));
    }
    assert_eq!(by_number, expected);
    let (mut by_place, mut after) = (Vec::new(), (i64::MAX, String::new()));
    loop {
        let (moved, name) = &after;
        let rows = tags::page_after(&mut session, "crr-1", (*moved, name), 4).await.expect("page");
        let Some(last) = rows.last() else { break };
        after = (last.tag.updated_at, last.tag.name.to_string());
        by_place.extend(rows.into_iter().map(|row| row.tag.name.to_string()));
    }
    assert_eq!(by_place, expected);
    drop(session);
    let mut session = place.begin().await;
    assert!(repositories::delete(&mut session, "crr-1", 9).await.expect("delete"));
    assert_eq!(tags::count(&mut session, "crr-1").await.expect("count"), 0);
}

/// Two transactions that add to the same lists, each before the other ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counting_makes_nobody_wait() {
    let place = super::places::postgres().await;
    place.furnish().await;
    let (mut first, mut second) = (place.begin().await, place.begin().await);
    add_build(&mut first, "i2a-1", "crr-1", "v1", 1).await;
    add_build(&mut second, "i2a-2", "crr-1", "v1", 2).await;
    claim(&mut first, 5).await.expect("a build");
    add_build(&mut second, "i2a-3", "crr-1", "v1", 3).await;
    second.commit().await.expect("commit");
    first.commit().await.expect("commit");
    compare(&place).await;
    place.db.close().await;
}
