//! The layers of the configuration and how they are laid over each other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use berth_types::Secret;
use toml::{Table, Value};

use super::RootKey;
use super::keys::{KEYS, Key, Kind, environment_name};
use super::path::KeyPath;

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
        self.environment
            .extend(variables.into_iter().filter(|(name, _)| name.starts_with("BERTH_")));
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
            collect_leaves(&table, &KeyPath::root(), &mut leaves);
            for (path, value) in leaves {
                let setting = Setting::find(&origin, path)?.without_secret()?;
                setting.place(&mut merged, value)?;
            }
        }
        for (path, variable, text) in self.environment_settings() {
            let setting = Setting::find(&variable, path)?;
            setting.place(&mut merged, setting.value_of_text(text)?)?;
        }
        for (path, text) in &self.flags {
            let path = KeyPath::of_text(path);
            let setting = Setting::find("command line", path)?.without_secret()?;
            setting.place(&mut merged, setting.value_of_text(text)?)?;
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

    /// What the environment sets: path, variable and value. A provider's name is what stands
    /// between the fixed parts of the variable.
    fn environment_settings(&self) -> Vec<(KeyPath, String, &str)> {
        let mut found = Vec::new();
        for (variable, value) in &self.environment {
            for key in KEYS {
                for suffix in suffixes(key.kind) {
                    let declared = format!("{}{suffix}", key.path);
                    if let Some(name) = name_in_variable(&declared, variable) {
                        let path = KeyPath::of_key(&declared, name);
                        found.push((path, variable.clone(), value.as_str()));
                    }
                }
            }
        }
        found
    }
}

/// What a variable says in place of the star of a declared path; an empty text when the path has
/// no star and the variable is the path's own; `None` when it is the variable of another key.
fn name_in_variable<'a>(declared: &str, variable: &'a str) -> Option<&'a str> {
    match declared.split_once(".*.") {
        None => (environment_name(declared) == variable).then_some(""),
        Some((before, after)) => variable
            .strip_prefix(&format!("{}_", environment_name(before)))?
            .strip_suffix(&format!("_{}", after.to_uppercase()))
            .filter(|name| !name.is_empty()),
    }
}

fn suffixes(kind: Kind) -> &'static [&'static str] {
    if kind == Kind::Secret { &["", "_file"] } else { &[""] }
}

/// The values of a table with their paths.
fn collect_leaves(table: &Table, parent: &KeyPath, leaves: &mut Vec<(KeyPath, Value)>) {
    for (name, value) in table {
        let path = parent.with(name);
        match value {
            Value::Table(inner) if path.is_section() => collect_leaves(inner, &path, leaves),
            Value::Table(inner) if path.key().is_none() && !inner.is_empty() => {
                collect_leaves(inner, &path, leaves);
            }
            value => leaves.push((path, value.clone())),
        }
    }
}

/// One key in one layer.
struct Setting {
    origin: String,
    path: KeyPath,
    key: &'static Key,
    /// The value names a file that holds the secret.
    in_file: bool,
}

impl Setting {
    fn find(origin: &str, path: KeyPath) -> Result<Self, ConfigError> {
        let origin = origin.to_owned();
        match path.key() {
            Some((key, in_file)) => Ok(Self { origin, path, key, in_file }),
            None => {
                let nearest = path.nearest();
                Err(ConfigError::UnknownKey { origin, key: path.to_string(), nearest })
            }
        }
    }

    /// Refuses a secret where others can read it.
    fn without_secret(self) -> Result<Self, ConfigError> {
        if self.key.kind != Kind::Secret || self.in_file {
            return Ok(self);
        }
        Err(ConfigError::Secret {
            variable: self.path.variable(),
            origin: self.origin,
            key: self.path.to_string(),
        })
    }

    fn wrong_kind(&self) -> ConfigError {
        let expected = match self.key.kind {
            Kind::Text | Kind::Secret => "a text",
            Kind::Flag => "true or false",
            Kind::Count => "a number",
            Kind::Duration => "seconds, or a text such as \"30s\", \"5m\" or \"1h\"",
            Kind::Size => "bytes, or a text such as \"512MiB\"",
            Kind::List => "a list of texts",
        };
        ConfigError::Kind { origin: self.origin.clone(), key: self.path.to_string(), expected }
    }

    /// Reads a variable's or flag's text as the kind of value that the key has.
    fn value_of_text(&self, text: &str) -> Result<Value, ConfigError> {
        Ok(match self.key.kind {
            Kind::Flag => match text {
                "true" | "1" | "yes" | "on" => Value::Boolean(true),
                "false" | "0" | "no" | "off" | "" => Value::Boolean(false),
                _ => return Err(self.wrong_kind()),
            },
            Kind::Count => Value::Integer(text.trim().parse().map_err(|_| self.wrong_kind())?),
            Kind::List => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
            }
            Kind::Text | Kind::Secret | Kind::Duration | Kind::Size => {
                Value::String(text.to_owned())
            }
        })
    }

    fn accepts(&self, value: &Value) -> bool {
        match (self.key.kind, value) {
            (Kind::Text | Kind::Secret, Value::String(_)) | (Kind::Flag, Value::Boolean(_)) => true,
            (Kind::Count | Kind::Duration | Kind::Size, Value::Integer(number)) => *number >= 0,
            (Kind::Duration, Value::String(text)) => super::parse_duration(text).is_some(),
            (Kind::Size, Value::String(text)) => super::parse_size(text).is_some(),
            (Kind::List, Value::Array(items)) => items.iter().all(Value::is_str),
            _ => false,
        }
    }

    /// Puts a value into its place; the file of a secret is read here and its text takes the place.
    fn place(&self, table: &mut Table, value: Value) -> Result<(), ConfigError> {
        if !self.accepts(&value) {
            return Err(self.wrong_kind());
        }
        let (path, value) = match (self.path.without_file().filter(|_| self.in_file), value) {
            (Some(path), Value::String(file)) => {
                let text = read_to_string(Path::new(&file))?;
                (path, Value::String(text.trim_end_matches(['\r', '\n']).to_owned()))
            }
            (_, value) => (self.path.clone(), value),
        };
        let Some((last, parents)) = path.split_last() else { return Ok(()) };
        let mut table = table;
        for parent in parents {
            let entry = table.entry(parent).or_insert_with(|| Value::Table(Table::new()));
            table = entry.as_table_mut().ok_or_else(|| self.wrong_kind())?;
        }
        table.insert(last.clone(), value);
        Ok(())
    }
}

fn read_to_string(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}
