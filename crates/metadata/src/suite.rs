//! One suite of tests for both engines: SQLite in a file, and PostgreSQL.

mod away;
mod commits;
mod full;
mod images;
mod lists;
mod lookups;
mod names;
mod parts;
mod places;
mod plans;
mod schema;
mod sessions;
mod tasks;
mod transactions;

macro_rules! suite {
    ($($case:ident::$test:ident;)*) => {
        suite!(@place sqlite, places::sqlite().await, $($case::$test;)*);
        suite!(@place postgres, places::postgres().await, $($case::$test;)*);
    };
    (@place $place:ident, $make:expr, $($case:ident::$test:ident;)*) => {
        mod $place {
            use super::{commits, images, lists, lookups, names, parts, places, plans, schema, sessions, tasks, transactions};
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    let place = $make;
                    $case::$test(&place).await;
                    assert_eq!(place.db.unannounced_changes(), 0, "a write without `touch`");
                    place.db.close().await;
                }
            )*
        }
    };
}

suite! {
    schema::every_statement_prepares;
    schema::opening_again_keeps_everything;
    sessions::values_come_back;
    sessions::errors_say_what_and_have_kinds;
    sessions::notifications_wake;
    transactions::what_is_not_committed_is_rolled_back;
    transactions::a_dropped_begin_leaves_nothing_behind;
    transactions::writers_take_turns_on_a_locked_row;
    transactions::one_of_many_is_first;
    transactions::readers_do_not_wait_for_a_writer;
    commits::commits_wait_for_the_disk_together;
    commits::one_that_is_undone_touches_no_other;
    commits::a_dropped_commit_is_announced_all_the_same;
    commits::what_was_rolled_back_is_not_announced;
    commits::a_relaxed_commit_waits_for_no_disk;
    lists::builds_are_listed_and_counted_by_every_filter;
    lists::every_list_counts_what_it_shows;
    lists::tags_are_listed_last_moved_first_from_any_place;
    parts::a_page_far_from_both_ends_has_its_own_rows;
    parts::a_full_part_is_followed_by_another;
    plans::a_page_reads_an_index_and_its_own_rows;
    lookups::one_statement_finds_repository_and_content;
    tasks::a_status_is_the_same_in_statements_and_in_code;
    tasks::a_remembered_build_is_forgotten_when_it_changes;
    names::accounts_and_keys;
    names::instances;
    names::namespaces;
    names::repositories;
    images::blobs_and_links;
    images::damaged_blobs_are_absent;
    images::an_object_on_its_way_out_is_nobodys;
    images::manifests_and_referrers;
    images::tags;
    images::uploads;
    images::a_deleted_repository_takes_its_own_along;
}
