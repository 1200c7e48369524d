//! Walks over lists by token.

use serde_json::Value;

use crate::fixture::Fixture;

async fn page(fixture: &Fixture, action: &str, parameters: &[(&str, &str)]) -> Value {
    let answer = fixture.call(action, parameters).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    answer.body
}

fn names(page: &Value, rows: &str, name: &str) -> Vec<String> {
    let rows = page[rows].as_array().expect("rows");
    rows.iter().map(|row| row[name].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_go_during_a_walk_hide_no_others() {
    let fixture = Fixture::new().await;
    let instance = fixture.instance_id.as_str();
    let repo_id = fixture.repository("ns", "app").await;
    for name in ["a", "b", "c", "d", "e"] {
        fixture.push(&repo_id, name).await;
        fixture.repository("ns", name).await;
    }
    let first = [("InstanceId", instance), ("RepoId", repo_id.as_str()), ("MaxResults", "2")];
    let first = page(&fixture, "ListRepoTag", &first).await;
    let shown = names(&first, "Images", "Tag");
    assert_eq!((shown.len(), &first["TotalCount"]), (2, &Value::from("5")));
    for tag in &shown {
        let gone = [("InstanceId", instance), ("RepoId", repo_id.as_str()), ("Tag", tag.as_str())];
        page(&fixture, "DeleteRepoTag", &gone).await;
    }
    let mut rest = Vec::new();
    let mut token = first["NextToken"].as_str().map(str::to_owned);
    while let Some(next) = token {
        let next =
            [("InstanceId", instance), ("RepoId", repo_id.as_str()), ("NextToken", next.as_str())];
        let next = page(&fixture, "ListRepoTag", &next).await;
        assert_eq!(next["TotalCount"], "3");
        rest.extend(names(&next, "Images", "Tag"));
        token = next["NextToken"].as_str().map(str::to_owned);
    }
    let mut all = [shown, rest].concat();
    all.sort();
    assert_eq!(all, ["a", "b", "c", "d", "e"]);

    let first = [("InstanceId", instance), ("MaxResults", "4")];
    let first = page(&fixture, "ListRepository", &first).await;
    assert_eq!(names(&first, "Repositories", "RepoName"), ["a", "app", "b", "c"]);
    let token = first["NextToken"].as_str().expect("a token");
    let gone = [("InstanceId", instance), ("RepoNamespaceName", "ns"), ("RepoName", "a")];
    page(&fixture, "DeleteRepository", &gone).await;
    let next = [("InstanceId", instance), ("NextToken", token)];
    let next = page(&fixture, "ListRepository", &next).await;
    assert_eq!(names(&next, "Repositories", "RepoName"), ["d", "e"]);
    assert_eq!((&next["TotalCount"], next.get("NextToken")), (&Value::from("5"), None));
}
