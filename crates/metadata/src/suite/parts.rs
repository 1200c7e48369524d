//! Lists of tens of thousands of rows, whose pages are reached over whole parts of them.

use super::lists::add_build;
use super::places::Place;
use crate::tables::artifact_build_task::{self as builds, Filter};
use crate::tables::artifact_subscription_task as runs;
use crate::tables::task::TaskStatus;
use crate::{Engine, Page, Session, args};

const ROWS: i64 = 20_000;

/// The numbers below [`ROWS`], as `n(i)`.
fn numbers(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => {
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 19999) "
        }
        Engine::Postgres => "WITH n(i) AS (SELECT generate_series(0::BIGINT, 19999)) ",
    }
}

async fn run(session: &mut Session, statement: &str) {
    let text = format!("{statement} FROM n");
    let text = text.replace("INSERT", &format!("{}INSERT", numbers(session.engine())));
    // A test may waste a little memory.
    let text: &'static str = Box::leak(text.into_boxed_str());
    session.execute(text, args![]).await.expect("insert");
}

/// Builds and runs, in parts of 3 000, one a second, two of three finished.
async fn fill(place: &Place) {
    let mut session = place.begin().await;
    for (prefix, queue) in [("b", "build"), ("s", "subscription")] {
        let task = format!(
            "INSERT INTO task (task_id, queue, kind, payload, state, priority, run_at, tenant, share, \
             turn, attempt, max_attempts, cancel_requested, progress, log_lines, created_at) \
             SELECT '{prefix}-' || CAST(100000 + i AS TEXT), '{queue}', '{queue}', '{{}}', \
             CASE WHEN i % 3 = 0 THEN 'READY' ELSE 'SUCCEEDED' END, 3, i, 'cri-1', 'crr-1', i, 0, 3, \
             FALSE, 'null', 0, i"
        );
        run(&mut session, &task).await;
    }
    run(
        &mut session,
        "INSERT INTO build_task (task_id, instance_id, repo_id, build_type, parameters, priority, \
         source_tag, source_digest, source_size, source_layer_count, target_tag, created_at, \
         listed_status, part) SELECT 'b-' || CAST(100000 + i AS TEXT), 'cri-1', \
         'crr-' || CAST(i % 2 AS TEXT), 'IMAGE_TO_ACCELERATED_IMAGE', '{}', 3, \
         'v' || CAST(i % 5 AS TEXT), \
         'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', 1, 1, 'x', i, \
         CASE WHEN i % 3 = 0 THEN 'PENDING' ELSE 'SUCCEEDED' END, i / 3000",
    )
    .await;
    run(
        &mut session,
        "INSERT INTO subscription_task (task_id, instance_id, rule_id, task_type, rule, \
         namespace_name, repo_name, source_provider, source_namespace_name, source_repo_name, \
         created_at, part) SELECT 's-' || CAST(100000 + i AS TEXT), 'cri-1', \
         'rule-' || CAST(i % 2 AS TEXT), 'AUTO', '{}', 'ns', 'app', 'DOCKER_HUB', 'library', \
         'nginx', i, i / 3000",
    )
    .await;
    session.commit().await.expect("commit");
    // Holes, and a part that is gone as a whole.
    let mut session = place.begin().await;
    for text in [
        "DELETE FROM build_task WHERE created_at % 7 = 0 OR created_at BETWEEN 6000 AND 8999",
        "DELETE FROM subscription_task WHERE created_at % 7 = 0 OR created_at BETWEEN 6000 AND 8999",
    ] {
        session.execute(text, args![]).await.expect("delete");
    }
    session.commit().await.expect("commit");
}

pub(crate) async fn a_page_far_from_both_ends_has_its_own_rows(place: &Place) {
    place.furnish().await;
    fill(place).await;
    let mut session = place.read().await;
    let left: Vec<i64> =
        (0..ROWS).rev().filter(|i| i % 7 != 0 && !(6000..9000).contains(i)).collect();
    let filters = [
        ("", "", None),
        ("crr-1", "", None),
        ("", "v2", None),
        ("crr-1", "v2", None),
        ("", "", Some(TaskStatus::Succeeded)),
        ("crr-0", "", Some(TaskStatus::Pending)),
    ];
    for (repo_id, source_tag, status) in filters {
        let filter = Filter { repo_id: repo_id.into(), source_tag: source_tag.into(), status };
        let fits = |i: &&i64| {
            (repo_id.is_empty() || repo_id == format!("crr-{}", **i % 2))
                && (source_tag.is_empty() || source_tag == format!("v{}", **i % 5))
                && status.is_none_or(|status| (status == TaskStatus::Pending) == (**i % 3 == 0))
        };
        let expected: Vec<i64> = left.iter().filter(fits).copied().collect();
        for (number, wanted) in expected.chunks(97).enumerate().step_by(7) {
            let page = Page::new(number as i64 + 1, 97);
            let list = builds::list(&mut session, "cri-1", &filter, page).await;
            let (rows, total) = list.expect("list");
            assert_eq!(total, expected.len() as i64, "{filter:?}");
            let rows: Vec<i64> = rows.iter().map(|row| row.task.created_at).collect();
            assert_eq!(rows, wanted, "page {} of {filter:?}", page.number);
        }
    }
    for rule_id in ["", "rule-1"] {
        let fits = |i: &&i64| rule_id.is_empty() || rule_id == format!("rule-{}", **i % 2);
        let expected: Vec<i64> = left.iter().filter(fits).copied().collect();
        for (number, wanted) in expected.chunks(97).enumerate().step_by(7) {
            let page = Page::new(number as i64 + 1, 97);
            let (rows, total) =
                runs::list(&mut session, "cri-1", rule_id, page).await.expect("list");
            assert_eq!(total, expected.len() as i64, "{rule_id}");
            let rows: Vec<i64> = rows.iter().map(|row| row.task.created_at).collect();
            assert_eq!(rows, wanted, "page {} of `{rule_id}`", page.number);
        }
    }
}

pub(crate) async fn a_full_part_is_followed_by_another(place: &Place) {
    place.furnish().await;
    let part = async |session: &mut Session, id: &str| {
        let find = "SELECT part FROM build_task WHERE task_id = $1";
        session.fetch_one(find, args![id]).await.expect("a build").int("part").expect("part")
    };
    let mut session = place.begin().await;
    add_build(&mut session, "i2a-1", "crr-1", "v1", 1).await;
    assert_eq!(part(&mut session, "i2a-1").await, 0);
    // As if 4 094 others had come, from two servers at once.
    let others = "INSERT INTO list_part (list, owner, part, filter, shard, amount) \
        VALUES ('build_task', '', 0, '', 'a', 2000), ('build_task', '', 0, '', 'b', 2094)";
    session.execute(others, args![]).await.expect("others");
    for (id, expected) in [("i2a-2", 0), ("i2a-3", 1), ("i2a-4", 1)] {
        add_build(&mut session, id, "crr-1", "v1", 1).await;
        assert_eq!(part(&mut session, id).await, expected, "{id}");
    }
    session.commit().await.expect("commit");
}
