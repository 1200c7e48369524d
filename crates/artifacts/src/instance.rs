//! Which instance a request is for.

use std::sync::Arc;

use berth_metadata::tables::instance::Instance;
use berth_metadata::tables::{instance, setting};
use berth_metadata::{Page, Subject};

use crate::{ArtifactError, Artifacts};

/// The setting that names the instance of the first start.
const DEFAULT_INSTANCE: &str = "default_instance_id";

/// Registry instances.
pub struct Instances<'a>(pub(crate) &'a Artifacts);

impl Instances<'_> {
    /// The instance of the first start.
    ///
    /// # Errors
    /// `InstanceNotFound` before the first start.
    pub async fn default(&self) -> Result<Instance, ArtifactError> {
        let mut session = self.0.db.read().await?;
        let missing = || ArtifactError::InstanceNotFound("default".to_owned());
        let id = setting::find(&mut session, DEFAULT_INSTANCE).await?.ok_or_else(missing)?;
        instance::find(&mut session, &id).await?.ok_or_else(missing)
    }

    /// # Errors
    /// `InstanceNotFound`.
    pub async fn find(&self, instance_id: &str) -> Result<Instance, ArtifactError> {
        let cache = &self.0.cache;
        if let Some(instance) = cache.instance_of_id(instance_id) {
            return Ok(Instance::clone(&instance));
        }
        let stamp = cache.stamp(Subject::Instances);
        let mut session = self.0.db.read().await?;
        let found = instance::find(&mut session, instance_id).await?;
        let found = found.ok_or_else(|| ArtifactError::InstanceNotFound(instance_id.to_owned()))?;
        cache.put_instance_of_id(stamp, &Arc::new(found.clone()));
        Ok(found)
    }

    /// A page of the account's instances whose name contains `name`, and the number of all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(
        &self,
        account_id: &str,
        name: &str,
        page: Page,
    ) -> Result<(Vec<Instance>, i64), ArtifactError> {
        let mut session = self.0.db.read().await?;
        Ok(instance::list(&mut session, account_id, name, page).await?)
    }

    /// The instance that a host name addresses: the one whose name, or name and `-registry`, is
    /// its first label, otherwise the default one.
    ///
    /// # Errors
    /// `InstanceNotFound` before the first start.
    pub async fn by_host(&self, host: &str) -> Result<Arc<Instance>, ArtifactError> {
        // A plain name or an address has no label that could name an instance.
        let label = match host.split_once('.') {
            Some((label, rest)) if rest.contains('.') && !is_number(label) => label,
            _ => "",
        };
        let label = label.to_ascii_lowercase();
        let name = label.strip_suffix("-registry").unwrap_or(&label);
        let cache = &self.0.cache;
        if let Some(instance) = cache.instance(name) {
            return Ok(instance);
        }
        let stamp = cache.stamp(Subject::Instances);
        let found = if name.is_empty() { None } else { self.by_name(name).await? };
        let instance = Arc::new(match found {
            Some(instance) => instance,
            None => self.default().await?,
        });
        cache.put_instance(name, stamp, &instance);
        Ok(instance)
    }

    async fn by_name(&self, name: &str) -> Result<Option<Instance>, ArtifactError> {
        let mut session = self.0.db.read().await?;
        Ok(instance::find_by_name(&mut session, name).await?)
    }
}

fn is_number(label: &str) -> bool {
    label.bytes().all(|byte| byte.is_ascii_digit())
}
