//! The operation table against the ACR API as data (`contract/operations.json`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use berth_control::{CODES, CodeSource, Field, Kind, Operation, Stage, find, operations};
use serde_json::{Map, Value};

/// The fields that every answer has; dispatch writes them.
const ENVELOPE: [&str; 3] = ["Code", "IsSuccess", "RequestId"];

fn contract() -> Map<String, Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contract/operations.json");
    serde_json::from_slice(&fs::read(path).expect("the contract")).expect("JSON")
}

fn object<'a>(value: &'a Value, name: &str) -> &'a Map<String, Value> {
    value[name].as_object().unwrap_or_else(|| panic!("{name} is an object"))
}

fn kind_of(name: &str) -> Kind {
    match name {
        "string" => Kind::Text,
        "integer" => Kind::Integer,
        "boolean" => Kind::Boolean,
        "array<string>" => Kind::TextList,
        "array<object>" => Kind::ObjectList,
        "object" => Kind::Object,
        other => panic!("type {other} is not known"),
    }
}

#[test]
fn every_operation_of_the_contract_is_in_the_table() {
    let wanted: BTreeSet<String> = contract().into_iter().map(|(name, _)| name).collect();
    let acr = |operation: &&Operation| operation.stage == Stage::Acr;
    let have: BTreeSet<String> =
        operations().iter().filter(acr).map(|operation| operation.name.to_owned()).collect();
    assert_eq!(have, wanted);
    let extensions = operations().iter().filter(|operation| operation.stage == Stage::Extension);
    let names: Vec<&str> = extensions.map(|operation| operation.name).collect();
    assert_eq!(
        names,
        [
            "UpdateInstanceQuota",
            "CreateArtifactBuildTask",
            "ListArtifactBuildTask",
            "CancelArtifactSubscriptionTask",
            "ListArtifactSubscriptionTaskLog",
            "CreateMaintenanceTask",
            "GetMaintenanceTask",
            "ListMaintenanceTask",
            "ListMaintenanceTaskLog",
            "CancelMaintenanceTask",
        ]
    );
}

#[test]
fn answers_have_the_contracts_fields_and_types() {
    let contract = contract();
    for operation in operations().iter().filter(|operation| operation.stage == Stage::Acr) {
        let mut wanted = object(&contract[operation.name], "response").clone();
        wanted.retain(|name, _| !ENVELOPE.contains(&name.as_str()));
        compare(operation.name, operation.response, &wanted);
    }
}

fn compare(path: &str, fields: &[Field], wanted: &Map<String, Value>) {
    let acr: BTreeMap<&str, &Field> = fields
        .iter()
        .filter(|field| field.stage == Stage::Acr)
        .map(|field| (field.name, field))
        .collect();
    let names: BTreeSet<&str> = acr.keys().copied().collect();
    let wanted_names: BTreeSet<&str> = wanted.keys().map(String::as_str).collect();
    assert_eq!(names, wanted_names, "{path}");
    for (name, field) in acr {
        let path = format!("{path}.{name}");
        let entry = &wanted[name];
        let kind = kind_of(entry["type"].as_str().expect("a type"));
        assert_eq!(field.kind, kind, "{path}");
        match entry.get("fields") {
            Some(Value::Object(inner)) => compare(&path, field.fields, inner),
            _ => assert!(field.fields.is_empty(), "{path}"),
        }
    }
}

#[test]
fn decoders_know_the_contracts_parameters() {
    let contract = contract();
    for operation in operations().iter().filter(|operation| operation.stage == Stage::Acr) {
        let name = operation.name;
        let wanted = object(&contract[name], "request");
        let acr = operation.request.iter().filter(|field| field.stage == Stage::Acr);
        let known: BTreeMap<&str, &Field> = acr.map(|field| (field.name, field)).collect();
        assert_eq!(
            known.keys().copied().collect::<BTreeSet<_>>(),
            wanted.keys().map(String::as_str).collect(),
            "{name}"
        );
        for (parameter, entry) in wanted {
            let field = known[parameter.as_str()];
            let required = entry["required"] == true;
            assert_eq!(field.required, required, "{name}.{parameter}");
            // Update types two switches as text that everything else types as booleans.
            let kind = kind_of(entry["type"].as_str().expect("a type"));
            let switch = ["Accelerate", "Override"].contains(&parameter.as_str());
            assert!(field.kind == kind || switch, "{name}.{parameter}");
        }
    }
}

#[test]
fn the_table_documents_itself() {
    let mut names = BTreeSet::new();
    for operation in operations() {
        let name = operation.name;
        assert!(names.insert(name), "{name} twice");
        assert!(find(name).is_some_and(|found| found.name == name));
        assert!(operation.doc.ends_with('.'), "{name}: {}", operation.doc);
        assert!(operation.ram_action.starts_with("cr:"), "{name}");
        assert!(!operation.methods.is_empty(), "{name}");
        assert_documented(name, operation.request);
        assert_documented(name, operation.response);
    }
    assert!(find("getinstance").is_none());
}

fn assert_documented(path: &str, fields: &[Field]) {
    for field in fields {
        let path = format!("{path}.{}", field.name);
        assert!(field.doc.trim().ends_with('.'), "{path}: {:?}", field.doc);
        assert_documented(&path, field.fields);
    }
}

#[test]
fn extensions_are_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contract/extensions.md");
    let text = fs::read_to_string(path).expect("the list of extensions");
    let mut wanted: Vec<String> = CODES
        .iter()
        .filter(|code| code.source == CodeSource::Berth)
        .map(|code| code.name.to_owned())
        .collect();
    for operation in operations() {
        if operation.stage == Stage::Extension {
            wanted.push(operation.name.to_owned());
            continue;
        }
        for field in operation.request {
            if field.stage == Stage::Extension {
                wanted.push(format!("{}.{}", operation.name, field.name));
            }
        }
        extensions_of(operation.name, operation.response, &mut wanted);
    }
    let missing: Vec<String> =
        wanted.into_iter().filter(|name| !text.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "not in contract/extensions.md: {missing:#?}");
}

fn extensions_of(path: &str, fields: &[Field], found: &mut Vec<String>) {
    for field in fields {
        let path = format!("{path}.{}", field.name);
        if field.stage == Stage::Extension {
            found.push(path.clone());
        }
        extensions_of(&path, field.fields, found);
    }
}

#[test]
fn authorisation_is_one_call() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut calls = Vec::new();
    let mut folders = vec![source];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if fs::read_to_string(&path).expect("a file").contains(".authorize(") {
                calls.push(path.file_name().expect("a name").to_owned());
            }
        }
    }
    assert_eq!(calls, ["dispatch.rs"]);
}
