//! Every error `Code` of the control plane that is not made from a parameter's name.
//!
//! ACR documents few codes. Those marked [`CodeSource::Berth`] are of Berth's own choice, in ACR's style
//! of `<OBJECT>_<WHAT>`; clients may rely on them. Parameter errors are `Missing<Parameter>` and
//! `Invalid<Parameter>`, status 400; errors of signatures are those of `berth_auth::AuthError`.

/// Where a code comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeSource {
    /// Documented by ACR or seen in its clients.
    Acr,
    /// Documented for Alibaba Cloud's gateway.
    Gateway,
    /// Chosen by Berth where ACR documents none.
    Berth,
}

/// An error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    pub name: &'static str,
    /// 200 for business failures, which answer `IsSuccess: false`.
    pub status: u16,
    pub source: CodeSource,
    /// When it is answered.
    pub meaning: &'static str,
}

macro_rules! codes {
    ($($constant:ident = $name:literal, $status:literal, $origin:ident, $meaning:literal;)*) => {
        $(pub(crate) const $constant: Code = Code {
            name: $name,
            status: $status,
            source: CodeSource::$origin,
            meaning: $meaning,
        };)*

        /// All of them.
        pub const CODES: &[Code] = &[$($constant),*];
    };
}

codes! {
    INSTANCE_NOT_EXIST = "INSTANCE_NOT_EXIST", 200, Acr,
        "The account has no instance of that id.";
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED", 200, Berth,
        "The instance holds as much as its quota allows.";
    NAMESPACE_NOT_EXIST = "NAMESPACE_NOT_EXIST", 200, Acr,
        "The instance has no such namespace.";
    NAMESPACE_ALREADY_EXIST = "NAMESPACE_ALREADY_EXIST", 200, Berth,
        "The instance has a namespace of that name.";
    REPO_NOT_EXIST = "REPO_NOT_EXIST", 200, Acr,
        "The instance has no such repository.";
    REPO_ALREADY_EXIST = "REPO_ALREADY_EXIST", 200, Berth,
        "The namespace has a repository of that name.";
    REPO_TAG_NOT_EXIST = "REPO_TAG_NOT_EXIST", 200, Berth,
        "The repository has no such tag.";
    REPO_TAG_IMMUTABLE = "REPO_TAG_IMMUTABLE", 200, Berth,
        "The repository keeps its tags from being changed.";
    MANIFEST_NOT_EXIST = "MANIFEST_NOT_EXIST", 200, Berth,
        "The repository has no such manifest.";
    BUILD_RULE_NOT_EXIST = "BUILD_RULE_NOT_EXIST", 200, Berth,
        "The instance has no such artifact build rule.";
    BUILD_RULE_ALREADY_EXIST = "BUILD_RULE_ALREADY_EXIST", 200, Berth,
        "The repository has an artifact build rule already.";
    BUILD_TASK_NOT_EXIST = "BUILD_TASK_NOT_EXIST", 200, Berth,
        "The instance has no such artifact build task.";
    BUILD_TASK_FINISHED = "BUILD_TASK_FINISHED", 200, Berth,
        "The artifact build task has ended and cannot be cancelled.";
    SUBSCRIPTION_RULE_NOT_EXIST = "SUBSCRIPTION_RULE_NOT_EXIST", 200, Berth,
        "The instance has no such artifact subscription rule.";
    SUBSCRIPTION_TASK_NOT_EXIST = "SUBSCRIPTION_TASK_NOT_EXIST", 200, Berth,
        "The instance has no such artifact subscription task.";
    SUBSCRIPTION_TASK_FINISHED = "SUBSCRIPTION_TASK_FINISHED", 200, Berth,
        "The artifact subscription task has ended and cannot be cancelled.";
    MAINTENANCE_TASK_NOT_EXIST = "MAINTENANCE_TASK_NOT_EXIST", 200, Berth,
        "There is no such maintenance task.";
    MAINTENANCE_TASK_FINISHED = "MAINTENANCE_TASK_FINISHED", 200, Berth,
        "The maintenance task has ended already.";
    OPERATION_CONFLICT = "OPERATION_CONFLICT", 200, Berth,
        "Somebody changed the same object at the same time, or it is still in use.";
    NOT_SUPPORTED = "NOT_SUPPORTED", 200, Berth,
        "This version of Berth cannot do what was asked for.";
    NO_PRIVILEGE = "NoPrivilege", 403, Acr,
        "Access denied for this user.";
    SYSTEM_ERROR = "SystemError", 500, Acr,
        "Unknown error.";
    ACTION_NOT_FOUND = "InvalidAction.NotFound", 404, Gateway,
        "Specified api is not found, please check your url and method.";
    INVALID_VERSION = "InvalidVersion", 400, Gateway,
        "Specified parameter Version is not valid.";
    UNSUPPORTED_METHOD = "UnsupportedHTTPMethod", 400, Gateway,
        "This http method is not supported.";
    CONTENT_LENGTH = "ContentLengthDoesNotMatch", 400, Gateway,
        "The body ended before its length.";
    BODY_TOO_LARGE = "RequestTooLarge", 413, Berth,
        "The body is larger than the server accepts.";
    BODY_FORMAT = "InvalidParameter.Format", 400, Gateway,
        "The body is not what its Content-Type says.";
    HEADER_TOO_LARGE = "RequestHeaderTooLarge", 431, Berth,
        "The header of the request is larger than the server accepts.";
    URI_TOO_LONG = "RequestUriTooLong", 414, Berth,
        "The address of the request is longer than the server accepts.";
    THROTTLED = "Throttling.User", 429, Gateway,
        "Request was denied due to user flow control.";
    UNAVAILABLE = "ServiceUnavailable", 503, Gateway,
        "The request has failed due to a temporary failure of the server.";
    NO_SPACE = "InsufficientStorage", 507, Berth,
        "The server has no space left; nothing that it acknowledged is lost.";
}

/// What the caller may do about a code: `Recommend` of the error body.
pub(crate) fn recommendation(code: &str) -> &'static str {
    match code {
        "SignatureDoesNotMatch" => {
            "Check the access key secret, and that no proxy rewrites Host or User-Agent."
        }
        "InvalidTimeStamp.Expired" => "Set the clock of the client; 15 minutes are tolerated.",
        "SignatureNonceUsed" => "Sign every request, also a repeated one, with a new nonce.",
        "InvalidAccessKeyId.NotFound" | "InvalidAccessKeyId.Inactive" => {
            "Use an active access key of this server."
        }
        "Throttling.User" => "Ask less often, and again after the time in Retry-After.",
        "NoPrivilege" => "Ask the owner of the account for a policy that allows the action.",
        "InvalidAction.NotFound" => "Check the spelling of Action, and that Version is 2018-12-01.",
        "InsufficientStorage" => "Repeat the request when the server has space again.",
        "SystemError" | "ServiceUnavailable" => {
            "Repeat the request later; the server's log has the reason under the request id."
        }
        _ => "Correct the request as the message says.",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_unique_and_explained() {
        let names: BTreeSet<&str> = CODES.iter().map(|code| code.name).collect();
        assert_eq!(names.len(), CODES.len());
        for code in CODES {
            assert!(!code.meaning.is_empty(), "{}", code.name);
            let business = code.name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            assert_eq!(business, code.status == 200, "{}", code.name);
        }
    }
}
