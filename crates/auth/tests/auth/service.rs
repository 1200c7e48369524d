//! First start, signed requests, logins and tokens over a real database.

use std::sync::Arc;
use std::time::Duration;

use berth_auth::bootstrap::{BootstrapError, bootstrap};
use berth_auth::signature::SignedRequest;
use berth_auth::signature::acs3::{Outgoing, sign};
use berth_auth::{
    Auth, AuthConfig, AuthError, BootstrapConfig, ClientAddress, Credential, HolderError,
    LoginError, MasterKey, TEMP_USERNAME, TokenError,
};
use berth_metadata::tables::access_key;
use berth_metadata::{Access, Db, DbOptions};
use berth_types::{Clock as _, Identity, ManualClock, Millis, Secret};
use tempfile::TempDir;

const NOW: i64 = 1_767_323_045_000;

pub(crate) struct Fixture {
    pub(crate) folder: TempDir,
    pub(crate) db: Db,
    pub(crate) master: MasterKey,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) auth: Auth,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = format!("sqlite:{}", folder.path().join("berth.db").display());
        Self::over(&url, folder).await
    }

    pub(crate) async fn postgres() -> Self {
        let url = tokio::task::spawn_blocking(berth_testkit::postgres::fresh_database);
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self::over(&url.await.expect("PostgreSQL"), folder).await
    }

    /// As a server has it.
    pub(crate) async fn over(url: &str, folder: TempDir) -> Self {
        let options = DbOptions { access: Access::SoleWriter, ..DbOptions::default() };
        let db = Db::open_with(url, options).await.expect("database");
        let master = MasterKey::generate();
        let clock = Arc::new(ManualClock::at(NOW));
        let auth = Auth::new(db.clone(), master.clone(), clock.clone(), AuthConfig::default());
        Self { folder, db, master, clock, auth }
    }

    pub(crate) async fn start(&self, access_key: Option<(&str, &str)>) -> berth_auth::Bootstrap {
        let access_key = access_key.map(|(id, secret)| (id.to_owned(), Secret::new(secret)));
        let config = BootstrapConfig { access_key, ..BootstrapConfig::default() };
        bootstrap(&self.db, &self.master, &*self.clock, &config).await.expect("started")
    }

    pub(crate) async fn change_key(
        &self,
        id: &str,
        change: impl FnOnce(&mut access_key::AccessKey),
    ) {
        let mut session = self.db.begin().await.expect("begin");
        let mut row = access_key::find(&mut session, id).await.expect("find").expect("the key");
        change(&mut row);
        assert!(access_key::update(&mut session, &row).await.expect("update"));
        session.commit().await.expect("commit");
    }

    async fn call(&self, key_id: &str, secret: &str, nonce: &str) -> Result<Identity, AuthError> {
        present(&self.auth, &signed(key_id, secret, nonce, self.clock.now())).await
    }
}

fn query() -> [(String, String); 1] {
    [("InstanceId".to_owned(), "cri 1+*".to_owned())]
}

/// The headers of a signed request.
pub(crate) fn signed(key_id: &str, secret: &str, nonce: &str, now: Millis) -> Headers {
    let outgoing = Outgoing {
        method: "POST",
        host: "127.0.0.1:5000",
        action: "GetInstance",
        version: "2018-12-01",
        query: &query(),
        body: b"",
        content_type: None,
        nonce,
        now,
    };
    let headers = sign(&outgoing, key_id, &Secret::new(secret));
    headers.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect()
}

pub(crate) type Headers = Vec<(String, Vec<u8>)>;

/// What a server says to a signed request.
pub(crate) async fn present(auth: &Auth, headers: &Headers) -> Result<Identity, AuthError> {
    let request =
        SignedRequest { method: "POST", path: "/", query: &query(), form: &[], headers, body: b"" };
    let credential = auth.authenticate(&request, ClientAddress::default()).await?;
    Ok(credential.identity)
}

pub(crate) fn code(outcome: Result<Identity, AuthError>) -> String {
    outcome.expect_err("refused").code()
}

#[tokio::test]
async fn the_first_start_makes_what_later_starts_find() {
    let fixture = Fixture::new().await;
    let first = fixture.start(None).await;
    let second = fixture.start(None).await;
    assert!(first.instance_id.starts_with("cri-") && first.account_id.len() == 16);
    assert_eq!(first.instance_id, second.instance_id);
    assert_eq!(first.account_id, second.account_id);
    assert_eq!(first.credentials.access_key_id, second.credentials.access_key_id);
    assert_eq!(first.credentials.access_key_secret, second.credentials.access_key_secret);
    let json = serde_json::to_value(&first.credentials).expect("json");
    let keys: Vec<&str> = json.as_object().expect("object").keys().map(String::as_str).collect();
    assert_eq!(keys, ["AccessKeyId", "AccessKeySecret", "AccountId", "Endpoint", "InstanceId"]);
    let wrong = MasterKey::generate();
    let config = BootstrapConfig::default();
    let refused = bootstrap(&fixture.db, &wrong, &*fixture.clock, &config).await;
    assert!(matches!(refused, Err(BootstrapError::Sealed(_))));
}

#[tokio::test]
async fn a_given_pair_is_the_only_root_pair() {
    let fixture = Fixture::new().await;
    let generated = fixture.start(None).await.credentials;
    assert!(fixture.start(Some(("operator", "first-secret"))).await.given);
    fixture.call("operator", "first-secret", "1").await.expect("signed");
    let old = generated.access_key_secret.expose();
    assert_eq!(
        code(fixture.call(&generated.access_key_id, old, "2").await),
        "InvalidAccessKeyId.Inactive"
    );
    fixture.start(Some(("operator", "second-secret"))).await;
    fixture.call("operator", "second-secret", "3").await.expect("signed");
    let refused = fixture.call("operator", "first-secret", "4").await;
    assert_eq!(code(refused), "SignatureDoesNotMatch");
    assert_eq!(fixture.start(None).await.credentials.access_key_id, "operator");
    for (id, secret) in [("", "long-enough"), ("a b", "long-enough"), ("ok", "short")] {
        let access_key = Some((id.to_owned(), Secret::new(secret)));
        let config = BootstrapConfig { access_key, ..BootstrapConfig::default() };
        assert!(
            bootstrap(&fixture.db, &fixture.master, &*fixture.clock, &config).await.is_err(),
            "{id}"
        );
    }
}

#[tokio::test]
async fn starts_at_the_same_moment_agree_on_sqlite() {
    let fixture = Fixture::new().await;
    starts_agree(vec![fixture.db.clone(); 6]).await;
}

#[tokio::test]
async fn starts_at_the_same_moment_agree_on_postgresql() {
    let url = berth_testkit::postgres::fresh_database();
    let mut servers = Vec::new();
    for _ in 0..6 {
        servers.push(Db::open(&url).await.expect("database"));
    }
    starts_agree(servers).await;
}

/// Starts on every connection at once, twice; the second time with a pair of the operator's.
async fn starts_agree(servers: Vec<Db>) {
    let master = MasterKey::generate();
    for access_key in [None, Some(("operator".to_owned(), Secret::new("the-secret")))] {
        let mut running = tokio::task::JoinSet::new();
        for db in servers.clone() {
            let (master, access_key) = (master.clone(), access_key.clone());
            running.spawn(async move {
                let config = BootstrapConfig { access_key, ..BootstrapConfig::default() };
                bootstrap(&db, &master, &ManualClock::at(NOW), &config).await.expect("started")
            });
        }
        for pair in running.join_all().await.windows(2) {
            assert_eq!(pair[0].account_id, pair[1].account_id);
            assert_eq!(pair[0].instance_id, pair[1].instance_id);
            assert_eq!(pair[0].credentials.access_key_id, pair[1].credentials.access_key_id);
        }
    }
}

#[tokio::test]
async fn a_signed_request_is_accepted_once_and_in_time() {
    let fixture = Fixture::new().await;
    let root = fixture.start(Some(("operator", "the-secret"))).await;
    let identity = fixture.call("operator", "the-secret", "n1").await.expect("signed");
    assert_eq!(identity, Identity::root(&root.account_id, "operator"));
    assert_eq!(code(fixture.call("operator", "the-secret", "n1").await), "SignatureNonceUsed");
    assert_eq!(
        code(fixture.call("nobody", "the-secret", "n2").await),
        "InvalidAccessKeyId.NotFound"
    );
    assert_eq!(code(fixture.call("STS.nobody", "the-secret", "n2").await), "MissingSecurityToken");
    // A wrong signature does not use the nonce up.
    assert_eq!(code(fixture.call("operator", "wrong", "n3").await), "SignatureDoesNotMatch");
    fixture.call("operator", "the-secret", "n3").await.expect("the nonce is still fresh");
}

#[tokio::test]
async fn logins_of_keys_and_temporary_passwords() {
    let fixture = Fixture::new().await;
    let root = fixture.start(Some(("operator", "the-secret"))).await;
    let instance = root.instance_id.as_str();
    let login = async |user: &str, password: &str, instance: &str| {
        fixture.auth.login(user, password, instance, ClientAddress::default()).await
    };
    let credential = login("operator", "the-secret", instance).await.expect("logged in");
    for (user, password) in
        [("operator", "wrong"), ("nobody", "the-secret"), ("", ""), (TEMP_USERNAME, "the-secret")]
    {
        let refused = login(user, password, instance).await;
        assert!(matches!(refused, Err(LoginError::Refused)), "{user}");
    }
    let (password, expires_at) = fixture
        .auth
        .issue_temp_password(&credential, instance, Duration::from_secs(3600))
        .expect("a caller with a key");
    assert_eq!(expires_at, NOW + 3_600_000);
    let temporary = login(TEMP_USERNAME, &password, instance).await.expect("logged in");
    assert_eq!(temporary.identity, credential.identity);
    assert!(login(TEMP_USERNAME, &password, "cri-other").await.is_err());
    fixture.clock.advance(3_600_000);
    assert!(login(TEMP_USERNAME, &password, instance).await.is_err());
}

pub(crate) const SERVICE: &str = "registry.aliyuncs.com:local:china:cri-1";

async fn login(auth: &Auth, user: &str, password: &str) -> Result<Credential, LoginError> {
    auth.login(user, password, "cri-1", ClientAddress::default()).await
}

async fn revocation(fixture: Fixture) {
    let root = fixture.start(Some(("operator", "the-secret"))).await;
    let auth = &fixture.auth;
    let identity = Identity::root(&root.account_id, "operator");
    let credential = login(auth, "operator", "the-secret").await.expect("logged in");
    let issue = || auth.issue_token(&credential, SERVICE, Vec::new()).expect("issued").token;
    let token = issue();
    let verify = async |token: &str| match auth.verify_token(token, SERVICE).await {
        Ok(caller) => Ok(caller.identity.clone()),
        Err(HolderError::Token(error)) => Err(error),
        Err(HolderError::Internal(error)) => panic!("{error}"),
    };
    let login = async |secret: &str| login(auth, "operator", secret).await.is_ok();
    for _ in 0..3 {
        assert_eq!(verify(&token).await, Ok(identity.clone()));
        assert!(login("the-secret").await);
    }
    assert_eq!(verify(&format!("{token}x")).await, Err(TokenError::Invalid));

    fixture.change_key("operator", |key| key.status = "Inactive".to_owned()).await;
    assert_eq!(verify(&token).await, Err(TokenError::Revoked));
    assert!(!login("the-secret").await);
    fixture.change_key("operator", |key| key.status = "Active".to_owned()).await;
    assert_eq!(verify(&token).await, Ok(identity.clone()));

    fixture.clock.advance(299_000);
    assert_eq!(verify(&token).await, Ok(identity.clone()));
    fixture.clock.advance(1_000);
    assert_eq!(verify(&token).await, Err(TokenError::Expired), "remembered or not");

    let token = issue();
    assert_eq!(verify(&token).await, Ok(identity.clone()));
    let mut session = fixture.db.begin().await.expect("begin");
    assert!(access_key::delete(&mut session, "operator").await.expect("delete"));
    session.commit().await.expect("commit");
    assert_eq!(verify(&token).await, Err(TokenError::Revoked));
    assert!(!login("the-secret").await);
    let anonymous = Credential::anonymous();
    let token = auth.issue_token(&anonymous, SERVICE, Vec::new()).expect("issued").token;
    assert_eq!(verify(&token).await, Ok(anonymous.identity));
    assert!(auth.verify_token(&token, "another").await.is_err());
}

#[tokio::test]
async fn a_token_ends_with_its_key_on_sqlite() {
    revocation(Fixture::new().await).await;
}

#[tokio::test]
async fn a_token_ends_with_its_key_on_postgresql() {
    revocation(Fixture::postgres().await).await;
}
