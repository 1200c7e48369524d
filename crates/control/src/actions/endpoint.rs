//! Access entries of an instance: `GetInstanceEndpoint`, `ListInstanceEndpoint`.
//!
//! Berth has one entry, `internet`: whatever addresses its listener is reachable by. There is no
//! separate `vpc` entry, and charts have no entry of their own, so both read as disabled.

use async_trait::async_trait;

use crate::control::Control;
use crate::error::ApiError;
use crate::operation::{Action, Call};
use crate::schema::{request, response};

const INTERNET: &str = "internet";
const VPC: &str = "vpc";

request! { GetInstanceEndpoint {
    /// `internet` or `vpc`.
    endpoint_type: String = Acr "EndpointType",
    /// The instance.
    _instance_id: String = Acr "InstanceId",
    /// `Registry` (the default) or `Chart`.
    module_name: Option<String> = Acr "ModuleName",
} }

response! { EndpointAnswer {
    /// Whether only the addresses of the list may come in.
    acl_enable: bool = Acr "AclEnable",
    /// The addresses that may come in.
    acl_entries: Vec<AclEntry> = Acr "AclEntries",
    /// The host names of the entry.
    domains: Vec<Domain> = Acr "Domains",
    /// Whether the entry is open.
    enable: bool = Acr "Enable",
    /// `RUNNING`; absent while the entry is disabled.
    status: Option<&'static str> = Acr "Status",
} }

response! {
    /// An address range that may come in.
    AclEntry {
        /// What it is for.
        comment: String = Acr "Comment",
        /// The range in CIDR notation.
        entry: String = Acr "Entry",
    }
}

response! {
    /// A host name.
    Domain {
        /// The name, with the port when it is not the scheme's own.
        domain: String = Acr "Domain",
        /// `SYSTEM` or `USER`.
        kind: &'static str = Acr "Type",
    }
}

#[async_trait]
impl Action for GetInstanceEndpoint {
    type Response = EndpointAnswer;

    async fn run(self, control: &Control, call: &Call) -> Result<EndpointAnswer, ApiError> {
        if ![INTERNET, VPC].contains(&self.endpoint_type.as_str()) {
            let reason = format!("`{}` is neither internet nor vpc", self.endpoint_type);
            return Err(ApiError::invalid("EndpointType", reason));
        }
        let enable = is_registry(self.module_name.as_deref())? && self.endpoint_type == INTERNET;
        Ok(EndpointAnswer {
            acl_enable: false,
            acl_entries: Vec::new(),
            domains: if enable { domains(control, call) } else { Vec::new() },
            enable,
            status: enable.then_some("RUNNING"),
        })
    }
}

request! { ListInstanceEndpoint {
    /// The instance.
    _instance_id: String = Acr "InstanceId",
    /// `Registry` (the default) or `Chart`.
    module_name: Option<String> = Acr "ModuleName",
    /// Leave the address lists out.
    _summary: Option<bool> = Acr "Summary",
} }

response! { EndpointList {
    /// The entries.
    endpoints: Vec<EndpointRow> = Acr "Endpoints",
} }

response! {
    /// An entry as a row.
    EndpointRow {
        /// Whether only the addresses of the list may come in.
        acl_enable: bool = Acr "AclEnable",
        /// The addresses that may come in.
        acl_entries: Vec<AclRow> = Acr "AclEntries",
        /// The host names of the entry.
        domains: Vec<Domain> = Acr "Domains",
        /// Whether the entry is open.
        enable: bool = Acr "Enable",
        /// `internet`.
        endpoint_type: &'static str = Acr "EndpointType",
        /// Always empty: Berth knows no VPCs.
        linked_vpcs: Vec<LinkedVpc> = Acr "LinkedVpcs",
        /// `RUNNING`.
        status: Option<&'static str> = Acr "Status",
    }
}

response! {
    /// An address range of a row.
    AclRow {
        /// The range in CIDR notation.
        entry: String = Acr "Entry",
    }
}

response! {
    /// A VPC of an entry.
    LinkedVpc {
        /// Its id.
        vpc_id: String = Acr "VpcId",
    }
}

#[async_trait]
impl Action for ListInstanceEndpoint {
    type Response = EndpointList;

    async fn run(self, control: &Control, call: &Call) -> Result<EndpointList, ApiError> {
        let enable = is_registry(self.module_name.as_deref())?;
        Ok(EndpointList {
            endpoints: vec![EndpointRow {
                acl_enable: false,
                acl_entries: Vec::new(),
                domains: if enable { domains(control, call) } else { Vec::new() },
                enable,
                endpoint_type: INTERNET,
                linked_vpcs: Vec::new(),
                status: enable.then_some("RUNNING"),
            }],
        })
    }
}

fn is_registry(module_name: Option<&str>) -> Result<bool, ApiError> {
    match module_name {
        None | Some("Registry") => Ok(true),
        Some("Chart") => Ok(false),
        Some(other) => {
            let reason = format!("`{other}` is neither Registry nor Chart");
            Err(ApiError::invalid("ModuleName", reason))
        }
    }
}

/// The configured names, or the one that the caller used.
fn domains(control: &Control, call: &Call) -> Vec<Domain> {
    let configured = &control.config().domains;
    let names = if configured.is_empty() { vec![call.host.clone()] } else { configured.clone() };
    names.into_iter().map(|domain| Domain { domain, kind: "SYSTEM" }).collect()
}
