//! Errors of operations, and how they look on the wire.

use std::borrow::Cow;
use std::fmt;

use berth_artifacts::{ArtifactError, ArtifactErrorKind};
use berth_auth::{AuthError, Denied, Throttled};
use berth_builder::{BuildError, BuildErrorKind};
use berth_maintenance::MaintenanceError;
use berth_metadata::{DbError, DbErrorKind};
use berth_subscription::{SubscriptionError, SubscriptionErrorKind};
use berth_tasks::TaskError;
use serde_json::{Map, Value, json};

use crate::codes::{self, Code, recommendation};

/// Why a request is not answered with success.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// The request is at fault, or the caller: HTTP 4xx.
    Gateway { status: u16, code: Cow<'static, str>, message: String },
    /// The caller asks too often: HTTP 429.
    Throttled(Throttled),
    /// No privilege: HTTP 403 with `AccessDeniedDetail`.
    Denied(Box<Denied>),
    /// The request is well formed and cannot be fulfilled: HTTP 200 with `IsSuccess: false`.
    Business { code: Code, message: String },
    /// The server is at fault; the reason is for the log alone.
    Internal(String),
}

impl ApiError {
    /// An error with a code of the table and a message of its own.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        let message = message.into();
        let message = if message.is_empty() { code.meaning.to_owned() } else { message };
        match code.status {
            200 => Self::Business { code, message },
            status => Self::Gateway { status, code: Cow::Borrowed(code.name), message },
        }
    }

    /// An error with a code of the table and its usual message.
    pub(crate) fn plain(code: Code) -> Self {
        Self::new(code, code.meaning)
    }

    /// `Missing<Parameter>`.
    pub(crate) fn missing(parameter: &str) -> Self {
        Self::Gateway {
            status: 400,
            code: Cow::Owned(format!("Missing{parameter}")),
            message: format!("{parameter} is mandatory for this action."),
        }
    }

    /// `Invalid<Parameter>`; the reason is a sentence without its full stop.
    pub(crate) fn invalid(parameter: &str, reason: impl AsRef<str>) -> Self {
        let reason = reason.as_ref().trim_end_matches('.');
        Self::Gateway {
            status: 400,
            code: Cow::Owned(format!("Invalid{parameter}")),
            message: format!("Specified parameter {parameter} is not valid: {reason}."),
        }
    }

    pub(crate) fn internal(reason: impl fmt::Display) -> Self {
        Self::Internal(reason.to_string())
    }

    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Gateway { code, .. } => code,
            Self::Throttled(_) => codes::THROTTLED.name,
            Self::Denied(_) => codes::NO_PRIVILEGE.name,
            Self::Business { code, .. } => code.name,
            Self::Internal(_) => codes::SYSTEM_ERROR.name,
        }
    }

    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Gateway { status, .. } => *status,
            Self::Throttled(_) => codes::THROTTLED.status,
            Self::Denied(_) => codes::NO_PRIVILEGE.status,
            Self::Business { code, .. } => code.status,
            Self::Internal(_) => codes::SYSTEM_ERROR.status,
        }
    }

    /// The message that the caller sees: never empty, since clients take an empty one for success.
    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Gateway { message, .. } | Self::Business { message, .. } => message,
            Self::Throttled(_) => codes::THROTTLED.meaning,
            Self::Denied(_) => codes::NO_PRIVILEGE.meaning,
            Self::Internal(_) => codes::SYSTEM_ERROR.meaning,
        }
    }

    /// The body of the answer.
    pub(crate) fn body(&self, request_id: &str, host_id: &str) -> Value {
        let mut body = Map::new();
        let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
        put("RequestId", request_id.into());
        if let Self::Business { .. } = self {
            put("IsSuccess", false.into());
            put("Code", self.code().into());
            put("Message", self.message().into());
            return Value::Object(body);
        }
        put("HostId", host_id.into());
        put("Code", self.code().into());
        put("Message", self.message().into());
        put("Recommend", recommendation(self.code()).into());
        if let Self::Denied(denied) = self {
            put("AccessDeniedDetail", access_denied_detail(denied));
        }
        Value::Object(body)
    }
}

fn access_denied_detail(denied: &Denied) -> Value {
    json!({
        "AuthAction": denied.action,
        "AuthPrincipalType": denied.principal_type,
        "AuthPrincipalOwnerId": denied.owner_id,
        "AuthPrincipalDisplayName": denied.display_name,
        "NoPermissionType": denied.no_permission_type,
        "PolicyType": denied.policy_type,
    })
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        let error = match error {
            AuthError::Database(error) => return error.into(),
            AuthError::Guessing(throttled) => return Self::Throttled(throttled),
            error if error.is_full() => {
                tracing::warn!(%error, "no space for what a request writes");
                return Self::plain(codes::NO_SPACE);
            }
            error if error.is_internal() => return Self::internal(error),
            error => error,
        };
        let (status, code) = (error.status(), Cow::Owned(error.code()));
        Self::Gateway { status, code, message: error.to_string() }
    }
}

impl From<Throttled> for ApiError {
    fn from(throttled: Throttled) -> Self {
        Self::Throttled(throttled)
    }
}

impl From<Box<Denied>> for ApiError {
    fn from(denied: Box<Denied>) -> Self {
        Self::Denied(denied)
    }
}

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        match error.kind() {
            DbErrorKind::Transient | DbErrorKind::Unavailable => {
                tracing::warn!(%error, "the database is not available");
                Self::plain(codes::UNAVAILABLE)
            }
            DbErrorKind::Full => {
                tracing::warn!(%error, "no space for what a request writes");
                Self::plain(codes::NO_SPACE)
            }
            DbErrorKind::Conflict => Self::plain(codes::OPERATION_CONFLICT),
            _ => Self::internal(error),
        }
    }
}

impl From<ArtifactError> for ApiError {
    fn from(error: ArtifactError) -> Self {
        use ArtifactErrorKind as Kind;
        let code = match error.kind() {
            Kind::InstanceNotFound => codes::INSTANCE_NOT_EXIST,
            Kind::NamespaceNotFound => codes::NAMESPACE_NOT_EXIST,
            Kind::NamespaceExists => codes::NAMESPACE_ALREADY_EXIST,
            Kind::RepositoryNotFound => codes::REPO_NOT_EXIST,
            Kind::RepositoryExists => codes::REPO_ALREADY_EXIST,
            Kind::TagNotFound => codes::REPO_TAG_NOT_EXIST,
            Kind::TagImmutable => codes::REPO_TAG_IMMUTABLE,
            Kind::ManifestUnknown => codes::MANIFEST_NOT_EXIST,
            Kind::BlobInUse | Kind::UploadBusy => codes::OPERATION_CONFLICT,
            Kind::QuotaExceeded => codes::QUOTA_EXCEEDED,
            Kind::NameInvalid => return Self::invalid("Name", error.to_string()),
            Kind::Transient => {
                tracing::warn!(%error, "database or store are not available");
                codes::UNAVAILABLE
            }
            Kind::Full => {
                tracing::warn!(%error, "no space for what a request writes");
                codes::NO_SPACE
            }
            // The control plane moves no bytes, so none of these is the caller's doing.
            Kind::ManifestInvalid
            | Kind::ManifestTooLarge
            | Kind::ManifestBlobUnknown
            | Kind::BlobUnknown
            | Kind::UploadUnknown
            | Kind::UploadRange
            | Kind::UploadBroken
            | Kind::DigestInvalid
            | Kind::SizeInvalid
            | Kind::BlobTooLarge
            | Kind::Internal => return Self::internal(error),
        };
        match code.status {
            200 => Self::new(code, sentence(&error)),
            _ => Self::plain(code),
        }
    }
}

impl From<BuildError> for ApiError {
    fn from(error: BuildError) -> Self {
        use BuildErrorKind as Kind;
        let code = match (error.kind(), error) {
            (Kind::Internal, BuildError::Artifact(error)) => return error.into(),
            (Kind::Internal, BuildError::Database(error)) => return error.into(),
            (Kind::Internal, BuildError::Task(TaskError::Database(error))) => return error.into(),
            (Kind::Internal, error) => return Self::internal(error),
            (Kind::InvalidParameter(name), error) => return Self::invalid(name, error.to_string()),
            (Kind::InstanceNotFound, error) => (codes::INSTANCE_NOT_EXIST, error),
            (Kind::RepositoryNotFound, error) => (codes::REPO_NOT_EXIST, error),
            (Kind::TagNotFound, error) => (codes::REPO_TAG_NOT_EXIST, error),
            (Kind::RuleNotFound, error) => (codes::BUILD_RULE_NOT_EXIST, error),
            (Kind::RuleExists, error) => (codes::BUILD_RULE_ALREADY_EXIST, error),
            (Kind::TaskNotFound, error) => (codes::BUILD_TASK_NOT_EXIST, error),
            (Kind::TaskFinished, error) => (codes::BUILD_TASK_FINISHED, error),
            (Kind::Unsupported, error) => (codes::NOT_SUPPORTED, error),
        };
        Self::new(code.0, sentence(&code.1))
    }
}

impl From<SubscriptionError> for ApiError {
    fn from(error: SubscriptionError) -> Self {
        use SubscriptionErrorKind as Kind;
        let code = match (error.kind(), error) {
            (Kind::Internal, SubscriptionError::Database(error)) => return error.into(),
            (Kind::Internal, SubscriptionError::Task(TaskError::Database(error))) => {
                return error.into();
            }
            (Kind::Internal, error) => return Self::internal(error),
            (Kind::InvalidParameter(name), error) => return Self::invalid(name, error.to_string()),
            (Kind::NamespaceNotFound, error) => (codes::NAMESPACE_NOT_EXIST, error),
            (Kind::RepositoryNotFound, error) => (codes::REPO_NOT_EXIST, error),
            (Kind::RuleNotFound, error) => (codes::SUBSCRIPTION_RULE_NOT_EXIST, error),
            (Kind::TaskNotFound, error) => (codes::SUBSCRIPTION_TASK_NOT_EXIST, error),
            (Kind::TaskFinished, error) => (codes::SUBSCRIPTION_TASK_FINISHED, error),
        };
        Self::new(code.0, sentence(&code.1))
    }
}

impl From<MaintenanceError> for ApiError {
    fn from(error: MaintenanceError) -> Self {
        let code = match error {
            MaintenanceError::Database(error) => return error.into(),
            MaintenanceError::Task(TaskError::Database(error)) => return error.into(),
            MaintenanceError::Task(error) => return Self::internal(error),
            MaintenanceError::NotFound(_) => codes::MAINTENANCE_TASK_NOT_EXIST,
            MaintenanceError::Finished(_) => codes::MAINTENANCE_TASK_FINISHED,
        };
        Self::new(code, sentence(&error))
    }
}

/// As the conversion, naming the parameter that an invalid name came in.
pub(crate) fn named(error: ArtifactError, parameter: &str) -> ApiError {
    match error.kind() {
        ArtifactErrorKind::NameInvalid => ApiError::invalid(parameter, error.to_string()),
        _ => error.into(),
    }
}

/// An error's text as a sentence for the caller.
pub(crate) fn sentence(error: &impl ToString) -> String {
    let text = error.to_string();
    let mut characters = text.chars();
    let Some(first) = characters.next() else { return text };
    let end = if text.ends_with('.') { "" } else { "." };
    format!("{}{}{end}", first.to_uppercase(), characters.as_str())
}

#[cfg(test)]
mod tests {
    use berth_auth::Access;
    use berth_auth::access::authorize;
    use berth_types::{Arn, Ctx, Identity};

    use super::*;

    #[test]
    fn a_refusal_tells_what_was_refused() {
        let ctx = Ctx::new(Identity::anonymous(), "R".to_owned());
        let arn = Arn::instance("local", "1", "cri-1");
        let denied = authorize(&ctx, &Access::new("cr:GetInstance", &arn)).expect_err("refused");
        let error = ApiError::from(denied);
        let body = error.body("R", "host");
        assert_eq!((error.status(), &body["Code"]), (403, &json!("NoPrivilege")));
        assert_eq!(body["Message"], "Access denied for this user.");
        assert_eq!(body["AccessDeniedDetail"]["AuthAction"], "cr:GetInstance");
        assert_eq!(body["AccessDeniedDetail"]["NoPermissionType"], "ImplicitDeny");
    }

    #[test]
    fn the_reason_of_an_internal_error_stays_inside() {
        let error = ApiError::internal("password of the database is hunter2");
        let body = error.body("R", "host");
        assert_eq!((error.status(), &body["Code"]), (500, &json!("SystemError")));
        assert!(!body.to_string().contains("hunter2"));
    }

    #[test]
    fn messages_are_sentences_and_never_empty() {
        assert_eq!(sentence(&"tag `x` does not exist"), "Tag `x` does not exist.");
        assert_eq!(sentence(&""), "");
        let error = ApiError::new(codes::REPO_NOT_EXIST, "");
        assert_eq!(error.message(), codes::REPO_NOT_EXIST.meaning);
        assert_eq!(
            ApiError::invalid("PageSize", "it is 0.").message(),
            "Specified parameter PageSize is not valid: it is 0."
        );
    }
}
