//! `berth call`: one signed call of any operation of the API.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use berth_types::Secret;
use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::{Failure, runtime};
use crate::api::{ApiClient, parse_endpoint};

const TIMEOUT: Duration = Duration::from_secs(60);

/// Calls an operation of the API and prints its JSON answer.
///
/// Exit code 1 when the server answers with an error, 2 when the call is not well-formed.
#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    /// Scheme, host and port of the server; from the credentials file when not given.
    #[arg(long, value_name = "URL", env = "BERTH_ENDPOINT")]
    endpoint: Option<String>,
    /// A root-credentials.json; BERTH_ACCESS_KEY_ID and BERTH_ACCESS_KEY_SECRET win over it.
    #[arg(long, value_name = "FILE", env = "BERTH_CREDENTIALS")]
    credentials: Option<PathBuf>,
    /// PEM file of a certificate authority to trust besides the usual ones.
    #[arg(long, value_name = "FILE", env = "BERTH_CA")]
    ca: Option<PathBuf>,
    /// Name of the operation, such as GetArtifactBuildTask.
    action: String,
    /// Its parameters, as `--Name value` or `--Name=value`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "--Param value")]
    parameters: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CredentialsFile {
    access_key_id: String,
    access_key_secret: Secret,
    endpoint: String,
}

/// Makes the call.
pub(crate) fn run(args: &CallArgs) -> Result<(), Failure> {
    let parameters = read_parameters(&args.parameters).map_err(Failure::Usage)?;
    let client = api_client(args)?;
    let answer = runtime()?.block_on(client.send(&args.action, &parameters))?;
    let json: Option<Value> = serde_json::from_str(&answer.body).ok();
    let text = match &json {
        Some(json) => serde_json::to_string_pretty(json).unwrap_or_default(),
        None => answer.body.clone(),
    };
    let mut output = std::io::stdout().lock();
    writeln!(output, "{text}").context("cannot write the answer")?;
    if answer.is_success(json.as_ref()) { Ok(()) } else { Err(Failure::Silent) }
}

/// Reads `--Name value` and `--Name=value`.
fn read_parameters(words: &[String]) -> Result<Vec<(String, String)>, String> {
    let mut parameters = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let name = word
            .strip_prefix("--")
            .filter(|name| !name.is_empty())
            .ok_or_else(|| format!("`{word}`: parameters are written --Name value"))?;
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => {
                let value = words.next().ok_or_else(|| format!("--{name} has no value"))?;
                (name, value.clone())
            }
        };
        parameters.push((name.to_owned(), value));
    }
    Ok(parameters)
}

fn api_client(args: &CallArgs) -> Result<ApiClient, Failure> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let file = match &args.credentials {
        Some(path) => Some(read_credentials(path)?),
        None => None,
    };
    let pair = match (variable("BERTH_ACCESS_KEY_ID"), variable("BERTH_ACCESS_KEY_SECRET")) {
        (Some(id), Some(secret)) => Some((id, Secret::new(secret))),
        (None, None) => None,
        _ => {
            return Err(Failure::Usage(
                "set BERTH_ACCESS_KEY_ID and BERTH_ACCESS_KEY_SECRET together".to_owned(),
            ));
        }
    };
    let endpoint =
        args.endpoint.clone().or_else(|| file.as_ref().map(|file| file.endpoint.clone()));
    let pair = pair.or_else(|| file.map(|file| (file.access_key_id, file.access_key_secret)));
    match (endpoint, pair) {
        (Some(endpoint), Some((access_key_id, access_key_secret))) => {
            let endpoint = parse_endpoint(&endpoint).ok_or_else(|| {
                Failure::Usage(format!("endpoint `{endpoint}` is not http(s)://host:port"))
            })?;
            let http = http_client(args.ca.as_deref())?;
            Ok(ApiClient { http, endpoint, access_key_id, access_key_secret })
        }
        _ => Err(Failure::Usage(
            "set BERTH_ENDPOINT, BERTH_ACCESS_KEY_ID and BERTH_ACCESS_KEY_SECRET, or name a \
             root-credentials.json with --credentials"
                .to_owned(),
        )),
    }
}

fn read_credentials(path: &Path) -> Result<CredentialsFile, Failure> {
    let text = std::fs::read(path)
        .map_err(|error| Failure::Usage(format!("cannot read {}: {error}", path.display())))?;
    serde_json::from_slice(&text)
        .map_err(|error| Failure::Usage(format!("{} is not as expected: {error}", path.display())))
}

fn http_client(ca: Option<&Path>) -> Result<reqwest::Client, Failure> {
    let mut builder = reqwest::Client::builder().timeout(TIMEOUT).no_proxy();
    if let Some(path) = ca {
        let pem = std::fs::read(path)
            .map_err(|error| Failure::Usage(format!("cannot read {}: {error}", path.display())))?;
        let certificate = reqwest::Certificate::from_pem(&pem)
            .with_context(|| format!("{} holds no certificate", path.display()))?;
        builder = builder.add_root_certificate(certificate);
    }
    Ok(builder.build().context("cannot make an HTTP client")?)
}

#[cfg(test)]
mod tests {
    use super::read_parameters;

    #[test]
    fn parameters() {
        let words = |words: &[&str]| {
            read_parameters(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            words(&["--RepoId", "crr-1", "--Tag=a=b", "--Text", "--x"]),
            Ok(vec![pair("RepoId", "crr-1"), pair("Tag", "a=b"), pair("Text", "--x")])
        );
        assert!(words(&["RepoId"]).is_err());
        assert!(words(&["--RepoId"]).is_err());
        assert!(words(&["--", "x"]).is_err());
    }
}
