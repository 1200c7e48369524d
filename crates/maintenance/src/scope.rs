//! How far a task of maintenance reaches.

use serde::{Deserialize, Serialize};

/// What is kept in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum MaintenanceScope {
    /// Everything that the server stores.
    #[default]
    Server,
    /// What the repositories of the instance with this id hold, and its tasks.
    Instance(String),
}

/// What a task keeps of its scope.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Payload {
    instance_id: Option<String>,
}

/// The tenant of tasks for the whole server.
const SERVER: &str = "-";

impl MaintenanceScope {
    /// The only instance, if there is one only.
    pub fn instance_id(&self) -> Option<&str> {
        match self {
            Self::Server => None,
            Self::Instance(instance_id) => Some(instance_id),
        }
    }

    /// The tenant of its tasks.
    pub(crate) fn tenant(&self) -> &str {
        self.instance_id().unwrap_or(SERVER)
    }

    /// A name that two scopes do not share, made of one that all have.
    pub(crate) fn name(&self, common: &str) -> String {
        match self {
            Self::Server => common.to_owned(),
            Self::Instance(instance_id) => format!("{common}-{instance_id}"),
        }
    }

    pub(crate) fn payload(&self) -> Payload {
        Payload { instance_id: self.instance_id().map(str::to_owned) }
    }
}

impl From<Option<Payload>> for MaintenanceScope {
    /// Tasks without a payload are the server's.
    fn from(payload: Option<Payload>) -> Self {
        payload.and_then(|payload| payload.instance_id).map_or(Self::Server, Self::Instance)
    }
}
