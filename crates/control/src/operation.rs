//! What an operation of the API is.

use std::fmt;

use async_trait::async_trait;
use berth_auth::Credential;
use berth_types::Ctx;
use serde_json::{Map, Value};

use crate::control::Control;
use crate::error::ApiError;
use crate::output::Output;
use crate::parameters::Parameters;
use crate::resource::Target;
use crate::schema::{Field, Request, Stage};

/// Which resource an operation needs privilege on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// `*`, of an existing instance.
    Everything,
    /// `instance/*`.
    Instances,
    /// `instance/{InstanceId}`.
    Instance,
    /// `instance/{InstanceId}`, or `*` when the parameter `Scope` is `SERVER`.
    InstanceOrEverything,
    /// `repository/{InstanceId}`.
    Repositories,
    /// `repository/{InstanceId}/{namespace}`, the namespace named by this parameter or by
    /// `NamespaceId`.
    Namespace(&'static str),
    /// `repository/{InstanceId}`, or one namespace of it when this parameter names one.
    NamespaceOrAll(&'static str),
    /// `repository/{InstanceId}/{namespace}/{repository}`, named by `RepoId` or by
    /// `RepoNamespaceName` and `RepoName`.
    Repository,
}

/// One row of the operation table.
pub struct Operation {
    pub name: &'static str,
    /// ACR's own, or an extension of Berth.
    pub stage: Stage,
    /// The HTTP methods that ACR documents. GET and POST are taken for every operation, PUT only
    /// where it is listed.
    pub methods: &'static [&'static str],
    /// The RAM action, which often is not `cr:` and the name.
    pub ram_action: &'static str,
    pub extent: Extent,
    pub doc: &'static str,
    /// The parameters.
    pub request: &'static [Field],
    /// The fields of a successful answer beside `RequestId`, `IsSuccess` and `Code`.
    pub response: &'static [Field],
    pub(crate) decode: fn(&Parameters) -> Result<Box<dyn Prepared>, ApiError>,
}

impl Operation {
    /// A row of ACR's API.
    pub(crate) const fn acr<A: Action>(
        name: &'static str,
        methods: &'static [&'static str],
        ram_action: &'static str,
        extent: Extent,
        doc: &'static str,
    ) -> Self {
        Self {
            name,
            stage: Stage::Acr,
            methods,
            ram_action,
            extent,
            doc,
            request: A::FIELDS,
            response: A::Response::FIELDS,
            decode: |parameters| Ok(Box::new(A::decode(parameters)?)),
        }
    }

    /// A row of Berth's own.
    pub(crate) const fn extension<A: Action>(
        name: &'static str,
        methods: &'static [&'static str],
        ram_action: &'static str,
        extent: Extent,
        doc: &'static str,
    ) -> Self {
        Self { stage: Stage::Extension, ..Self::acr::<A>(name, methods, ram_action, extent, doc) }
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation").field("name", &self.name).finish_non_exhaustive()
    }
}

/// An authorised call: who calls, and what for.
pub(crate) struct Call {
    pub(crate) ctx: Ctx,
    /// What the caller came with: bounds what is issued to it.
    pub(crate) credential: Credential,
    pub(crate) target: Target,
    /// The Host that the caller addressed.
    pub(crate) host: String,
}

impl Call {
    pub(crate) fn instance_id(&self) -> Result<&str, ApiError> {
        Ok(&self.target.instance()?.instance_id)
    }
}

/// What an operation does. It is implemented by the type of its decoded parameters; dispatch has
/// authorised the caller and found the [`Target`] before it runs.
#[async_trait]
pub(crate) trait Action: Request + 'static {
    type Response: Output;

    /// # Errors
    /// [`ApiError`].
    async fn run(self, control: &Control, call: &Call) -> Result<Self::Response, ApiError>;
}

/// An action whose type is forgotten.
#[async_trait]
pub(crate) trait Prepared: Send {
    async fn run(
        self: Box<Self>,
        control: &Control,
        call: &Call,
    ) -> Result<Map<String, Value>, ApiError>;
}

#[async_trait]
impl<A: Action> Prepared for A {
    async fn run(
        self: Box<Self>,
        control: &Control,
        call: &Call,
    ) -> Result<Map<String, Value>, ApiError> {
        match Action::run(*self, control, call).await?.output() {
            Some(Value::Object(fields)) => Ok(fields),
            _ => Err(ApiError::internal("an answer must be an object")),
        }
    }
}
