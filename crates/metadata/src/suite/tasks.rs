//! The rows of the queue.

use super::lists::{add_build, claim};
use super::places::{Place, digest};
use crate::tables::artifact_build_task as builds;
use crate::tables::task::{self, Released, TaskState, TaskStatus};
use crate::{Session, Subject, args};

pub(crate) async fn a_status_is_the_same_in_statements_and_in_code(place: &Place) {
    use TaskState::{Canceled, Failed, Ready, Running, Succeeded};
    let mut session = place.begin().await;
    add_build(&mut session, "i2a-1", "crr-1", "v1", 1).await;
    for state in [Ready, Running, Succeeded, Failed, Canceled] {
        for attempt in [0, 1, 2] {
            let change = "UPDATE task SET state = $1, attempt = $2";
            session.execute(change, args![state.as_str(), attempt]).await.expect("change");
            let listed = session.fetch_one("SELECT listed_status FROM build_task", args![]).await;
            let listed = listed.expect("row").text("listed_status").expect("text");
            let status = TaskStatus::of(state, attempt);
            assert_eq!(listed, status.as_filter(), "{state}, claimed {attempt} times");
            assert_eq!(status.is_finished(), state.is_finished());
        }
    }
}

/// Who remembers a build that was asked for forgets it with every change, and with no other task's.
pub(crate) async fn a_remembered_build_is_forgotten_when_it_changes(place: &Place) {
    let id = "i2a-1";
    let mut session = place.begin().await;
    add_build(&mut session, id, "crr-1", "v1", 1).await;
    session.commit().await.expect("commit");
    for number in 0..7 {
        let before = place.db.stamp(Subject::Task(id));
        let other = place.db.stamp(Subject::Task("i2a-other"));
        let mut session = place.begin().await;
        change(&mut session, id, number).await;
        session.commit().await.expect("commit");
        assert_ne!(place.db.stamp(Subject::Task(id)), before, "change {number}");
        assert_eq!(place.db.stamp(Subject::Task("i2a-other")), other, "change {number}");
    }
    // What does not say whose it is makes all tasks forgotten.
    let before = place.db.stamp(Subject::Task(id));
    let mut session = place.begin().await;
    session.execute("DELETE FROM build_task", args![]).await.expect("delete");
    session.commit().await.expect("commit");
    assert_ne!(place.db.stamp(Subject::Task(id)), before);
}

async fn change(session: &mut Session, id: &str, number: i64) {
    let progress = Some("{}".to_owned());
    match number {
        0 => {
            assert!(claim(session, 5).await.is_some());
        }
        1 => drop(task::renew(session, id, 1, 10, progress).await.expect("renew").expect("held")),
        2 => {
            let released = Released { run_at: Some(5), ..Released::default() };
            assert!(task::release(session, id, 1, released).await.expect("release"));
        }
        3 => assert!(claim(session, 5).await.is_some()),
        4 => drop(task::cancel(session, id, "why", 6).await.expect("cancel").expect("unfinished")),
        5 => builds::set_target(session, id, &digest("x"), 1, 1).await.expect("target"),
        _ => {
            let (state, now) = (TaskState::Failed, 7);
            let ended = task::finish(session, id, 2, state, Some("why"), now, None).await;
            assert!(ended.expect("finish"));
        }
    }
}
