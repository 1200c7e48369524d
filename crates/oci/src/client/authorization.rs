//! Credentials and tokens of one upstream. They go to the upstream's own origin and, for the
//! password, to the token server that passed [`realm::check`]; nowhere else. A host that the
//! upstream redirects to is answered with what its own challenge offers to everybody.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;

use super::challenge::{Challenge, challenges};
use super::dialer::host_of;
use super::transport::{Exchange, Wire};
use super::{ClientConfig, ClientError, realm};

/// Largest reply of a token server, bytes.
const MAX_TOKEN_REPLY: u64 = 1024 * 1024;

/// Least and assumed life of a token (distribution "Token Authentication": 60 s when unsaid).
const SHORTEST_TOKEN_LIFE: Duration = Duration::from_secs(60);

/// Longest `scope` of a challenge that is taken over, and how many are remembered.
const MAX_SCOPE: usize = 1024;
const MAX_SCOPES: usize = 1000;

#[derive(Default)]
pub(crate) struct Authorization {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    scheme: Option<Scheme>,
    /// What the upstream's challenges name for what is asked for.
    scopes: HashMap<Need, String>,
    tokens: HashMap<Grant, Token>,
}

/// What a request needs: the scope of the distribution specification, and the kind of its object,
/// as some registries have scopes of their own for lists.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Need {
    pub(crate) scope: String,
    pub(crate) kind: &'static str,
}

#[derive(Clone)]
enum Scheme {
    Basic,
    Bearer(Realm),
}

/// A token server, and whether it gets the password.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Realm {
    url: Url,
    service: Option<String>,
    with_password: bool,
}

/// What a token was given for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Grant {
    realm: Realm,
    scope: String,
}

struct Token {
    header: HeaderValue,
    use_until: Instant,
}

/// What goes into `Authorization`.
pub(crate) struct Ticket {
    pub(crate) header: HeaderValue,
    /// Whether it was made just now, so that a 401 to it is final.
    pub(crate) fresh: bool,
    /// `None` for a password.
    grant: Option<Grant>,
}

impl Authorization {
    /// The header for a request; `None` until the upstream has asked for one.
    pub(crate) async fn ticket(
        &self,
        wire: &Wire,
        need: &Need,
    ) -> Result<Option<Ticket>, ClientError> {
        // Held while a token is fetched: others that want it wait instead of fetching it too.
        let mut state = self.state.lock().await;
        match state.scheme.clone() {
            None => Ok(None),
            Some(Scheme::Basic) => {
                let header = basic(&wire.config);
                Ok(header.map(|header| Ticket { header, fresh: true, grant: None }))
            }
            Some(Scheme::Bearer(realm)) => {
                let scope = state.scopes.get(need).unwrap_or(&need.scope).clone();
                state.token(wire, Grant { realm, scope }).await.map(Some)
            }
        }
    }

    /// Learns from a 401 of the upstream what it wants.
    ///
    /// # Errors
    /// `denied` when it wants nothing that this client can give beyond what `used` was, `Realm` when
    /// it names a token server that is not taken.
    pub(crate) async fn learn(
        &self,
        wire: &Wire,
        headers: &HeaderMap,
        need: &Need,
        used: Option<&Ticket>,
        denied: ClientError,
    ) -> Result<(), ClientError> {
        let offered = challenges(headers);
        let has_password = wire.config.credentials.is_some();
        let mut state = self.state.lock().await;
        let fresh = used.is_some_and(|used| used.fresh);
        let Some(bearer) = offered.iter().find(|one| one.scheme == "bearer") else {
            let basic = has_password && offered.iter().any(|one| one.scheme == "basic");
            if !basic || fresh {
                return Err(denied);
            }
            state.scheme = Some(Scheme::Basic);
            return Ok(());
        };
        let realm = realm_of(bearer, wire, &wire.base, has_password)?;
        let scope = scope_of(bearer);
        let asked = used.and_then(|used| used.grant.as_ref());
        let wanted = scope.clone().unwrap_or_else(|| need.scope.clone());
        if fresh && asked.is_none_or(|asked| asked.realm == realm && asked.scope == wanted) {
            return Err(denied);
        }
        if let Some(scope) = scope {
            if state.scopes.len() >= MAX_SCOPES {
                state.scopes.clear();
            }
            state.scopes.insert(need.clone(), scope);
        }
        state.scheme = Some(Scheme::Bearer(realm));
        state.forget(used);
        Ok(())
    }

    /// Answers the 401 of a host that the upstream redirected to: with a token that its token server
    /// gives to anybody.
    ///
    /// # Errors
    /// `denied` when it asks for anything else.
    pub(crate) async fn anonymous(
        &self,
        wire: &Wire,
        from: &Url,
        headers: &HeaderMap,
        used: Option<&Ticket>,
        denied: ClientError,
    ) -> Result<Ticket, ClientError> {
        let offered = challenges(headers);
        let Some(bearer) = offered.iter().find(|one| one.scheme == "bearer") else {
            return Err(denied);
        };
        if used.is_some_and(|used| used.fresh) {
            return Err(denied);
        }
        let realm = realm_of(bearer, wire, from, false)?;
        let mut state = self.state.lock().await;
        state.forget(used);
        let scope = scope_of(bearer).unwrap_or_default();
        state.token(wire, Grant { realm, scope }).await
    }
}

impl State {
    async fn token(&mut self, wire: &Wire, grant: Grant) -> Result<Ticket, ClientError> {
        if let Some(token) = self.tokens.get(&grant)
            && token.use_until > Instant::now()
        {
            let header = token.header.clone();
            return Ok(Ticket { header, fresh: false, grant: Some(grant) });
        }
        let token = fetch(wire, &grant).await?;
        let header = token.header.clone();
        self.tokens.retain(|_, one| one.use_until > Instant::now());
        self.tokens.insert(grant.clone(), token);
        Ok(Ticket { header, fresh: true, grant: Some(grant) })
    }

    /// Drops a token that was refused, unless another request has renewed it since.
    fn forget(&mut self, refused: Option<&Ticket>) {
        let Some(Ticket { grant: Some(grant), header, .. }) = refused else { return };
        if self.tokens.get(grant).is_some_and(|token| token.header == *header) {
            self.tokens.remove(grant);
        }
    }
}

fn realm_of(
    challenge: &Challenge,
    wire: &Wire,
    registry: &Url,
    with_password: bool,
) -> Result<Realm, ClientError> {
    let named = challenge.parameter("realm").unwrap_or_default();
    let url = realm::check(named, registry, &wire.config, with_password)?;
    let service = challenge.parameter("service").map(str::to_owned);
    Ok(Realm { url, service, with_password })
}

/// The scope that a challenge names, where it is one.
fn scope_of(challenge: &Challenge) -> Option<String> {
    let scope = challenge.parameter("scope")?.trim();
    let usable = !scope.is_empty() && scope.len() <= MAX_SCOPE && !scope.contains(char::is_control);
    usable.then(|| scope.to_owned())
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
async fn fetch(wire: &Wire, grant: &Grant) -> Result<Token, ClientError> {
    let Grant { realm, scope } = grant;
    let credentials = wire.config.credentials.as_ref().filter(|_| realm.with_password);
    let mut url = realm.url.clone();
    {
        let mut query = url.query_pairs_mut();
        realm.service.as_deref().map(|service| query.append_pair("service", service));
        // A challenge may name several, with spaces between.
        for scope in scope.split_ascii_whitespace() {
            query.append_pair("scope", scope);
        }
        if let Some(credentials) = credentials {
            query.append_pair("account", &credentials.username);
        }
    }
    let what = format!("a token for {scope}");
    let (url, what) = (&url, what.as_str());
    let body = wire
        .retrying(|| async move {
            let mut exchange = Exchange::new(Method::GET, url.clone(), what);
            exchange.authorization = credentials.and_then(|_| basic(&wire.config));
            let response = wire.exchange(&exchange).await?;
            wire.checked(response, what).await?.bytes(MAX_TOKEN_REPLY).await
        })
        .await?;
    let invalid = |reason: &str| ClientError::Protocol {
        what: format!("token server {}", host_of(&realm.url)),
        reason: reason.to_owned(),
    };
    let reply: Value =
        serde_json::from_slice(&body).map_err(|error| invalid(&error.to_string()))?;
    let text = token_text(&reply).ok_or_else(|| invalid("the reply has no token"))?;
    let header = sensitive(&format!("Bearer {text}"))
        .ok_or_else(|| invalid("the token has characters that no header may have"))?;
    let life = token_life(&reply).unwrap_or(SHORTEST_TOKEN_LIFE);
    // Used for nine tenths of its life, and never longer than an hour.
    let life = life.clamp(SHORTEST_TOKEN_LIFE, Duration::from_secs(3600)) * 9 / 10;
    Ok(Token { header, use_until: Instant::now() + life })
}

/// The token, under either of its names; one may be there and empty.
fn token_text(reply: &Value) -> Option<&str> {
    ["token", "access_token"]
        .into_iter()
        .filter_map(|name| reply.get(name)?.as_str())
        .map(str::trim)
        .find(|text| !text.is_empty())
}

/// `expires_in`, where it is a number of seconds; servers also write it as a text.
fn token_life(reply: &Value) -> Option<Duration> {
    let value = reply.get("expires_in")?;
    let text = value.as_str().map_or_else(|| value.to_string(), |text| text.trim().to_owned());
    let whole = text.split('.').next()?;
    whole.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tokens_under_either_name() {
        for (reply, expected) in [
            (json!({"token": "a", "access_token": "b"}), Some("a")),
            (json!({"token": "", "access_token": "b"}), Some("b")),
            (json!({"token": null, "access_token": "b"}), Some("b")),
            (json!({"access_token": "b"}), Some("b")),
            (json!({"token": "", "access_token": ""}), None),
            (json!([]), None),
        ] {
            assert_eq!(token_text(&reply), expected, "{reply}");
        }
    }

    #[test]
    fn lives_that_can_be_read() {
        for (value, expected) in [
            (json!(300), Some(300)),
            (json!("300"), Some(300)),
            (json!(300.9), Some(300)),
            (json!(-1), None),
            (json!("soon"), None),
            (json!(null), None),
            (json!({}), None),
        ] {
            let life = token_life(&json!({ "expires_in": value }));
            assert_eq!(life.map(|life| life.as_secs()), expected, "{value}");
        }
    }
}
