//! `berth call`: one signed call of any operation of the API.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::Value;
use url::Url;

use super::{Failure, runtime};
use crate::api::{ApiClient, parse_endpoint};
use crate::credentials::{CredentialsFile, environment_pair, same_host, variable};

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

/// Makes the call.
pub(crate) fn run(args: &CallArgs) -> Result<(), Failure> {
    let parameters = read_parameters(&args.parameters)?;
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
fn read_parameters(words: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let mut parameters = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let name = word.strip_prefix("--").filter(|name| !name.is_empty()).ok_or_else(|| {
            Failure::Usage(format!("`{word}`: parameters are written --Name value"))
        })?;
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => {
                let missing = || Failure::Usage(format!("--{name} has no value"));
                let value = words.next().ok_or_else(missing)?;
                (name, value.clone())
            }
        };
        parameters.push((name.to_owned(), value));
    }
    Ok(parameters)
}

fn api_client(args: &CallArgs) -> Result<ApiClient, Failure> {
    let file = match &args.credentials {
        Some(path) => Some(CredentialsFile::read(path)?),
        None => None,
    };
    let pair = environment_pair()?;
    let endpoint =
        args.endpoint.clone().or_else(|| file.as_ref().map(|file| file.endpoint.clone()));
    let Some(endpoint) = endpoint else { return Err(incomplete()) };
    let endpoint = parse_endpoint(&endpoint).ok_or_else(|| {
        Failure::Usage(format!("endpoint `{endpoint}` is not http(s)://host:port"))
    })?;
    let (access_key_id, access_key_secret) = match (pair, file) {
        (Some(pair), _) => {
            check_host(&endpoint, "BERTH_ACCESS_KEY_ID", variable("BERTH_ENDPOINT").as_deref())?;
            pair
        }
        (None, Some(file)) => {
            // Who names both on the command line, or sets both, says that they belong together.
            let inherited = variable("BERTH_CREDENTIALS").map(PathBuf::from) == args.credentials;
            let typed = args.endpoint.is_some() && args.endpoint != variable("BERTH_ENDPOINT");
            if inherited && typed {
                check_host(&endpoint, "BERTH_CREDENTIALS", Some(&file.endpoint))?;
            }
            (file.access_key_id, file.access_key_secret)
        }
        (None, None) => return Err(incomplete()),
    };
    let http = http_client(args.ca.as_deref())?;
    Ok(ApiClient { http, endpoint, access_key_id, access_key_secret })
}

fn incomplete() -> Failure {
    Failure::Usage(
        "set BERTH_ENDPOINT, BERTH_ACCESS_KEY_ID and BERTH_ACCESS_KEY_SECRET, or name a \
         root-credentials.json with --credentials"
            .to_owned(),
    )
}

/// Credentials of the environment sign calls to the host that they are for, and to no other.
fn check_host(endpoint: &Url, source: &str, given_for: Option<&str>) -> Result<(), Failure> {
    match given_for.and_then(parse_endpoint) {
        Some(given_for) if !same_host(&given_for, endpoint) => Err(Failure::Usage(format!(
            "{source} is for {given_for}, not for {endpoint}; name the credentials of that one with \
             --credentials"
        ))),
        _ => Ok(()),
    }
}

fn http_client(ca: Option<&Path>) -> Result<reqwest::Client, Failure> {
    let mut builder = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .no_proxy()
        // A signature is for the host that it names.
        .redirect(reqwest::redirect::Policy::none());
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
    use super::*;

    #[test]
    fn keys_of_the_environment_sign_for_their_host_alone() {
        let endpoint = parse_endpoint("http://127.0.0.1:5000").expect("an endpoint");
        for same in [None, Some("http://127.0.0.1:5000/"), Some("https://127.0.0.1:5000")] {
            assert!(check_host(&endpoint, "x", same).is_ok(), "{same:?}");
        }
        for other in ["http://127.0.0.1:5001", "https://registry.example"] {
            assert!(check_host(&endpoint, "x", Some(other)).is_err(), "{other}");
        }
    }

    #[test]
    fn parameters() {
        let words = |words: &[&str]| {
            read_parameters(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            words(&["--RepoId", "crr-1", "--Tag=a=b", "--Text", "--x"]).expect("parameters"),
            vec![pair("RepoId", "crr-1"), pair("Tag", "a=b"), pair("Text", "--x")]
        );
        assert!(words(&["RepoId"]).is_err());
        assert!(words(&["--RepoId"]).is_err());
        assert!(words(&["--", "x"]).is_err());
    }
}
