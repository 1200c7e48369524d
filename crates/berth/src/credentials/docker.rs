//! Docker's own configuration: what `docker login` left in `config.json` or in a credential helper.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use berth_oci::client::Credentials;
use berth_types::Secret;
use serde::Deserialize;

use super::variable;
use crate::cli::Failure;

/// The name under which Docker keeps the login to Docker Hub.
const HUB: &str = "https://index.docker.io/v1/";
/// What a helper says instead of a user name when it holds an identity token.
const IDENTITY_TOKEN: &str = "<token>";

/// The part of `config.json` that is about logins.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct DockerConfig {
    auths: HashMap<String, Auth>,
    /// The helper for all hosts.
    creds_store: Option<String>,
    /// Helpers of single hosts.
    cred_helpers: HashMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Auth {
    /// `user:password` in Base64.
    auth: Option<Secret>,
    username: Option<String>,
    password: Option<Secret>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: Secret,
}

impl DockerConfig {
    /// `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`; nothing when there is none.
    ///
    /// # Errors
    /// [`Failure::Usage`] when it is there and cannot be read.
    pub(super) fn find() -> Result<Self, Failure> {
        let folder = variable("DOCKER_CONFIG").map(PathBuf::from);
        let folder = folder.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".docker")));
        let Some(path) = folder.map(|folder| folder.join("config.json")) else {
            return Ok(Self::default());
        };
        let unreadable =
            |reason: String| Failure::Usage(format!("cannot read {}: {reason}", path.display()));
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| {
                // The text of the error could quote a secret.
                unreadable(format!("not as expected in line {}", error.line()))
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(unreadable(error.to_string())),
        }
    }

    /// What is kept for a host, `host[:port]`.
    ///
    /// # Errors
    /// When the entry is broken or the host's own helper cannot be asked.
    pub(super) fn credentials(&self, host: &str) -> anyhow::Result<Option<Credentials>> {
        let names = names_of(host);
        if let Some(helper) = names.iter().find_map(|name| self.cred_helpers.get(name)) {
            return ask(helper, &names);
        }
        if let Some(helper) = self.creds_store.as_deref().filter(|name| !name.is_empty()) {
            // A store that is not installed here is as good as an empty one.
            if let Ok(Some(found)) = ask(helper, &names) {
                return Ok(Some(found));
            }
        }
        let auth = names.iter().find_map(|name| self.auths.get(name)).or_else(|| {
            self.auths.iter().find_map(|(key, auth)| is_for(key, host).then_some(auth))
        });
        auth.map_or(Ok(None), |auth| auth.credentials().with_context(|| format!("auths of {host}")))
    }
}

impl Auth {
    fn credentials(&self) -> anyhow::Result<Option<Credentials>> {
        if let (Some(username), Some(password)) = (&self.username, &self.password) {
            let (username, password) = (username.clone(), password.clone());
            return Ok(Some(Credentials { username, password }));
        }
        let Some(auth) = self.auth.as_ref().filter(|auth| !auth.expose().is_empty()) else {
            return Ok(None);
        };
        let pair =
            STANDARD.decode(auth.expose()).ok().and_then(|pair| String::from_utf8(pair).ok());
        let pair = pair.context("`auth` is not Base64 of text")?;
        let (username, password) = pair.split_once(':').context("`auth` has no colon")?;
        // Docker pads with NUL.
        let password = Secret::new(password.trim_end_matches('\0'));
        Ok(Some(Credentials { username: username.to_owned(), password }))
    }
}

/// The keys under which Docker may keep a host, the usual one first.
fn names_of(host: &str) -> Vec<String> {
    let mut names = vec![host.to_owned(), format!("https://{host}"), format!("http://{host}")];
    if matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io") {
        names.insert(0, HUB.to_owned());
    }
    names
}

/// Whether a key of `auths` stands for the host: older clients wrote whole addresses.
fn is_for(key: &str, host: &str) -> bool {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    bare.is_some_and(|bare| {
        let (name, path) = bare.split_once('/').unwrap_or((bare, ""));
        name == host && matches!(path, "" | "v1" | "v1/" | "v2" | "v2/")
    })
}

/// Asks `docker-credential-<helper>` for the first of the names that it knows.
fn ask(helper: &str, names: &[String]) -> anyhow::Result<Option<Credentials>> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    anyhow::ensure!(helper.bytes().all(plain), "`{helper}` is not the name of a helper");
    let program = format!("docker-credential-{helper}");
    for name in names {
        let mut child = Command::new(&program)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot run {program}"))?;
        if let Some(mut input) = child.stdin.take() {
            // A helper that does not listen answers nothing; that is seen below.
            drop(writeln!(input, "{name}"));
        }
        let output = child.wait_with_output().with_context(|| program.clone())?;
        if !output.status.success() {
            continue;
        }
        let answer: Answer = serde_json::from_slice(&output.stdout)
            .map_err(|_| anyhow::anyhow!("{program} gave no user name and secret"))?;
        if answer.username != IDENTITY_TOKEN {
            return Ok(Some(Credentials { username: answer.username, password: answer.secret }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_of_docker() {
        let config: DockerConfig = serde_json::from_str(
            r#"{"auths": {
                "registry.example:5000": {"auth": "bWU6cHc6eA=="},
                "https://index.docker.io/v1/": {"auth": "aHViOnB3AA=="},
                "https://old.example/v1/": {"username": "old", "password": "pw"},
                "quay.io/team": {"auth": "bm86bm8="},
                "helped.example": {},
                "broken.example": {"auth": "?"}
            }, "credsStore": "not-installed-here", "detachKeys": "x"}"#,
        )
        .expect("a configuration");
        let found = |host: &str| {
            let found = config.credentials(host).expect(host);
            found.map(|pair| (pair.username, pair.password.expose().to_owned()))
        };
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(found("registry.example:5000"), pair("me", "pw:x"));
        assert_eq!(found("docker.io"), pair("hub", "pw"));
        assert_eq!(found("old.example"), pair("old", "pw"));
        for other in ["registry.example", "registry.example:5001", "quay.io", "helped.example"] {
            assert_eq!(found(other), None, "{other}");
        }
        assert!(config.credentials("broken.example").is_err());
    }
}
