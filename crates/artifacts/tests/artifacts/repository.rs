//! Instances, namespaces and repositories.

use std::sync::Arc;

use berth_artifacts::{
    ArtifactErrorKind, Limits, NamespaceChanges, NamespaceFilter, NewNamespace, NewRepository,
    RepoType, RepositoryChanges, RepositoryFilter,
};
use berth_metadata::Page;
use berth_types::RepoName;

use crate::listener::Listener;
use berth_testbed::{INSTANCE, Place, chunks, on_both_engines};

on_both_engines!(
    instances_by_host,
    a_push_makes_what_it_may,
    many_first_pushes_make_one,
    namespaces_live,
    repositories_live,
    deletion_takes_everything_along,
);

fn namespace(name: &str, auto_create_repo: bool) -> NewNamespace {
    NewNamespace {
        name: name.to_owned(),
        auto_create_repo,
        default_repo_type: RepoType::Public,
        default_tag_immutability: true,
        build_rule_parameters: None,
    }
}

fn name(text: &str) -> RepoName {
    text.parse().expect(text)
}

async fn instances_by_host(place: Place) {
    let instances = place.artifacts.instances();
    for (host, expected) in [
        ("second.local.example.com", "second"),
        ("Second-registry.example.com:5000", "second"),
        ("unknown.example.com", "default"),
        ("second", "default"),
        ("127.0.0.1:5000", "default"),
        ("localhost:5000", "default"),
        ("[::1]:5000", "default"),
    ] {
        assert_eq!(instances.by_host(host).await.expect(host).name, expected, "{host}");
    }
    let missing = instances.find("cri-none").await.expect_err("missing");
    assert_eq!(missing.kind(), ArtifactErrorKind::InstanceNotFound);
}

async fn a_push_makes_what_it_may(place: Place) {
    let listener = Arc::new(Listener::default());
    let artifacts = place.artifacts.clone().with_listener(listener.clone());
    let repositories = artifacts.repositories();
    let resolve =
        async |text: &str| repositories.resolve_for_push(&place.ctx, INSTANCE, &name(text)).await;
    let first = resolve("fresh/app").await.expect("both made");
    assert_eq!(first.repo_type, "PRIVATE");
    let owner = artifacts.namespaces().find(INSTANCE, "fresh").await.expect("namespace");
    assert!(owner.auto_create_repo);
    assert_eq!(resolve("fresh/app").await.expect("found").repo_id, first.repo_id);

    artifacts.namespaces().create(&place.ctx, INSTANCE, namespace("open", true)).await.expect("ns");
    let second = resolve("open/deep/app").await.expect("made");
    assert_eq!((second.repo_type.as_str(), second.tag_immutability), ("PUBLIC", true));
    assert_eq!((second.namespace_name.as_str(), second.name.as_str()), ("open", "deep/app"));
    assert_eq!(*listener.born.lock().expect("lock"), ["fresh/app", "open/deep/app"]);

    let closed = namespace("closed", false);
    artifacts.namespaces().create(&place.ctx, INSTANCE, closed).await.expect("namespace");
    let refused = resolve("closed/app").await.expect_err("not allowed");
    assert_eq!(refused.kind(), ArtifactErrorKind::RepositoryNotFound);

    *listener.refuses.lock().expect("lock") = Some("no".to_owned());
    assert!(resolve("undone/app").await.is_err());
    let undone = artifacts.namespaces().find(INSTANCE, "undone").await;
    assert!(undone.is_err(), "the namespace went with the refused repository");

    let strict = place
        .artifacts
        .clone()
        .with_limits(Limits { auto_create_namespace: false, ..Limits::default() });
    let target = name("unknown/app");
    let refused = strict.repositories().resolve_for_push(&place.ctx, INSTANCE, &target).await;
    assert_eq!(refused.expect_err("refused").kind(), ArtifactErrorKind::NamespaceNotFound);
    let pull = strict.repositories().resolve_for_pull(INSTANCE, &target).await;
    assert_eq!(pull.expect_err("refused").kind(), ArtifactErrorKind::RepositoryNotFound);
}

async fn many_first_pushes_make_one(place: Place) {
    let pushes = (0..12).map(|_| {
        let (artifacts, ctx) = (place.artifacts.clone(), place.ctx.clone());
        tokio::spawn(async move {
            artifacts.repositories().resolve_for_push(&ctx, INSTANCE, &name("ns/app")).await
        })
    });
    let mut ids = Vec::new();
    for push in futures::future::join_all(pushes).await {
        ids.push(push.expect("join").expect("resolve").repo_id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

async fn namespaces_live(place: Place) {
    let namespaces = place.artifacts.namespaces();
    let made =
        namespaces.create(&place.ctx, INSTANCE, namespace("one", false)).await.expect("made");
    let twice = namespaces.create(&place.ctx, INSTANCE, namespace("one", false)).await;
    assert_eq!(twice.expect_err("twice").kind(), ArtifactErrorKind::NamespaceExists);
    let elsewhere = namespaces.create(&place.ctx, "cri-1111111111111111", namespace("one", true));
    elsewhere.await.expect("names are per instance");
    for bad in ["", "Upper", "a/b", "-a", "a b"] {
        let error = namespaces.create(&place.ctx, INSTANCE, namespace(bad, true)).await;
        assert_eq!(error.expect_err(bad).kind(), ArtifactErrorKind::NameInvalid);
    }
    let changes = NamespaceChanges {
        auto_create_repo: Some(true),
        build_rule_parameters: Some(Some("{}".to_owned())),
        ..NamespaceChanges::default()
    };
    let row = namespaces.update(&place.ctx, INSTANCE, "one", changes).await.expect("update");
    assert!(row.auto_create_repo && row.default_tag_immutability);
    let found = namespaces.find_by_id(INSTANCE, &made.namespace_id).await.expect("by id");
    assert_eq!(found, row);
    let foreign = namespaces.find_by_id("cri-1111111111111111", &made.namespace_id).await;
    assert_eq!(foreign.expect_err("foreign").kind(), ArtifactErrorKind::NamespaceNotFound);
    let filter = NamespaceFilter { instance_id: INSTANCE.to_owned(), ..Default::default() };
    let (rows, total) = namespaces.list(&filter, Page::new(1, 10)).await.expect("list");
    assert_eq!((rows.len(), total), (1, 1));
}

async fn repositories_live(place: Place) {
    let artifacts = &place.artifacts;
    artifacts.namespaces().create(&place.ctx, INSTANCE, namespace("ns", false)).await.expect("ns");
    let repositories = artifacts.repositories();
    let new = NewRepository {
        namespace_name: "ns".to_owned(),
        name: "app".to_owned(),
        repo_type: Some(RepoType::Private),
        summary: "short".to_owned(),
        ..NewRepository::default()
    };
    let made = repositories.create(&place.ctx, INSTANCE, new.clone()).await.expect("create");
    assert_eq!((made.repo_type.as_str(), made.tag_immutability), ("PRIVATE", true));
    let twice = repositories.create(&place.ctx, INSTANCE, new.clone()).await;
    assert_eq!(twice.expect_err("twice").kind(), ArtifactErrorKind::RepositoryExists);
    for (namespace_name, name, kind) in [
        ("none", "app", ArtifactErrorKind::NamespaceNotFound),
        ("ns", "App", ArtifactErrorKind::NameInvalid),
        ("ns/x", "app", ArtifactErrorKind::NamespaceNotFound),
    ] {
        let new = NewRepository {
            namespace_name: namespace_name.to_owned(),
            name: name.to_owned(),
            ..new.clone()
        };
        let error = repositories.create(&place.ctx, INSTANCE, new).await.expect_err(name);
        assert_eq!(error.kind(), kind);
    }
    let changes = RepositoryChanges {
        repo_type: Some(RepoType::Public),
        tag_immutability: Some(false),
        ..RepositoryChanges::default()
    };
    let row = repositories.update(&place.ctx, INSTANCE, &made.repo_id, changes).await.expect("row");
    assert_eq!((row.repo_type.as_str(), row.summary.as_str()), ("PUBLIC", "short"));
    assert_eq!(repositories.find_by_id(INSTANCE, &made.repo_id).await.expect("by id"), row);
    let foreign = repositories.find_by_id("cri-1111111111111111", &made.repo_id).await;
    assert_eq!(foreign.expect_err("foreign").kind(), ArtifactErrorKind::RepositoryNotFound);
    let filter = RepositoryFilter { instance_id: INSTANCE.to_owned(), ..Default::default() };
    assert_eq!(repositories.list(&filter, Page::new(1, 10)).await.expect("list").1, 1);
    assert_eq!(repositories.catalog(INSTANCE, None, 10).await.expect("catalog").len(), 1);
    assert!(
        repositories.catalog(INSTANCE, Some(&name("ns/app")), 10).await.expect("end").is_empty()
    );
}

async fn deletion_takes_everything_along(place: Place) {
    let listener = Arc::new(Listener::default());
    let artifacts = place.artifacts.clone().with_listener(listener.clone());
    let keep = place.repository("keep/app").await;
    place.put(&keep, b"config").await;
    for n in 0..3 {
        let repository = place.repository(&format!("ns/app{n}")).await;
        let config = place.put(&repository, b"config").await;
        let body = berth_testbed::image(&config, b"config".len(), &[]);
        place.push(&repository, "v1", &body).await.expect("push");
        let uploads = artifacts.uploads();
        let upload = uploads.start(&place.ctx, &repository).await.expect("start");
        uploads.append(upload, chunks(&[b"half"]), None).await.expect("append");
    }
    let first = artifacts.repositories().find(INSTANCE, &name("ns/app0")).await.expect("find");
    artifacts.repositories().delete(&place.ctx, INSTANCE, &first.repo_id).await.expect("delete");
    let again = artifacts.repositories().delete(&place.ctx, INSTANCE, &first.repo_id).await;
    assert_eq!(again.expect_err("again").kind(), ArtifactErrorKind::RepositoryNotFound);
    artifacts.namespaces().delete(&place.ctx, INSTANCE, "ns").await.expect("delete");
    let again = artifacts.namespaces().delete(&place.ctx, INSTANCE, "ns").await;
    assert_eq!(again.expect_err("again").kind(), ArtifactErrorKind::NamespaceNotFound);
    let gone = listener.gone.lock().expect("lock").clone();
    assert_eq!(gone, ["app0", "app1", "app2"]);
    for (sql, left) in [
        ("SELECT COUNT(*) AS n FROM repository", 1),
        ("SELECT COUNT(*) AS n FROM manifest", 0),
        ("SELECT COUNT(*) AS n FROM manifest_reference", 0),
        ("SELECT COUNT(*) AS n FROM tag", 0),
        ("SELECT COUNT(*) AS n FROM upload", 0),
        ("SELECT COUNT(*) AS n FROM repository_blob", 1),
        ("SELECT COUNT(*) AS n FROM blob", 1),
    ] {
        assert_eq!(place.count(sql).await, left, "{sql}");
    }
}
