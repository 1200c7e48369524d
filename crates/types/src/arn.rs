//! Resource names of RAM policies: `acs:cr:{region}:{account}:{resource}`.

use std::fmt;

/// The resource of an authorisation decision.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Arn(String);

impl Arn {
    /// `acs:cr:{region}:{account}:instance/{instance}`
    pub fn instance(region: &str, account: &str, instance: &str) -> Self {
        Self(format!("acs:cr:{region}:{account}:instance/{instance}"))
    }

    /// `acs:cr:{region}:{account}:repository/{instance}[/{namespace}[/{repository}]]`
    pub fn repository(region: &str, account: &str, instance: &str, path: &[&str]) -> Self {
        let mut text = format!("acs:cr:{region}:{account}:repository/{instance}");
        for part in path {
            text.push('/');
            text.push_str(part);
        }
        Self(text)
    }

    /// Every resource: `*`.
    pub fn any() -> Self {
        Self("*".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
