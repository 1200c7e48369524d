use berth_oci::{ManifestView, media_type};
use berth_types::Digest;
use serde_json::{Value, json};

use super::{MAX_DEPTH, Manifests, NotBuildable, Plan, check_image, make, wanted};

/// Documents by digest, as a repository has them.
#[derive(Default)]
struct Shelf(Manifests);

impl Shelf {
    fn put(&mut self, document: &Value) -> Value {
        let bytes = document.to_string().into_bytes();
        let digest = Digest::sha256(&bytes);
        let entry = json!({
            "mediaType": document["mediaType"], "digest": digest, "size": bytes.len(),
        });
        self.0.insert(digest, bytes);
        entry
    }

    fn plan(&self, root: &Value) -> Result<Plan, NotBuildable> {
        let content = root.to_string();
        let media_type = root["mediaType"].as_str().expect("a type");
        make(media_type, content.as_bytes(), &self.0, check_image)
    }
}

fn blob(media_type: &str, content: &str) -> Value {
    json!({"mediaType": media_type, "digest": Digest::sha256(content.as_bytes()), "size": 1})
}

fn image(layer: &str) -> Value {
    json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
        "config": blob(media_type::OCI_CONFIG, layer),
        "layers": [blob(media_type::OCI_LAYER_GZIP, layer)],
    })
}

fn index(children: &[Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": children})
}

fn on(mut child: Value, os: &str, architecture: &str, variant: &str) -> Value {
    child["platform"] = json!({"os": os, "architecture": architecture, "variant": variant});
    child
}

fn platforms(plan: &Plan) -> Vec<String> {
    let platforms = plan.leaves.iter().map(super::Leaf::platform_view);
    platforms.map(|platform| platform.map_or("-".to_owned(), |one| one.to_string())).collect()
}

#[test]
fn images_are_found_at_any_depth_with_the_platform_of_the_nearest_index() {
    let mut shelf = Shelf::default();
    let (one, two) = (shelf.put(&image("one")), shelf.put(&image("two")));
    let inner = shelf.put(&index(&[on(one, "linux", "arm", "v7")]));
    let silent = shelf.put(&index(&[two]));
    let plan = shelf
        .plan(&index(&[on(inner, "linux", "arm", "v6"), on(silent, "Linux", "amd64", "")]))
        .expect("a plan");
    assert_eq!(platforms(&plan), ["linux/arm/v7", "Linux/amd64"]);
    assert_eq!(plan.left_out, []);
    let mut child = shelf.put(&image("deep"));
    for _ in 1..MAX_DEPTH {
        child = shelf.put(&index(&[child]));
    }
    assert_eq!(shelf.plan(&index(std::slice::from_ref(&child))).expect("a plan").leaves.len(), 1);
    child = shelf.put(&index(&[child]));
    assert!(matches!(shelf.plan(&index(&[child])), Err(NotBuildable::Impossible(_))));
}

#[test]
fn one_manifest_under_two_platforms_is_a_leaf_of_each() {
    let mut shelf = Shelf::default();
    let child = shelf.put(&image("arm"));
    let root = index(&[on(child.clone(), "linux", "arm", "v6"), on(child, "linux", "arm", "v7")]);
    assert_eq!(platforms(&shelf.plan(&root).expect("a plan")), ["linux/arm/v6", "linux/arm/v7"]);
}

#[test]
fn what_is_no_image_is_left_out_and_the_rest_is_built() {
    let mut shelf = Shelf::default();
    let mut soci = image("soci");
    soci["config"]["mediaType"] = json!("application/vnd.amazon.soci.index.v2+json");
    let mut statement = image("statement");
    statement["layers"][0]["mediaType"] = json!("application/vnd.in-toto+json");
    let mut disk = image("disk");
    disk["config"]["mediaType"] = json!(media_type::OCI_EMPTY);
    disk["layers"][0]["mediaType"] = json!("application/zstd");
    let mut twin = image("nydus");
    twin["layers"][0]["annotations"] = json!({"containerd.io/snapshot/nydus-blob": "true"});
    let others: Vec<Value> = [soci, statement, disk, twin.clone()]
        .iter()
        .map(|document| on(shelf.put(document), "linux", "amd64", ""))
        .collect();
    let mut children = vec![on(shelf.put(&image("real")), "linux", "amd64", "")];
    children.extend(others.clone());
    children.push(json!({
        "mediaType": media_type::OCI_MANIFEST, "digest": Digest::sha256(b"absent"), "size": 1,
    }));
    let plan = shelf.plan(&index(&children)).expect("a plan");
    assert_eq!((plan.leaves.len(), plan.left_out.len()), (1, 5), "{:?}", plan.left_out);
    assert!(plan.left_out[4].reason.contains("not here"));
    assert!(matches!(shelf.plan(&index(&others)), Err(NotBuildable::Accelerated(_))));
    assert!(matches!(shelf.plan(&twin), Err(NotBuildable::Accelerated(_))));
    let without = shelf.plan(&index(&others[..3]));
    assert!(matches!(without, Err(NotBuildable::NotAnImage(_))), "{without:?}");
}

#[test]
fn manifests_of_early_docker_registries_are_images() {
    for config in ["application/octet-stream", "text/html", "application/json", ""] {
        let mut document = image("old");
        document["mediaType"] = json!(media_type::DOCKER_MANIFEST);
        document["config"]["mediaType"] = json!(config);
        Shelf::default().plan(&document).unwrap_or_else(|error| panic!("{config}: {error}"));
        document["mediaType"] = json!(media_type::OCI_MANIFEST);
        assert!(Shelf::default().plan(&document).is_err(), "{config} in an OCI manifest");
    }
}

#[test]
fn more_layers_than_a_node_opens_are_refused_with_their_number() {
    let mut document = image("many");
    let layer = document["layers"][0].clone();
    document["layers"] = vec![layer.clone(); 255].into();
    assert!(Shelf::default().plan(&document).is_ok());
    document["layers"] = vec![layer; 256].into();
    let refused = Shelf::default().plan(&document).expect_err("refused");
    assert!(refused.to_string().contains("256 layers"), "{refused}");
    // Not left out in silence either.
    let mut shelf = Shelf::default();
    let children = [image("good"), document].map(|document| shelf.put(&document));
    assert!(matches!(shelf.plan(&index(&children)), Err(NotBuildable::Impossible(_))));
}

#[test]
fn only_what_may_be_an_image_is_asked_for() {
    let mut shelf = Shelf::default();
    let child = shelf.put(&image("one"));
    let windows = on(shelf.put(&image("two")), "windows", "amd64", "");
    let mut attestation = shelf.put(&image("three"));
    attestation["annotations"] = json!({
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": child["digest"],
    });
    let root = index(&[child, windows, attestation]).to_string();
    let view = ManifestView::parse(None, root.as_bytes()).expect("an index");
    assert_eq!(wanted(&view).count(), 1);
}
