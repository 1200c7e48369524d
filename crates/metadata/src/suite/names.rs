//! Accounts, instances, namespaces, repositories.

use super::places::{Place, instance, name, namespace, repository};
use crate::Page;
use crate::tables::access_key::{self, AccessKey};
use crate::tables::account;
use crate::tables::instance as instances;
use crate::tables::namespace::{self as namespaces, NamespaceFilter};
use crate::tables::repository::{self as repositories, Repository, RepositoryFilter};

pub(crate) async fn accounts_and_keys(place: &Place) {
    let mut session = place.begin().await;
    assert_eq!(account::first(&mut session).await.expect("first"), None);
    drop(session);
    place.furnish().await;
    let mut session = place.begin().await;
    let first = account::first(&mut session).await.expect("first").expect("an account");
    assert_eq!(account::find(&mut session, "1").await.expect("find"), Some(first));

    let mut key = AccessKey {
        access_key_id: "LTAI1".into(),
        account_id: "1".into(),
        secret: vec![0, 1, 255],
        status: "Active".into(),
        created_at: 3,
    };
    access_key::insert(&mut session, &key).await.expect("insert");
    key.secret = vec![9];
    key.status = "Inactive".into();
    assert!(access_key::update(&mut session, &key).await.expect("update"));
    assert_eq!(access_key::find(&mut session, "LTAI1").await.expect("find"), Some(key.clone()));
    assert_eq!(access_key::list(&mut session, "1").await.expect("list"), [key]);
    assert!(access_key::delete(&mut session, "LTAI1").await.expect("delete"));
    assert!(!access_key::delete(&mut session, "LTAI1").await.expect("delete"));
    assert_eq!(access_key::find(&mut session, "LTAI1").await.expect("find"), None);
}

pub(crate) async fn instances(place: &Place) {
    place.furnish().await;
    let mut session = place.begin().await;
    let second = instance("cri-2", "second");
    instances::insert(&mut session, &second).await.expect("insert");
    let found = instances::find_by_name(&mut session, "second").await.expect("find");
    assert_eq!(found.as_ref(), Some(&second));
    assert_eq!(instances::find(&mut session, "cri-2").await.expect("find"), found);
    assert_eq!(instances::find(&mut session, "cri-3").await.expect("find"), None);
    let page = instances::list(&mut session, "1", "", Page::new(2, 1)).await.expect("list");
    assert_eq!(page, (vec![second.clone()], 2));
    let page = instances::list(&mut session, "1", "second", Page::new(1, 9)).await.expect("list");
    assert_eq!(page, (vec![second], 1));
}

pub(crate) async fn namespaces(place: &Place) {
    place.furnish().await;
    let mut session = place.begin().await;
    for (id, name) in [("crn-2", "a_b"), ("crn-3", "aXb"), ("crn-4", "zz"), ("crn-5", "a-b")] {
        namespaces::insert(&mut session, &namespace(id, name)).await.expect("insert");
    }
    let names = async |session: &mut crate::Session, part: &str, page: Page| {
        let filter = NamespaceFilter {
            instance_id: "cri-1".into(),
            name_contains: part.into(),
            status: "NORMAL".into(),
        };
        let (rows, total) = namespaces::list(session, &filter, page).await.expect("list");
        (rows.into_iter().map(|row| row.name).collect::<Vec<_>>(), total)
    };
    let all = Page::new(1, 100);
    // Byte order on both engines, whatever the language of the machine.
    assert_eq!(names(&mut session, "", all).await.0, ["a-b", "aXb", "a_b", "ns", "zz"]);
    assert_eq!(names(&mut session, "", Page::new(2, 2)).await.0, ["a_b", "ns"]);
    assert_eq!(names(&mut session, "", Page::new(9, 2)).await, (vec![], 5));
    // Neither a pattern nor blind to case.
    assert_eq!(names(&mut session, "_", all).await, (vec!["a_b".to_owned()], 1));
    assert_eq!(names(&mut session, "%", all).await, (vec![], 0));
    assert_eq!(names(&mut session, "x", all).await, (vec![], 0));

    let mut changed = namespace("crn-2", "a_b");
    changed.status = "DELETING".into();
    changed.auto_create_repo = false;
    changed.default_tag_immutability = true;
    changed.build_rule_parameters = Some("{}".into());
    changed.modified_at = 99;
    assert!(namespaces::update(&mut session, &changed).await.expect("update"));
    let found = namespaces::find_by_name(&mut session, "cri-1", "a_b").await.expect("find");
    assert_eq!(found.as_ref(), Some(&changed));
    assert_eq!(namespaces::find_by_id(&mut session, "crn-2").await.expect("find"), found);
    assert_eq!(names(&mut session, "", all).await.1, 4);
    assert!(namespaces::delete(&mut session, "crn-2").await.expect("delete"));
    assert!(!namespaces::delete(&mut session, "crn-2").await.expect("delete"));
    assert!(!namespaces::update(&mut session, &changed).await.expect("update"));
    session.commit().await.expect("commit");
    let mut session = place.begin().await;
    let in_use = namespaces::delete(&mut session, "crn-1").await.expect_err("it has a repository");
    assert!(in_use.is_conflict(), "{in_use}");
}

pub(crate) async fn repositories(place: &Place) {
    place.furnish().await;
    let mut session = place.begin().await;
    for (id, name) in [("crr-2", "deep/er"), ("crr-3", "zoo")] {
        repositories::insert(&mut session, &repository(id, "ns", name)).await.expect("insert");
    }
    let deep = repositories::find(&mut session, "cri-1", &name("ns/deep/er")).await.expect("find");
    let mut deep = deep.expect("the repository");
    assert_eq!(deep, repository("crr-2", "ns", "deep/er"));
    assert_eq!(deep.full_name().expect("a name"), name("ns/deep/er"));
    let absent = repositories::find(&mut session, "cri-2", &name("ns/deep/er")).await;
    assert_eq!(absent.expect("find"), None, "of another instance");

    deep.repo_type = "PUBLIC".into();
    deep.tag_immutability = false;
    deep.untagged_days = Some(7);
    deep.summary = "words".into();
    deep.detail = "more words".into();
    deep.modified_at = 77;
    assert!(repositories::update(&mut session, &deep).await.expect("update"));
    assert_eq!(repositories::lock(&mut session, "crr-2").await.expect("lock"), Some(deep));
    assert_eq!(repositories::lock(&mut session, "crr-9").await.expect("lock"), None);

    let filter = RepositoryFilter {
        instance_id: "cri-1".into(),
        namespace_name: "ns".into(),
        name_contains: "o".into(),
        status: "NORMAL".into(),
    };
    let page = repositories::list(&mut session, &filter, Page::new(1, 30)).await.expect("list");
    assert_eq!((names(&page.0), page.1), (vec!["zoo"], 1));
    let filter = RepositoryFilter { instance_id: "cri-1".into(), ..RepositoryFilter::default() };
    let page = repositories::list(&mut session, &filter, Page::new(1, 2)).await.expect("list");
    assert_eq!((names(&page.0), page.1), (vec!["app", "deep/er"], 3));

    let start = repositories::catalog(&mut session, "cri-1", None, 2).await.expect("catalog");
    assert_eq!(names(&start), ["app", "deep/er"]);
    let after = start.last().map(|last| last.full_name().expect("a name"));
    let rest = repositories::catalog(&mut session, "cri-1", after.as_ref(), 2).await;
    assert_eq!(names(&rest.expect("catalog")), ["zoo"]);
    let count = repositories::count_in_namespace(&mut session, "crn-1").await.expect("count");
    assert_eq!(count, 3);
    assert!(repositories::delete(&mut session, "crr-3", 0).await.expect("delete"));
    assert!(!repositories::delete(&mut session, "crr-3", 0).await.expect("delete"));
}

fn names(rows: &[Repository]) -> Vec<&str> {
    rows.iter().map(|row| row.name.as_str()).collect()
}
