//! The first start: account, root access key and default instance, made once.

use berth_metadata::tables::{access_key, account, instance, setting};
use berth_metadata::{Db, DbError, DbErrorKind, Session};
use berth_types::{Clock, Millis, Secret, id};
use rand::Rng as _;
use serde::{Deserialize, Serialize};

use crate::keyring::KeyStatus;
use crate::master_key::MasterKey;

/// Settings by which later starts find what the first one made.
pub(crate) const ACCOUNT: &str = "root_account_id";
const ROOT_KEY: &str = "root_access_key_id";
const INSTANCE: &str = "default_instance_id";
/// How often a start is tried again when another server starts at the same moment.
const ATTEMPTS: usize = 10;

/// What the first start needs to know.
#[derive(Debug, Clone)]
pub struct BootstrapConfig {
    pub region: String,
    /// The name of the default instance.
    pub instance_name: String,
    /// The root key pair the operator wants; without one a pair is generated.
    pub access_key: Option<(String, Secret)>,
}

impl Default for BootstrapConfig {
    fn default() -> Self {
        Self { region: "local".to_owned(), instance_name: "default".to_owned(), access_key: None }
    }
}

/// What every start finds.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    pub account_id: String,
    pub instance_id: String,
    /// The region of the default instance, fixed by the first start.
    pub region: String,
    pub credentials: RootCredentials,
    /// Whether nothing was there before.
    pub first: bool,
    /// Whether the operator gave the key pair, so that it need not be written anywhere.
    pub given: bool,
}

/// The content of `root-credentials.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RootCredentials {
    pub access_key_id: String,
    pub access_key_secret: Secret,
    pub account_id: String,
    /// Empty until the server knows where it listens.
    pub endpoint: String,
    pub instance_id: String,
}

/// Why a start fails.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error("cannot prepare the account: {0}")]
    Database(#[from] DbError),
    #[error("the root access key {0} does not open: the master key is not the one that sealed it")]
    Sealed(String),
    #[error("the root access key id must be 1 to 128 letters, digits, `-`, `_` or `.`")]
    KeyId,
    #[error("the root access key secret must be at least 8 characters without white space")]
    KeySecret,
    #[error("the access key {0} belongs to another account")]
    ForeignKey(String),
    #[error("setting {0} names something that does not exist")]
    Broken(&'static str),
}

/// Makes the account, its root key and the default instance unless they exist. A key pair given by
/// the operator becomes the root pair, at any start; the pair before it is disabled. There is one
/// root pair at any time.
///
/// # Errors
/// [`BootstrapError`]; nothing is changed then.
pub async fn bootstrap(
    db: &Db,
    master: &MasterKey,
    clock: &dyn Clock,
    config: &BootstrapConfig,
) -> Result<Bootstrap, BootstrapError> {
    if let Some((key_id, secret)) = &config.access_key {
        check_pair(key_id, secret)?;
    }
    let mut attempt = 1;
    loop {
        match start(db, master, clock.now(), config).await {
            Err(BootstrapError::Database(error)) if attempt < ATTEMPTS && is_race(error.kind()) => {
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

fn is_race(kind: DbErrorKind) -> bool {
    matches!(kind, DbErrorKind::Transient | DbErrorKind::Unavailable | DbErrorKind::Conflict)
}

fn check_pair(key_id: &str, secret: &Secret) -> Result<(), BootstrapError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if key_id.is_empty()
        || key_id.len() > 128
        || !key_id.bytes().all(plain)
        || key_id.starts_with("STS.")
    {
        return Err(BootstrapError::KeyId);
    }
    let secret = secret.expose();
    if secret.len() < 8 || secret.contains(char::is_whitespace) {
        return Err(BootstrapError::KeySecret);
    }
    Ok(())
}

async fn start(
    db: &Db,
    master: &MasterKey,
    now: Millis,
    config: &BootstrapConfig,
) -> Result<Bootstrap, BootstrapError> {
    let mut session = db.begin().await?;
    let (account_id, first) = account(&mut session, now).await?;
    let instance = default_instance(&mut session, &account_id, config, now).await?;
    let (access_key_id, access_key_secret) = match &config.access_key {
        Some((key_id, secret)) => {
            let key = row(master, &account_id, key_id, secret, now);
            replace_root_key(&mut session, master, &key).await?;
            (key_id.clone(), secret.clone())
        }
        None => root_key(&mut session, master, &account_id, now).await?,
    };
    session.commit().await?;
    Ok(Bootstrap {
        credentials: RootCredentials {
            access_key_id,
            access_key_secret,
            account_id: account_id.clone(),
            endpoint: String::new(),
            instance_id: instance.instance_id.clone(),
        },
        account_id,
        instance_id: instance.instance_id,
        region: instance.region,
        first,
        given: config.access_key.is_some(),
    })
}

/// The root account, and whether it was made just now.
async fn account(session: &mut Session, now: Millis) -> Result<(String, bool), BootstrapError> {
    let candidate = format!("1{:015}", rand::rng().random_range(0..1_000_000_000_000_000_u64));
    if setting::put_new(session, ACCOUNT, &candidate).await? {
        let row = account::Account {
            account_id: candidate.clone(),
            name: "root".to_owned(),
            created_at: now,
        };
        account::insert(session, &row).await?;
        return Ok((candidate, true));
    }
    let found = setting::find(session, ACCOUNT).await?.ok_or(BootstrapError::Broken(ACCOUNT))?;
    Ok((found, false))
}

async fn default_instance(
    session: &mut Session,
    account_id: &str,
    config: &BootstrapConfig,
    now: Millis,
) -> Result<instance::Instance, BootstrapError> {
    if let Some(instance_id) = setting::find(session, INSTANCE).await? {
        let found = instance::find(session, &instance_id).await?;
        return found.ok_or(BootstrapError::Broken(INSTANCE));
    }
    let row = instance::Instance {
        instance_id: id::generate(id::INSTANCE),
        account_id: account_id.to_owned(),
        name: config.instance_name.clone(),
        region: config.region.clone(),
        specification: "Enterprise_Advanced".to_owned(),
        status: "RUNNING".to_owned(),
        created_at: now,
        modified_at: now,
    };
    instance::insert(session, &row).await?;
    setting::put(session, INSTANCE, &row.instance_id).await?;
    Ok(row)
}

/// The root pair that is there, or a new one.
async fn root_key(
    session: &mut Session,
    master: &MasterKey,
    account_id: &str,
    now: Millis,
) -> Result<(String, Secret), BootstrapError> {
    if let Some(key_id) = setting::find(session, ROOT_KEY).await? {
        let found = access_key::find(session, &key_id).await?;
        let found = found.ok_or(BootstrapError::Broken(ROOT_KEY))?;
        let secret = master.open(&key_id, &found.secret);
        return Ok((key_id.clone(), secret.ok_or(BootstrapError::Sealed(key_id))?));
    }
    let key_id = format!("BAK{}", random_text(21));
    let secret = Secret::new(random_text(40));
    access_key::insert(session, &row(master, account_id, &key_id, &secret, now)).await?;
    setting::put(session, ROOT_KEY, &key_id).await?;
    Ok((key_id, secret))
}

async fn replace_root_key(
    session: &mut Session,
    master: &MasterKey,
    key: &access_key::AccessKey,
) -> Result<(), BootstrapError> {
    let before = setting::find(session, ROOT_KEY).await?;
    if let Some(before) = before.filter(|before| *before != key.access_key_id)
        && let Some(mut old) = access_key::find(session, &before).await?
    {
        old.status = KeyStatus::Inactive.name().to_owned();
        access_key::update(session, &old).await?;
    }
    match access_key::find(session, &key.access_key_id).await? {
        Some(found) if found.account_id != key.account_id => {
            return Err(BootstrapError::ForeignKey(found.access_key_id));
        }
        Some(found) => {
            let secret = |key: &access_key::AccessKey| master.open(&key.access_key_id, &key.secret);
            if secret(&found) != secret(key) || found.status != key.status {
                access_key::update(session, key).await?;
            }
        }
        None => access_key::insert(session, key).await?,
    }
    setting::put(session, ROOT_KEY, &key.access_key_id).await?;
    Ok(())
}

fn row(
    master: &MasterKey,
    account_id: &str,
    key_id: &str,
    secret: &Secret,
    now: Millis,
) -> access_key::AccessKey {
    access_key::AccessKey {
        access_key_id: key_id.to_owned(),
        account_id: account_id.to_owned(),
        secret: master.seal(key_id, secret),
        status: KeyStatus::Active.name().to_owned(),
        created_at: now,
    }
}

/// Letters and digits, almost six bits each.
fn random_text(length: usize) -> String {
    rand::rng().sample_iter(rand::distr::Alphanumeric).take(length).map(char::from).collect()
}
