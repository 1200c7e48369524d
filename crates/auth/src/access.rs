//! The authorisation decision: may this caller do this action to this resource?

use berth_types::{Arn, Ctx, Principal};

/// The one action of the anonymous caller.
const PULL: &str = "cr:PullRepository";

/// What somebody wants to do.
#[derive(Debug, Clone, Copy)]
pub struct Access<'a> {
    /// A RAM action such as `cr:CreateNamespace`.
    pub action: &'a str,
    pub arn: &'a Arn,
    /// Whether the resource is a PUBLIC repository, which anybody may pull from.
    pub public: bool,
}

impl<'a> Access<'a> {
    pub fn new(action: &'a str, arn: &'a Arn) -> Self {
        Self { action, arn, public: false }
    }
}

/// A refusal, with what ACR's `AccessDeniedDetail` tells about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{principal_type} of account `{owner_id}` may not {action} on {resource}")]
pub struct Denied {
    /// `AuthAction`.
    pub action: String,
    pub resource: String,
    /// `AuthPrincipalType`.
    pub principal_type: &'static str,
    /// `AuthPrincipalOwnerId`.
    pub owner_id: String,
    /// `AuthPrincipalDisplayName`.
    pub display_name: String,
    /// `NoPermissionType`.
    pub no_permission_type: &'static str,
    /// `PolicyType`.
    pub policy_type: &'static str,
}

/// Decides. The account itself and Berth's own workers may do everything; the anonymous caller may
/// pull from public repositories.
///
/// # Errors
/// [`Denied`] when no policy allows it.
pub fn authorize(ctx: &Ctx, access: &Access<'_>) -> Result<(), Box<Denied>> {
    let allowed = match ctx.identity.principal {
        Principal::Root | Principal::System => true,
        Principal::Anonymous => access.public && access.action == PULL,
    };
    if allowed {
        return Ok(());
    }
    Err(Box::new(Denied {
        action: access.action.to_owned(),
        resource: access.arn.to_string(),
        principal_type: match ctx.identity.principal {
            Principal::Root => "RootUser",
            Principal::Anonymous => "Anonymous",
            Principal::System => "System",
        },
        owner_id: ctx.identity.account_id.clone(),
        display_name: ctx.identity.key(),
        no_permission_type: "ImplicitDeny",
        policy_type: "AccountLevelIdentityBasedPolicy",
    }))
}

#[cfg(test)]
mod tests {
    use berth_types::Identity;

    use super::*;

    #[test]
    fn root_may_all_and_anonymous_may_pull_what_is_public() {
        let arn = Arn::repository("local", "1", "cri-1", &["ns", "repo"]);
        let may = |identity: Identity, action, public| {
            let ctx = Ctx::new(identity, "R".to_owned());
            authorize(&ctx, &Access { action, arn: &arn, public })
        };
        assert!(may(Identity::root("1", "k"), "cr:DeleteRepository", false).is_ok());
        assert!(may(Identity::system("1"), "cr:PushRepository", false).is_ok());
        assert!(may(Identity::anonymous(), PULL, true).is_ok());
        assert!(may(Identity::anonymous(), PULL, false).is_err());
        let denied = may(Identity::anonymous(), "cr:PushRepository", true).expect_err("refused");
        assert_eq!(denied.action, "cr:PushRepository");
        assert_eq!(denied.resource, "acs:cr:local:1:repository/cri-1/ns/repo");
    }
}
