//! A signed client of the control plane, for `berth call` and the demo.

use anyhow::{Context as _, bail};
use berth_auth::signature::acs3::{Outgoing, sign};
use berth_types::{Clock as _, Secret, SystemClock};
use serde_json::Value;
use url::Url;

const VERSION: &str = "2018-12-01";

/// Where calls go and who signs them.
pub(crate) struct ApiClient {
    pub(crate) http: reqwest::Client,
    /// `http(s)://host[:port]`
    pub(crate) endpoint: Url,
    pub(crate) access_key_id: String,
    pub(crate) access_key_secret: Secret,
}

/// An answer as it came.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Reads an endpoint: `http(s)://host[:port]`.
pub(crate) fn parse_endpoint(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

impl ApiClient {
    /// Calls an operation, signed with V3, all parameters in the query as the official SDKs do.
    ///
    /// # Errors
    /// When the server cannot be reached or the answer breaks off.
    pub(crate) async fn send(
        &self,
        action: &str,
        parameters: &[(String, String)],
    ) -> anyhow::Result<Answer> {
        let mut url = self.endpoint.clone();
        url.set_path("/");
        url.query_pairs_mut().clear().extend_pairs(parameters);
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        let headers = sign(
            &Outgoing {
                method: "POST",
                host: &host,
                action,
                version: VERSION,
                query: parameters,
                body: b"",
                content_type: None,
                nonce: &uuid::Uuid::new_v4().simple().to_string(),
                now: SystemClock.now(),
            },
            &self.access_key_id,
            &self.access_key_secret,
        );
        let mut request = self.http.post(url).header("accept", "application/json");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response = request.send().await.context("cannot reach the server")?;
        let status = response.status().as_u16();
        let body = response.text().await.context("the answer broke off")?;
        Ok(Answer { status, body })
    }

    /// Calls an operation and takes nothing but success.
    ///
    /// # Errors
    /// When the server refuses; names operation, code and message.
    pub(crate) async fn call(
        &self,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> anyhow::Result<Value> {
        let parameters: Vec<(String, String)> = parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let answer = self.send(action, &parameters).await?;
        let value: Value = serde_json::from_str(&answer.body)
            .with_context(|| format!("{action} answered {}: {}", answer.status, answer.body))?;
        if !answer.is_success(Some(&value)) {
            bail!("{action}: {} {}", value["Code"], value["Message"]);
        }
        Ok(value)
    }
}

impl Answer {
    /// Whether the call was understood and done.
    pub(crate) fn is_success(&self, json: Option<&Value>) -> bool {
        let refused = json.is_some_and(|json| json["IsSuccess"] == Value::Bool(false));
        (200..300).contains(&self.status) && !refused
    }
}
