//! What statements read, as the engines' own plans tell it.

use super::places::Place;
use crate::{Engine, Session, args, statements};

pub(crate) async fn a_page_reads_an_index_and_its_own_rows(place: &Place) {
    let engine = place.db.engine();
    let mut session = place.read().await;
    if engine == Engine::Postgres {
        // What could be read in order from an index is then, however few rows there are.
        for setting in
            ["SET enable_seqscan = off", "SET enable_sort = off", "SET enable_bitmapscan = off"]
        {
            session.execute(setting, args![]).await.expect("set");
        }
    }
    let mut pages = 0;
    for (module, text) in statements::of(engine) {
        let Some((_, rest)) =
            text.split_once("AS MATERIALIZED (").filter(|_| text.contains("OFFSET $3"))
        else {
            continue;
        };
        pages += 1;
        let (keys, _) = rest.split_once("), page").expect("the keys of a page");
        for (part, of_keys) in [(keys, true), (text, false)] {
            let plan = plan(&mut session, part).await;
            let tables = ["SCAN reached", "SCAN page", "SCAN p\n"];
            let scans = plan.lines().filter(|line| line.contains("SCAN "));
            let scans = scans
                .filter(|line| !tables.iter().any(|table| format!("{line}\n").contains(table)));
            assert_eq!(scans.count(), 0, "{module}: {part}\n{plan}");
            assert!(!plan.contains("Seq Scan"), "{module}: {part}\n{plan}");
            let sorted = plan.contains("TEMP B-TREE") || plan.contains("Sort");
            assert!(!of_keys || !sorted, "{module}: {part}\n{plan}");
            if engine == Engine::Sqlite && !of_keys {
                // What is looked up is looked up for the rows of the page.
                let (_, lookups) = plan.split_once("SCAN reached\n").expect("the page");
                assert!(lookups.starts_with("SCAN p\n"), "{module}: {part}\n{plan}");
            }
            let whole = plan.contains("COVERING INDEX") || plan.contains("Index Only Scan");
            assert!(!of_keys || part.contains("LIKE") || whole, "{module}: {part}\n{plan}");
        }
    }
    assert!(pages > 30, "{pages}");
}

async fn plan(session: &mut Session, text: &str) -> String {
    let explain = match session.engine() {
        Engine::Sqlite => "EXPLAIN QUERY PLAN ",
        Engine::Postgres => "EXPLAIN ",
    };
    // A test may waste a little memory.
    let explain: &'static str = Box::leak(format!("{explain}{text}").into_boxed_str());
    let mut values = args!["cri-1", 30_i64, 0_i64];
    for number in 4..=9 {
        if !text.contains(&format!("${number}")) {
            break;
        }
        let numeric = ["updated_at = $4", "updated_at < $4", "part <= $4", "part >= $4"];
        let is_number = number == 4 && numeric.iter().any(|part| text.contains(part));
        values.extend(if is_number { args![5_i64] } else { args!["x"] });
    }
    let column = match session.engine() {
        Engine::Sqlite => "detail",
        Engine::Postgres => "QUERY PLAN",
    };
    let rows = session.fetch_all(explain, values).await.expect("explain");
    let lines: Vec<String> = rows.iter().map(|row| row.text(column).expect("a line")).collect();
    lines.join("\n")
}

/// It would plan every page again, as it takes a page of unknown length for a long one.
#[tokio::test]
async fn postgres_plans_a_statement_once() {
    let place = super::places::postgres().await;
    let mut session = place.read().await;
    let page = statements::of(Engine::Postgres).find(|(_, text)| text.contains("OFFSET $3"));
    let (_, text) = page.expect("a page");
    let part = text.contains("part <= $4") || text.contains("part >= $4");
    for _ in 0..3 {
        let mut values = args!["cri-1", 30_i64, 0_i64];
        values.extend(if part { args![5_i64] } else { args![] });
        session.fetch_all(text, values).await.expect("a page");
    }
    let plans =
        "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement = $1";
    let row = session.fetch_one(plans, args![text]).await.expect("plans");
    assert_eq!(row.int("generic_plans").expect("generic"), 3);
    assert_eq!(row.int("custom_plans").expect("custom"), 0);
}

/// `.cargo/config.toml` says how SQLite is compiled; without it every page would be planned again.
#[tokio::test]
async fn sqlite_plans_a_statement_once() {
    let place = super::places::sqlite().await;
    let mut session = place.read().await;
    let rows = session.fetch_all("PRAGMA compile_options", args![]).await.expect("options");
    let options: Vec<String> =
        rows.iter().map(|row| row.text("compile_options").expect("an option")).collect();
    assert!(options.iter().any(|option| option == "ENABLE_QPSG"), "{options:?}");
    assert!(options.iter().any(|option| option == "DEFAULT_MEMSTATUS=0"), "{options:?}");
}
