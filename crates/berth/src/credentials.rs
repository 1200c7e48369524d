//! Which credentials a registry is given on the command line: those that were given for its very
//! host, and no others.
//!
//! In this order: `--creds`, the key pair of the environment for the host of `BERTH_ENDPOINT`, a
//! root-credentials.json for the host of its endpoint, Docker's configuration. Over plain HTTP they
//! leave this machine only when `--plain-credentials` says so.

mod docker;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use berth_oci::client::{ClientConfig, Credentials};
use berth_types::Secret;
use clap::Args;
use serde::Deserialize;
use url::{Host, Url};

use crate::api::parse_endpoint;
use crate::cli::Failure;
use docker::DockerConfig;

/// How registries that are named on the command line are reached and logged in to.
#[derive(Debug, Args)]
pub(crate) struct RegistryArgs {
    /// User and password for the registry on the command line; where there are two, HOST says for
    /// which. May be repeated.
    #[arg(long, value_name = "[HOST=]USER:PASSWORD", value_parser = secret)]
    creds: Vec<Secret>,
    /// A root-credentials.json, whose key pair is for the host of its endpoint.
    #[arg(long, value_name = "FILE", env = "BERTH_CREDENTIALS")]
    credentials: Option<PathBuf>,
    /// Sends credentials without TLS to hosts other than this machine.
    #[arg(long)]
    plain_credentials: bool,
    /// PEM file of a certificate authority to trust besides the usual ones.
    #[arg(long, value_name = "FILE", env = "BERTH_CA")]
    ca: Option<PathBuf>,
}

#[expect(clippy::unnecessary_wraps, reason = "what clap wants of a parser")]
fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

/// A root-credentials.json.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CredentialsFile {
    pub(crate) access_key_id: String,
    pub(crate) access_key_secret: Secret,
    pub(crate) endpoint: String,
}

impl CredentialsFile {
    /// Reads the file.
    ///
    /// # Errors
    /// [`Failure::Usage`] when it cannot be read or is something else.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read(path)
            .map_err(|error| Failure::Usage(format!("cannot read {}: {error}", path.display())))?;
        serde_json::from_slice(&text).map_err(|error| {
            Failure::Usage(format!("{} is not as expected: {error}", path.display()))
        })
    }
}

/// The key pair in the environment.
///
/// # Errors
/// [`Failure::Usage`] when only one half of it is there.
pub(crate) fn environment_pair() -> Result<Option<(String, Secret)>, Failure> {
    match (variable("BERTH_ACCESS_KEY_ID"), variable("BERTH_ACCESS_KEY_SECRET")) {
        (Some(id), Some(secret)) => Ok(Some((id, Secret::new(secret)))),
        (None, None) => Ok(None),
        _ => Err(Failure::Usage(
            "set BERTH_ACCESS_KEY_ID and BERTH_ACCESS_KEY_SECRET together".to_owned(),
        )),
    }
}

/// A variable that is set to something.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether two endpoints are the same host and port.
pub(crate) fn same_host(one: &Url, other: &Url) -> bool {
    one.host() == other.host() && one.port_or_known_default() == other.port_or_known_default()
}

/// Credentials with the host that they were given for.
struct Entry {
    /// As people know it, for messages.
    source: &'static str,
    /// `None` for `--creds`, which name the host as it is typed.
    endpoint: Option<Url>,
    host: String,
    credentials: Credentials,
}

/// All credentials that a command was given.
pub(crate) struct Keyring {
    entries: Vec<Entry>,
    docker: DockerConfig,
    plain: bool,
    ca: Option<Vec<u8>>,
    /// Why the key pair of the environment is for no host.
    unbound: Option<String>,
}

/// A configured client, and what to say when the registry does not let it in.
pub(crate) struct Login {
    pub(crate) config: ClientConfig,
    pub(crate) note: String,
}

impl RegistryArgs {
    /// Gathers what was given; `hosts` are the registries on the command line as `host[:port]`.
    ///
    /// # Errors
    /// [`Failure::Usage`] when something cannot be read, or it is not clear for whom it is.
    pub(crate) fn keyring(&self, hosts: &[String]) -> Result<Keyring, Failure> {
        let mut entries = Vec::new();
        if hosts.is_empty() && self.creds.is_empty() {
            // Nobody will be asked: what lies around is not looked at.
            let (docker, plain) = (DockerConfig::default(), false);
            return Ok(Keyring { entries, docker, plain, ca: None, unbound: None });
        }
        for text in &self.creds {
            let (host, credentials) = split_creds(text.expose(), hosts)?;
            entries.push(Entry { source: "--creds", endpoint: None, host, credentials });
        }
        let mut unbound = None;
        if let Some((username, password)) = environment_pair()? {
            match variable("BERTH_ENDPOINT") {
                Some(endpoint) => entries.push(Entry::of_endpoint(
                    "BERTH_ACCESS_KEY_ID",
                    &endpoint,
                    Credentials { username, password },
                )?),
                None => {
                    unbound = Some(
                        "BERTH_ACCESS_KEY_ID is set without BERTH_ENDPOINT, the host that it is for"
                            .to_owned(),
                    );
                }
            }
        }
        if let Some(path) = &self.credentials {
            let file = CredentialsFile::read(path)?;
            let (username, password) = (file.access_key_id, file.access_key_secret);
            let credentials = Credentials { username, password };
            entries.push(Entry::of_endpoint("--credentials", &file.endpoint, credentials)?);
        }
        let ca = self.ca.as_deref().map(|path| {
            std::fs::read(path)
                .map_err(|error| Failure::Usage(format!("cannot read {}: {error}", path.display())))
        });
        let docker = DockerConfig::find()?;
        Ok(Keyring { entries, docker, plain: self.plain_credentials, ca: ca.transpose()?, unbound })
    }
}

impl Entry {
    fn of_endpoint(
        source: &'static str,
        endpoint: &str,
        credentials: Credentials,
    ) -> Result<Self, Failure> {
        let url = parse_endpoint(endpoint).ok_or_else(|| {
            Failure::Usage(format!("endpoint `{endpoint}` is not http(s)://host:port"))
        })?;
        let host = url.host_str().unwrap_or_default().to_owned();
        Ok(Self { source, endpoint: Some(url), host, credentials })
    }

    fn is_for(&self, host: &str, base: &Url) -> bool {
        match &self.endpoint {
            Some(endpoint) => same_host(endpoint, base),
            None => self.host == host,
        }
    }
}

impl Keyring {
    /// A client's configuration for `[http(s)://]host[:port]`, with the credentials that are for it.
    ///
    /// # Errors
    /// When `--creds` would be sent in clear text, or a credential helper says nonsense.
    pub(crate) fn login(&self, endpoint: &str) -> anyhow::Result<Login> {
        let mut config = ClientConfig::for_endpoint(endpoint)?;
        // Whoever types an address here may contact it.
        config.allow = vec!["0.0.0.0/0".parse()?, "::/0".parse()?];
        config.ca.clone_from(&self.ca);
        let base = config.base()?;
        let host = config.host.clone();
        let Some((source, credentials)) = self.find(&host, &base)? else {
            return Ok(Login { note: self.nothing_for(&host), config });
        };
        let note = if base.scheme() == "https" || self.plain || is_this_machine(&base) {
            config.credentials = Some(credentials);
            format!("{host} was given the credentials of {source}")
        } else if source == "--creds" {
            anyhow::bail!(
                "the credentials of --creds would go to {host} in clear text; use https, or say \
                 --plain-credentials"
            );
        } else {
            format!(
                "the credentials of {source} were not sent to {host}, since they would go in clear \
                 text; use https, or say --plain-credentials"
            )
        };
        Ok(Login { config, note })
    }

    fn find(&self, host: &str, base: &Url) -> anyhow::Result<Option<(&'static str, Credentials)>> {
        let entry = self.entries.iter().find(|entry| entry.is_for(host, base));
        if let Some(entry) = entry {
            return Ok(Some((entry.source, entry.credentials.clone())));
        }
        let docker = self.docker.credentials(host).context("Docker's configuration")?;
        Ok(docker.map(|credentials| ("Docker's configuration", credentials)))
    }

    fn nothing_for(&self, host: &str) -> String {
        let mut note = format!(
            "no credentials are known for {host}: give --creds, BERTH_ENDPOINT with \
             BERTH_ACCESS_KEY_ID and BERTH_ACCESS_KEY_SECRET, --credentials, or `docker login`"
        );
        for entry in &self.entries {
            let given_for = entry.endpoint.as_ref().map_or(entry.host.as_str(), Url::as_str);
            note.push_str(&format!("; {} is for {given_for}", entry.source));
        }
        if let Some(unbound) = &self.unbound {
            note.push_str(&format!("; {unbound}"));
        }
        note
    }
}

/// Whether a host is this machine: nothing that is sent there passes a network.
fn is_this_machine(base: &Url) -> bool {
    match base.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    }
}

/// `[HOST=]USER:PASSWORD` taken apart.
fn split_creds(text: &str, hosts: &[String]) -> Result<(String, Credentials), Failure> {
    let named =
        hosts.iter().find_map(|host| Some((host, text.strip_prefix(host)?.strip_prefix('=')?)));
    let (host, pair) = match (named, hosts) {
        (Some((host, pair)), _) => (host, pair),
        (None, [host]) if !names_a_host(text) => (host, text),
        (None, []) => return usage("--creds is given, but no image is in a registry"),
        (None, [_]) => return usage("--creds names a host that is not on the command line"),
        (None, _) => return usage("there are two registries: write --creds HOST=USER:PASSWORD"),
    };
    let Some((username, password)) = pair.split_once(':') else {
        return usage("--creds is not of the form [HOST=]USER:PASSWORD");
    };
    let password = Secret::new(password);
    Ok((host.clone(), Credentials { username: username.to_owned(), password }))
}

/// Whether the text begins with what can only be meant as `HOST=`: a mistyped host must not give its
/// password to another one.
fn names_a_host(text: &str) -> bool {
    text.split_once('=').is_some_and(|(host, _)| {
        let bare =
            Url::parse(&format!("http://{host}/")).is_ok_and(|url| url.username().is_empty());
        let (name, port) = host.rsplit_once(':').unwrap_or((host, ""));
        let has_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        bare && (has_port || name == "localhost" || (name.contains('.') && port.is_empty()))
    })
}

fn usage<T>(text: &str) -> Result<T, Failure> {
    Err(Failure::Usage(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str, hosts: &[&str]) -> Option<(String, String, String)> {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let (host, pair) = split_creds(text, &hosts).ok()?;
        Some((host, pair.username, pair.password.expose().to_owned()))
    }

    #[test]
    fn creds_are_for_the_host_on_the_command_line() {
        let found = |host: &str, user: &str, password: &str| {
            Some((host.to_owned(), user.to_owned(), password.to_owned()))
        };
        assert_eq!(split("me:pw", &["a.example"]), found("a.example", "me", "pw"));
        assert_eq!(split("me:p=w:x", &["a.example"]), found("a.example", "me", "p=w:x"));
        let two = ["a.example", "127.0.0.1:5000"];
        assert_eq!(split("127.0.0.1:5000=me:pw", &two), found("127.0.0.1:5000", "me", "pw"));
        assert_eq!(split("me:pw", &two), None);
        assert_eq!(split("b.example=me:pw", &["a.example"]), None);
        assert_eq!(split("localhost:1=me:pw", &["a.example"]), None);
        assert_eq!(split("me:pw", &[]), None);
        assert_eq!(split("me", &["a.example"]), None);
    }

    #[test]
    fn only_loopback_is_this_machine() {
        let here = |text: &str| is_this_machine(&Url::parse(text).expect(text));
        for text in
            ["http://127.0.0.1:5000", "http://localhost", "http://[::1]:1", "http://a.localhost:5"]
        {
            assert!(here(text), "{text}");
        }
        for text in ["http://192.168.0.1", "http://localhost.example", "http://[2001:db8::1]"] {
            assert!(!here(text), "{text}");
        }
    }

    #[test]
    fn credentials_are_for_one_host_and_port() {
        let keyring = Keyring {
            entries: vec![
                Entry::of_endpoint(
                    "BERTH_ACCESS_KEY_ID",
                    "http://127.0.0.1:5000",
                    Credentials { username: "root".to_owned(), password: Secret::new("secret") },
                )
                .expect("an entry"),
            ],
            docker: DockerConfig::default(),
            plain: false,
            ca: None,
            unbound: None,
        };
        let sent = |endpoint: &str| keyring.login(endpoint).expect("a login").config.credentials;
        assert!(sent("http://127.0.0.1:5000").is_some());
        for other in
            ["http://127.0.0.1:5001", "http://127.0.0.2:5000", "127.0.0.1", "http://localhost:5000"]
        {
            assert!(sent(other).is_none(), "{other}");
        }
    }
}
