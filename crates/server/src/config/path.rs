//! Paths of keys. A part may hold a dot: subscriptions name providers by their domain.

use std::fmt;

use super::keys::{KEYS, Key, Kind, environment_name};

/// Where a key stands: `section.key`, or `upstream.providers.NAME.key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyPath(Vec<String>);

impl KeyPath {
    /// The path above every section.
    pub(super) fn root() -> Self {
        Self(Vec::new())
    }

    /// From a text with dots between the parts.
    pub(super) fn of_text(text: &str) -> Self {
        Self(text.split('.').map(str::to_owned).collect())
    }

    /// The path with a part behind it.
    pub(super) fn with(&self, part: &str) -> Self {
        let mut parts = self.0.clone();
        parts.push(part.to_owned());
        Self(parts)
    }

    /// A declared path (`upstream.providers.*.username`) with the name for its star.
    pub(super) fn of_key(declared: &str, name: &str) -> Self {
        let part = |part: &str| if part == "*" { name.to_owned() } else { part.to_owned() };
        Self(declared.split('.').map(part).collect())
    }

    /// The key that stands here, and whether here stands the file that holds its secret.
    pub(super) fn key(&self) -> Option<(&'static Key, bool)> {
        if let Some(key) = KEYS.iter().find(|key| key.covers(&self.0)) {
            return Some((key, false));
        }
        let secret = self.without_file()?;
        let key = KEYS.iter().find(|key| key.kind == Kind::Secret && key.covers(&secret.0))?;
        Some((key, true))
    }

    /// The path without the `_file` at its end.
    pub(super) fn without_file(&self) -> Option<Self> {
        let (last, parents) = self.0.split_last()?;
        let mut parts = parents.to_vec();
        parts.push(last.strip_suffix("_file")?.to_owned());
        Some(Self(parts))
    }

    /// Whether keys stand below.
    pub(super) fn is_section(&self) -> bool {
        KEYS.iter().any(|key| key.is_below(&self.0) && !key.covers(&self.0))
    }

    /// The tables on the way, and the key's own name.
    pub(super) fn split_last(&self) -> Option<(&String, &[String])> {
        self.0.split_last()
    }

    /// Its environment variable.
    pub(super) fn variable(&self) -> String {
        environment_name(&self.0.join("."))
    }

    /// The declared key that looks most alike, when one does.
    pub(super) fn nearest(&self) -> Option<String> {
        let text = self.to_string();
        let candidates = KEYS.iter().map(|key| {
            // Compared under the operator's own name where the key has a star.
            let shown = match self.0.get(2) {
                Some(name) => Self::of_key(key.path, name).to_string(),
                None => key.path.to_owned(),
            };
            (strsim::damerau_levenshtein(&shown, &text), shown)
        });
        let (distance, nearest) = candidates.min()?;
        (distance <= text.len() / 2).then_some(nearest)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            if part.contains('.') { write!(f, "\"{part}\"")? } else { f.write_str(part)? }
        }
        Ok(())
    }
}
