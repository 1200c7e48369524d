//! Credentials and tokens of one upstream. They go to the upstream's own origin and, for the
//! password, to the token server that passed [`realm::check`]; nowhere else.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, Method};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::challenge::{Challenge, challenges};
use super::transport::Exchange;
use super::{ClientConfig, ClientError, RegistryClient, realm};

/// Largest reply of a token server, bytes.
const MAX_TOKEN_REPLY: u64 = 1024 * 1024;

/// Least and assumed life of a token (distribution "Token Authentication": 60 s when unsaid).
const SHORTEST_TOKEN_LIFE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(crate) struct Authorization {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    scheme: Option<Scheme>,
    tokens: HashMap<String, Token>,
}

#[derive(Clone)]
enum Scheme {
    Basic,
    Bearer { realm: Url, service: Option<String> },
}

struct Token {
    header: HeaderValue,
    use_until: Instant,
}

/// What goes into `Authorization`, and whether it was made just now (so that a 401 to it is final).
pub(crate) struct Ticket {
    pub(crate) header: HeaderValue,
    pub(crate) fresh: bool,
}

#[derive(Deserialize)]
struct TokenReply {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Authorization {
    /// The header for a request of this scope; `None` until the upstream has asked for one.
    pub(crate) async fn ticket(
        &self,
        client: &RegistryClient,
        scope: &str,
    ) -> Result<Option<Ticket>, ClientError> {
        // Held while a token is fetched: others that want it wait instead of fetching it too.
        let mut state = self.state.lock().await;
        match state.scheme.clone() {
            None => Ok(None),
            Some(Scheme::Basic) => {
                Ok(basic(client.config()).map(|header| Ticket { header, fresh: true }))
            }
            Some(Scheme::Bearer { realm, service }) => {
                if let Some(token) = state.tokens.get(scope)
                    && token.use_until > Instant::now()
                {
                    return Ok(Some(Ticket { header: token.header.clone(), fresh: false }));
                }
                let token = fetch(client, realm, service.as_deref(), scope).await?;
                let header = token.header.clone();
                state.tokens.retain(|_, one| one.use_until > Instant::now());
                state.tokens.insert(scope.to_owned(), token);
                Ok(Some(Ticket { header, fresh: true }))
            }
        }
    }

    /// Learns from a 401 what the upstream wants.
    ///
    /// # Errors
    /// `Unauthorized` when it wants nothing that this client can give, `Realm` when it names a
    /// token server that is not taken.
    pub(crate) async fn learn(
        &self,
        client: &RegistryClient,
        headers: &HeaderMap,
        scope: &str,
        used: Option<&HeaderValue>,
        denied: ClientError,
    ) -> Result<(), ClientError> {
        let offered = challenges(headers);
        let bearer = offered.iter().find(|one| one.scheme == "bearer");
        let scheme = match bearer {
            Some(challenge) => bearer_scheme(client, challenge)?,
            None if offered.iter().any(|one| one.scheme == "basic")
                && client.config().credentials.is_some() =>
            {
                Scheme::Basic
            }
            None => return Err(denied),
        };
        let mut state = self.state.lock().await;
        state.scheme = Some(scheme);
        if state.tokens.get(scope).is_some_and(|token| Some(&token.header) == used) {
            state.tokens.remove(scope);
        }
        Ok(())
    }
}

fn bearer_scheme(client: &RegistryClient, challenge: &Challenge) -> Result<Scheme, ClientError> {
    let realm = challenge.parameter("realm").unwrap_or_default();
    let realm = realm::check(realm, client.base(), client.config())?;
    Ok(Scheme::Bearer { realm, service: challenge.parameter("service").map(str::to_owned) })
}

fn basic(config: &ClientConfig) -> Option<HeaderValue> {
    let credentials = config.credentials.as_ref()?;
    let pair = format!("{}:{}", credentials.username, credentials.password.expose());
    sensitive(&format!("Basic {}", STANDARD.encode(pair)))
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// Asks the token server (distribution "Token Authentication Specification").
async fn fetch(
    client: &RegistryClient,
    realm: Url,
    service: Option<&str>,
    scope: &str,
) -> Result<Token, ClientError> {
    let mut url = realm.clone();
    {
        let mut query = url.query_pairs_mut();
        service.map(|service| query.append_pair("service", service));
        query.append_pair("scope", scope);
        if let Some(credentials) = &client.config().credentials {
            query.append_pair("account", &credentials.username);
        }
    }
    let what = format!("a token for {scope}");
    let (url, what) = (&url, what.as_str());
    let body = client
        .retrying(|| async move {
            let mut exchange = Exchange::new(Method::GET, url.clone(), what);
            exchange.authorization = basic(client.config());
            let response = client.exchange(&exchange).await?;
            client.checked(response, what).await?.bytes(MAX_TOKEN_REPLY).await
        })
        .await?;
    let invalid = |reason: &str| ClientError::Protocol {
        what: format!("token server {}", super::dialer::host_of(&realm)),
        reason: reason.to_owned(),
    };
    let reply: TokenReply =
        serde_json::from_slice(&body).map_err(|error| invalid(&error.to_string()))?;
    let text = reply.token.or(reply.access_token).filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| invalid("the reply has no token"))?;
    let header = sensitive(&format!("Bearer {text}"))
        .ok_or_else(|| invalid("the token has characters that no header may have"))?;
    let life = reply.expires_in.map_or(SHORTEST_TOKEN_LIFE, Duration::from_secs);
    // Used for nine tenths of its life, and never longer than an hour.
    let life = life.clamp(SHORTEST_TOKEN_LIFE, Duration::from_secs(3600)) * 9 / 10;
    Ok(Token { header, use_until: Instant::now() + life })
}
