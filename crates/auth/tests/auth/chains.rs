//! What comes from a credential ends with it, however long the chain.

use std::time::Duration;

use berth_auth::{ClientAddress, Credential, HolderError, LoginError, TEMP_USERNAME, TokenError};

use crate::service::{Fixture, SERVICE};

const INSTANCE: &str = "cri-1";
const HOUR: i64 = 3_600_000;
const DAY: Duration = Duration::from_secs(24 * 3600);

impl Fixture {
    async fn login(&self, user: &str, password: &str) -> Result<Credential, LoginError> {
        self.auth.login(user, password, INSTANCE, ClientAddress::default()).await
    }

    async fn refresh(&self, token: &str) -> Result<Credential, LoginError> {
        self.auth.refresh(token, INSTANCE, ClientAddress::default()).await
    }

    fn bearer(&self, credential: &Credential) -> (String, u64) {
        let issued = self.auth.issue_token(credential, SERVICE, Vec::new()).expect("issued");
        (issued.token, issued.expires_in)
    }

    async fn verify(&self, token: &str) -> Result<(), TokenError> {
        match self.auth.verify_token(token, SERVICE).await {
            Ok(_) => Ok(()),
            Err(HolderError::Token(error)) => Err(error),
            Err(HolderError::Internal(error)) => panic!("{error}"),
        }
    }
}

/// A temporary password of an hour, and a chain of everything that can be had for it: password →
/// refresh token → refresh token → … → bearer token.
struct Chain {
    password: String,
    refresh: Vec<String>,
    bearer: String,
}

impl Chain {
    async fn of(fixture: &Fixture) -> Self {
        let root = fixture.login("operator", "the-secret").await.expect("the root key");
        let hour = Duration::from_secs(3600);
        let issued = fixture.auth.issue_temp_password(&root, INSTANCE, hour);
        let (password, _) = issued.expect("a caller with a key");
        let mut last = fixture.login(TEMP_USERNAME, &password).await.expect("the password");
        let mut refresh = Vec::new();
        for _ in 0..5 {
            let token = fixture.auth.issue_refresh_token(&last, INSTANCE).expect("a key");
            last = fixture.refresh(&token).await.expect("the refresh token");
            refresh.push(token);
            // Nobody asks for it this way, and it would not help.
            let (again, _) = fixture.auth.issue_temp_password(&last, INSTANCE, DAY).expect("a key");
            last = fixture.login(TEMP_USERNAME, &again).await.expect("the password");
        }
        let (bearer, _) = fixture.bearer(&last);
        Self { password, refresh, bearer }
    }

    /// Which of it still works.
    async fn works(&self, fixture: &Fixture) -> Vec<bool> {
        let mut works = vec![fixture.login(TEMP_USERNAME, &self.password).await.is_ok()];
        for token in &self.refresh {
            works.push(fixture.refresh(token).await.is_ok());
        }
        works.push(fixture.verify(&self.bearer).await.is_ok());
        works
    }
}

async fn ends_with_the_password(fixture: Fixture) {
    fixture.start(Some(("operator", "the-secret"))).await;
    let chain = Chain::of(&fixture).await;
    assert_eq!(chain.works(&fixture).await, [true; 7]);
    fixture.clock.advance(HOUR - 60_000);
    let last = fixture.refresh(&chain.refresh[4]).await.expect("a minute is left");
    let (bearer, seconds) = fixture.bearer(&last);
    assert_eq!(seconds, 60, "a bearer token of five minutes would outlive the password");
    assert_eq!(fixture.verify(&bearer).await, Ok(()));
    let newer = fixture.auth.issue_refresh_token(&last, INSTANCE).expect("a key");
    fixture.clock.advance(60_000);
    assert_eq!(chain.works(&fixture).await, [false; 7]);
    assert_eq!(fixture.verify(&bearer).await, Err(TokenError::Expired));
    assert!(fixture.refresh(&newer).await.is_err());
}

async fn ends_with_the_key(fixture: Fixture) {
    fixture.start(Some(("operator", "the-secret"))).await;
    let chain = Chain::of(&fixture).await;
    assert_eq!(chain.works(&fixture).await, [true; 7]);
    let before = {
        let mut before = None;
        fixture
            .change_key("operator", |key| {
                before = Some(key.secret.clone());
                key.status = "Inactive".to_owned();
            })
            .await;
        before.expect("a secret")
    };
    assert_eq!(chain.works(&fixture).await, [false; 7]);
    fixture.change_key("operator", |key| key.status = "Active".to_owned()).await;
    assert_eq!(chain.works(&fixture).await, [true; 7], "nothing is lost by a mistake");
    // The same key with another secret.
    fixture.start(Some(("operator", "another-secret"))).await;
    assert_eq!(chain.works(&fixture).await, [false; 7]);
    fixture.login("operator", "another-secret").await.expect("the new secret");
    fixture.change_key("operator", |key| key.secret = before).await;
    assert_eq!(chain.works(&fixture).await, [true; 7]);
}

#[tokio::test]
async fn what_was_had_for_a_password_ends_with_it_on_sqlite() {
    ends_with_the_password(Fixture::new().await).await;
}

#[tokio::test]
async fn what_was_had_for_a_password_ends_with_it_on_postgresql() {
    ends_with_the_password(Fixture::postgres().await).await;
}

#[tokio::test]
async fn what_was_had_for_a_password_ends_with_the_key_on_sqlite() {
    ends_with_the_key(Fixture::new().await).await;
}

#[tokio::test]
async fn what_was_had_for_a_password_ends_with_the_key_on_postgresql() {
    ends_with_the_key(Fixture::postgres().await).await;
}

#[tokio::test]
async fn a_refresh_token_is_no_password_and_a_password_no_refresh_token() {
    let fixture = Fixture::new().await;
    fixture.start(Some(("operator", "the-secret"))).await;
    let chain = Chain::of(&fixture).await;
    assert!(fixture.login(TEMP_USERNAME, &chain.refresh[0]).await.is_err());
    assert!(fixture.refresh(&chain.password).await.is_err());
    let root = fixture.login("operator", "the-secret").await.expect("the root key");
    let token = fixture.auth.issue_refresh_token(&root, INSTANCE).expect("a key");
    fixture.refresh(&token).await.expect("within its day");
    fixture.clock.advance(24 * HOUR);
    assert!(fixture.refresh(&token).await.is_err());
    assert!(fixture.auth.issue_refresh_token(&Credential::anonymous(), INSTANCE).is_none());
}
