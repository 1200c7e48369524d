use berth_auth::encoding::{merge, parse_form};
use proptest::prelude::{any, prop, proptest};
use serde_json::json;

use super::{Json, Parameter, Parameters, Text};
use crate::operations::operations;

fn parameters(query: &str) -> Parameters {
    Parameters::new(merge(&parse_form(query.as_bytes()), &[]))
}

fn read<T: Parameter>(query: &str) -> Result<T, String> {
    T::read(&parameters(query), "P").map_err(|error| error.code().to_owned())
}

fn object(query: &str) -> serde_json::Value {
    read::<Json<serde_json::Value>>(query).expect("an object").0
}

#[test]
fn scalars_come_in_every_spelling() {
    assert_eq!(read::<bool>("P=True"), Ok(true));
    assert_eq!(read::<bool>("P=FALSE"), Ok(false));
    assert_eq!(read::<Option<bool>>("P="), Ok(None));
    assert_eq!(read::<bool>("P=1"), Err("InvalidP".to_owned()));
    assert_eq!(read::<i64>("P=30"), Ok(30));
    assert_eq!(read::<i64>("P=3.5"), Err("InvalidP".to_owned()));
    assert_eq!(read::<i64>("P=99999999999999999999"), Err("InvalidP".to_owned()));
    assert_eq!(read::<i64>(""), Err("MissingP".to_owned()));
    assert_eq!(read::<String>("P="), Err("MissingP".to_owned()));
    assert_eq!(read::<Text>("P="), Ok(Text(String::new())));
    assert_eq!(read::<Option<Text>>("Q=1"), Ok(None));
}

#[test]
fn lists_are_numbered_or_json_or_single() {
    let list = |query| read::<Vec<String>>(query);
    let ab = Ok(vec!["a".to_owned(), "b".to_owned()]);
    assert_eq!(list("P.2=b&P.1=a"), ab);
    assert_eq!(list("P=%5B%22a%22,%22b%22%5D"), ab);
    assert_eq!(list("P=a"), Ok(vec!["a".to_owned()]));
    assert_eq!(list("P.x=a"), Err("MissingP".to_owned()));
    assert_eq!(list("P=%5B1,true%5D"), Ok(vec!["1".to_owned(), "true".to_owned()]));
    assert_eq!(list("P=%5B%7B%7D%5D"), Err("InvalidP".to_owned()));
    assert_eq!(list("P=%5B"), Err("InvalidP".to_owned()));
    let many: Vec<String> = (1..=12).map(|number| format!("P.{number}={number}")).collect();
    let numbers: Vec<String> = (1..=12).map(|number| number.to_string()).collect();
    assert_eq!(list(&many.join("&")), Ok(numbers));
}

#[test]
fn objects_are_json_or_flattened() {
    assert_eq!(object("P=%7B%22A%22:true%7D"), json!({"A": true}));
    assert_eq!(object("P.A=true&P.B.C=1"), json!({"A": "true", "B": {"C": "1"}}));
    assert_eq!(object("P.A.2=y&P.A.10=z&P.A.1=x"), json!({"A": ["x", "y", "z"]}));
    assert_eq!(object("P.A=1&P.A.B=2"), json!({"A": "1"}));
    for bad in ["P=1", "P=%5B%5D", "P=%7B", "P=%5Bobject%20Object%5D"] {
        assert_eq!(
            read::<Json<serde_json::Value>>(bad).map(|json| json.0),
            Err("InvalidP".to_owned()),
            "{bad}"
        );
    }
}

#[test]
fn a_json_body_wins() {
    let mut merged = parameters("P=1&Q=2");
    let body = json!({"P": 7, "L": ["a"], "O": {"K": "v"}, "N": null, "Q": "text"});
    merged.overlay(body.as_object().expect("an object").clone());
    assert_eq!(merged.get("P"), Some("7"));
    assert_eq!(merged.get("Q"), Some("text"));
    assert_eq!(merged.get("N"), None);
    assert_eq!(Vec::<String>::read(&merged, "L").ok(), Some(vec!["a".to_owned()]));
    let read = Json::<serde_json::Value>::read(&merged, "O").map(|json| json.0);
    assert_eq!(read.ok(), Some(json!({"K": "v"})));
}

proptest! {
    #[test]
    fn no_query_makes_a_decoder_panic(raw in any::<Vec<u8>>()) {
        let parameters = Parameters::new(merge(&parse_form(&raw), &[]));
        for operation in operations() {
            drop((operation.decode)(&parameters));
        }
    }

    #[test]
    fn no_value_makes_a_decoder_panic(
        values in prop::collection::vec((any::<prop::sample::Index>(), "\\PC{0,3}(\\.[0-9A-Za-z]{0,3}){0,3}", any::<String>()), 0..12),
    ) {
        for operation in operations() {
            let pairs: Vec<(String, String)> = values
                .iter()
                .map(|(index, suffix, value)| {
                    let field = index.get(operation.request);
                    let dot = suffix.find('.').unwrap_or(suffix.len());
                    (format!("{}{}", field.name, &suffix[dot..]), value.clone())
                })
                .collect();
            drop((operation.decode)(&Parameters::new(merge(&pairs, &[]))));
        }
    }
}
