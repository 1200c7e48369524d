//! The rows of the queue.

use super::places::Place;
use crate::args;
use crate::tables::task::{TaskState, TaskStatus, status_of};

const STATUS: &str = concat!(
    "SELECT ",
    status_of!(),
    " AS status FROM (SELECT CAST($1 AS TEXT) AS state, CAST($2 AS BIGINT) AS attempt) t"
);

pub(crate) async fn a_status_is_the_same_in_statements_and_in_code(place: &Place) {
    use TaskState::{Canceled, Failed, Ready, Running, Succeeded};
    let mut session = place.read().await;
    for state in [Ready, Running, Succeeded, Failed, Canceled] {
        for attempt in [0, 1, 2] {
            let row = session.fetch_one(STATUS, args![state.as_str(), attempt]).await;
            let found = row.expect("statement").text("status").expect("text");
            let status = TaskStatus::of(state, attempt);
            assert_eq!(found, status.as_filter(), "{state}, claimed {attempt} times");
            assert_eq!(status.is_finished(), state.is_finished());
        }
    }
}
