//! What a run asks its upstream for, beside another client that fetches the same.

use std::process::Command;

use berth_testbed::on_both_engines;
use berth_testkit::process::output;
use berth_testkit::required_path;

use crate::odd::Odd;
use crate::support::{INSTANCE, Target};

on_both_engines!(a_first_run_asks_no_more_often_than_crane,);

const LOOPBACK: &[&str] = &["127.0.0.0/8"];
const TAGS: usize = 40;

async fn a_first_run_asks_no_more_often_than_crane(place: Target) {
    let upstream = Odd::start().await;
    let names: Vec<String> = (0..TAGS).map(|number| format!("v{number}")).collect();
    for name in &names {
        let (image, _) = upstream.image("linux/amd64", name.as_bytes());
        upstream.tag(name, &image);
    }
    let subscription = place.subscription(LOOPBACK);
    let _worker = place.worker(&subscription);
    let rule = subscription.create_rule(&place.ctx, INSTANCE, upstream.rule(".*", 100)).await;
    let ended = place.run(&subscription, &rule.expect("rule")).await;
    assert_eq!(ended.said(), ("SUCCESS", "success"), "{ended:?}");
    assert_eq!(ended.rows.len(), TAGS);
    let ours = upstream.asked();

    let host = upstream.host().to_owned();
    let cranes = tokio::task::spawn_blocking(move || {
        let repository = format!("{host}/source/app");
        let folder = tempfile::tempdir().expect("a folder");
        let crane = || Command::new(required_path("BERTH_TEST_CRANE"));
        let listed = output(crane().args(["ls", &repository]));
        assert!(listed.status.success(), "{listed:?}");
        let images = names.iter().map(|name| format!("{repository}:{name}"));
        let pulled = output(crane().args(["pull", "--format=oci"]).args(images).arg(folder.path()));
        assert!(pulled.status.success(), "{pulled:?}");
    });
    cranes.await.expect("crane ran");
    let cranes = upstream.asked();
    assert!(ours.len() <= cranes.len(), "{ours:#?}\n{cranes:#?}");
    let count = |part: &str| ours.iter().filter(|one| one.starts_with(part)).count();
    let blobs = TAGS + 1;
    // One GET of each tag, a layer of each, and the config that they share.
    assert_eq!((count("GET manifests/"), count("GET blobs/"), count("HEAD")), (TAGS, blobs, 0));
}
