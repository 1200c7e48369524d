//! The layers of the configuration and how they are laid over each other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use berth_types::Secret;
use toml::{Table, Value};

use super::RootKey;
use super::keys::{KEYS, Key, Kind, environment_name};

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{origin}: {message}")]
    Syntax { origin: String, message: String },
    #[error("{origin}: unknown key `{key}`{}", suggestion(nearest))]
    UnknownKey { origin: String, key: String, nearest: Option<String> },
    #[error("{origin}: `{key}` must be {expected}")]
    Kind { origin: String, key: String, expected: &'static str },
    #[error(
        "{origin}: `{key}` is a secret: set {variable}, or name a file that holds it with `{key}_file`"
    )]
    Secret { origin: String, key: String, variable: String },
    #[error("configuration: {0}")]
    Value(String),
}

fn suggestion(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|key| format!("; did you mean `{key}`?")).unwrap_or_default()
}

/// What the configuration is made of.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    file: Option<(PathBuf, String)>,
    environment: BTreeMap<String, String>,
    flags: Vec<(String, String)>,
}

impl Layers {
    /// No layer but the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a configuration file.
    ///
    /// # Errors
    /// [`ConfigError::Read`] when the file cannot be read.
    pub fn with_file(mut self, path: &Path) -> Result<Self, ConfigError> {
        let text = read_to_string(path)?;
        self.file = Some((path.to_owned(), text));
        Ok(self)
    }

    /// Adds environment variables; those without `BERTH_` in front are left out.
    #[must_use]
    pub fn with_environment(
        mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        self.environment.extend(variables.into_iter().filter(|(name, _)| name.starts_with("BERTH_")));
        self
    }

    /// Adds one flag by the path of its key. Later ones win.
    #[must_use]
    pub fn with_flag(mut self, path: &str, value: &str) -> Self {
        self.flags.push((path.to_owned(), value.to_owned()));
        self
    }

    /// The layers as one table, secrets read from their files.
    pub(super) fn merged(&self) -> Result<Table, ConfigError> {
        let mut merged = Table::new();
        if let Some((path, text)) = &self.file {
            let origin = path.display().to_string();
            let table: Table = text.parse().map_err(|error: toml::de::Error| {
                ConfigError::Syntax { origin: origin.clone(), message: error.to_string() }
            })?;
            let mut leaves = Vec::new();
            collect_leaves(&table, "", &mut leaves);
            for (path, value) in leaves {
                let key = find_key(&path)
                    .ok_or_else(|| unknown(&origin, &path, |key| key.path.to_owned()))?;
                if key.kind == Kind::Secret && !path.ends_with("_file") {
                    let variable = environment_name(&path);
                    return Err(ConfigError::Secret { origin, key: path, variable });
                }
                place(&mut merged, &origin, key, &path, check_kind(&origin, key, &path, value)?)?;
            }
        }
        for (path, variable) in self.environment_paths() {
            let Some(key) = find_key(&path) else { continue };
            let Some(text) = self.environment.get(&variable) else { continue };
            let value = value_of_text(&variable, key, &path, text)?;
            place(&mut merged, &variable, key, &path, value)?;
        }
        for (path, text) in &self.flags {
            let origin = "command line";
            let key =
                find_key(path).ok_or_else(|| unknown(origin, path, |key| key.path.to_owned()))?;
            if key.kind == Kind::Secret && !path.ends_with("_file") {
                let variable = environment_name(path);
                let (origin, key) = (origin.to_owned(), path.clone());
                return Err(ConfigError::Secret { origin, key, variable });
            }
            place(&mut merged, origin, key, path, value_of_text(origin, key, path, text)?)?;
        }
        Ok(merged)
    }

    /// The root key pair of the environment.
    pub(super) fn root_key(&self) -> Result<Option<RootKey>, ConfigError> {
        const ID: &str = "BERTH_ROOT_ACCESS_KEY_ID";
        const SECRET: &str = "BERTH_ROOT_ACCESS_KEY_SECRET";
        let get = |name: &str| self.environment.get(name).filter(|value| !value.is_empty());
        match (get(ID), get(SECRET)) {
            (None, None) => Ok(None),
            (Some(id), Some(secret)) => Ok(Some(RootKey {
                access_key_id: id.clone(),
                access_key_secret: Secret::new(secret.clone()),
            })),
            _ => Err(ConfigError::Value(format!("{ID} and {SECRET} must be set together"))),
        }
    }

    /// Paths of keys that the environment sets, each with its variable. A provider's name is what
    /// stands between the fixed parts of the variable.
    fn environment_paths(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for variable in self.environment.keys() {
            for key in KEYS {
                for suffix in suffixes(key.kind) {
                    let path = format!("{}{suffix}", key.path);
                    match path.split_once(".*.") {
                        None if environment_name(&path) == *variable => {
                            found.push((path, variable.clone()));
                        }
                        None => {}
                        Some((before, after)) => {
                            let before = format!("{}_", environment_name(before));
                            let after = format!("_{}", after.to_uppercase());
                            let name = variable
                                .strip_prefix(&before)
                                .and_then(|rest| rest.strip_suffix(&after))
                                .filter(|name| !name.is_empty());
                            if let Some(name) = name {
                                found.push((path.replace('*', name), variable.clone()));
                            }
                        }
                    }
                }
            }
        }
        found
    }
}

fn suffixes(kind: Kind) -> &'static [&'static str] {
    if kind == Kind::Secret { &["", "_file"] } else { &[""] }
}

fn find_key(path: &str) -> Option<&'static Key> {
    let exact = KEYS.iter().find(|key| key.covers(path));
    exact.or_else(|| {
        let path = path.strip_suffix("_file")?;
        KEYS.iter().find(|key| key.kind == Kind::Secret && key.covers(path))
    })
}

fn unknown(origin: &str, path: &str, name: impl Fn(&Key) -> String) -> ConfigError {
    let nearest = KEYS
        .iter()
        .map(|key| {
            let name = name(key);
            // Compare under the operator's own name where the key has a star.
            let shown = match (name.split_once('*'), path.split('.').nth(2)) {
                (Some((before, after)), Some(own)) => format!("{before}{own}{after}"),
                _ => name,
            };
            (strsim::damerau_levenshtein(&shown, path), shown)
        })
        .min()
        .filter(|(distance, _)| *distance <= path.len() / 2)
        .map(|(_, key)| key);
    ConfigError::UnknownKey { origin: origin.to_owned(), key: path.to_owned(), nearest }
}

fn collect_leaves(table: &Table, prefix: &str, leaves: &mut Vec<(String, Value)>) {
    for (name, value) in table {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Table(inner) if find_key(&path).is_none() && !inner.is_empty() => {
                collect_leaves(inner, &path, leaves);
            }
            Value::Table(inner) if inner.is_empty() && is_section(&path) => {}
            value => leaves.push((path, value.clone())),
        }
    }
}

/// Whether keys exist below this path.
fn is_section(path: &str) -> bool {
    KEYS.iter().any(|key| {
        let mut parts = key.path.split('.');
        path.split('.').all(|part| parts.next().is_some_and(|own| own == "*" || own == part))
            && parts.next().is_some()
    })
}

fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::Secret => "a text",
        Kind::Flag => "true or false",
        Kind::Count => "a number",
        Kind::Duration => "seconds, or a text such as \"30s\", \"5m\" or \"1h\"",
        Kind::Size => "bytes, or a text such as \"512MiB\"",
        Kind::List => "a list of texts",
    }
}

fn wrong_kind(origin: &str, key: &Key, path: &str) -> ConfigError {
    let expected = expected(key.kind);
    ConfigError::Kind { origin: origin.to_owned(), key: path.to_owned(), expected }
}

fn check_kind(origin: &str, key: &Key, path: &str, value: Value) -> Result<Value, ConfigError> {
    let right = match (key.kind, &value) {
        (Kind::Text | Kind::Secret, Value::String(_)) | (Kind::Flag, Value::Boolean(_)) => true,
        (Kind::Count, Value::Integer(number)) => *number >= 0,
        (Kind::Duration | Kind::Size, Value::Integer(number)) => *number >= 0,
        (Kind::Duration, Value::String(text)) => super::parse_duration(text).is_some(),
        (Kind::Size, Value::String(text)) => super::parse_size(text).is_some(),
        (Kind::List, Value::Array(items)) => items.iter().all(Value::is_str),
        _ => false,
    };
    if right { Ok(value) } else { Err(wrong_kind(origin, key, path)) }
}

fn value_of_text(origin: &str, key: &Key, path: &str, text: &str) -> Result<Value, ConfigError> {
    let value = match key.kind {
        Kind::Flag => match text {
            "true" | "1" | "yes" | "on" => Value::Boolean(true),
            "false" | "0" | "no" | "off" | "" => Value::Boolean(false),
            _ => return Err(wrong_kind(origin, key, path)),
        },
        Kind::Count => {
            let number = text.trim().parse().map_err(|_| wrong_kind(origin, key, path))?;
            Value::Integer(number)
        }
        Kind::List => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
        }
        Kind::Text | Kind::Secret | Kind::Duration | Kind::Size => Value::String(text.to_owned()),
    };
    check_kind(origin, key, path, value)
}

/// Puts a value at its path; the file of a secret is read here and its text takes the place.
fn place(
    table: &mut Table,
    origin: &str,
    key: &Key,
    path: &str,
    value: Value,
) -> Result<(), ConfigError> {
    let secret_file = path.strip_suffix("_file").filter(|_| key.kind == Kind::Secret);
    let (path, value) = match (secret_file, value) {
        (Some(path), Value::String(file)) => {
            let text = read_to_string(Path::new(&file))?;
            (path, Value::String(text.trim_end_matches(['\r', '\n']).to_owned()))
        }
        (_, value) => (path, value),
    };
    let mut parts: Vec<&str> = path.split('.').collect();
    let Some(last) = parts.pop() else { return Ok(()) };
    let mut table = table;
    for part in parts {
        let entry = table.entry(part).or_insert_with(|| Value::Table(Table::new()));
        table = entry.as_table_mut().ok_or_else(|| wrong_kind(origin, key, path))?;
    }
    table.insert(last.to_owned(), value);
    Ok(())
}

fn read_to_string(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}
