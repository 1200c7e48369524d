//! Who calls, and under which request.

/// The kind of caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// The account itself; everything is allowed to it.
    Root,
    /// Nobody in particular; may pull from public repositories.
    Anonymous,
    /// Berth's own workers.
    System,
}

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The account; empty for the anonymous caller.
    pub account_id: String,
    pub principal: Principal,
    /// The access key that signed or logged in, when there was one.
    pub access_key_id: Option<String>,
}

impl Identity {
    pub fn root(account_id: &str, access_key_id: &str) -> Self {
        Self {
            account_id: account_id.to_owned(),
            principal: Principal::Root,
            access_key_id: Some(access_key_id.to_owned()),
        }
    }

    pub fn anonymous() -> Self {
        Self { account_id: String::new(), principal: Principal::Anonymous, access_key_id: None }
    }

    pub fn system(account_id: &str) -> Self {
        Self {
            account_id: account_id.to_owned(),
            principal: Principal::System,
            access_key_id: None,
        }
    }

    /// A stable name of the caller: what an upload session is bound to.
    pub fn key(&self) -> String {
        let kind = match self.principal {
            Principal::Root => "root",
            Principal::Anonymous => "anonymous",
            Principal::System => "system",
        };
        format!("{}:{kind}", self.account_id)
    }
}

/// The context that every service call takes.
#[derive(Debug, Clone)]
pub struct Ctx {
    pub identity: Identity,
    pub request_id: String,
}

impl Ctx {
    pub fn new(identity: Identity, request_id: String) -> Self {
        Self { identity, request_id }
    }

    /// The context of Berth's own work on behalf of an account.
    pub fn system(account_id: &str) -> Self {
        Self::new(Identity::system(account_id), crate::id::request())
    }
}
