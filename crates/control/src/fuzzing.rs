//! A door for the fuzz targets (`fuzz/`): what a request says, before an operation sees it.

use berth_auth::encoding::{merge, parse_form};
use serde_json::Value;

use crate::operations::operations;
use crate::parameters::Parameters;

/// Reads the first line of the bytes as query and the rest as JSON body, then the request of every
/// operation out of them.
pub fn parameters(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let query = parse_form(parts.next().unwrap_or_default());
    let mut parameters = Parameters::new(merge(&query, &[]));
    if let Ok(Value::Object(body)) = serde_json::from_slice(parts.next().unwrap_or_default()) {
        parameters.overlay(body);
    }
    for operation in operations() {
        // A refusal is as good as a request, and names what it refuses.
        if let Err(error) = (operation.decode)(&parameters) {
            assert!(!error.code().is_empty());
        }
    }
}

#[cfg(test)]
#[path = "../../../fuzz/inputs.rs"]
mod inputs;

/// Inputs of the fuzz target, read once more by every run of the tests.
#[cfg(test)]
#[test]
fn parameters_that_once_did_harm_end_well() {
    inputs::each("parameters", parameters);
}
