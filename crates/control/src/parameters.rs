//! The parameters of a request, and how types are read from them.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::ApiError;
use crate::schema::Kind;

/// How many parts a flattened name may have; deeper ones are not taken apart.
const MAX_DEPTH: usize = 16;

/// Query and body merged.
#[derive(Debug, Default, Clone)]
pub(crate) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    pub(crate) fn new(parameters: BTreeMap<String, String>) -> Self {
        Self(parameters)
    }

    /// Adds the members of a JSON body, which win: scalars as text, the rest as JSON.
    pub(crate) fn overlay(&mut self, body: Map<String, Value>) {
        for (name, value) in body {
            let text = match value {
                Value::Null => continue,
                Value::String(text) => text,
                other => other.to_string(),
            };
            self.0.insert(name, text);
        }
    }

    /// That every name and value is a text that can be stored.
    ///
    /// # Errors
    /// `Invalid<Parameter>` for the first that holds a NUL character, in JSON too.
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        let nul = |text: &str| text.contains('\0') || has_escaped_nul(text);
        match self.0.iter().find(|(name, value)| nul(name) || nul(value)) {
            Some((name, _)) => {
                let name: String = name.chars().filter(|one| *one != '\0').collect();
                Err(ApiError::invalid(&name, "it holds a NUL character"))
            }
            None => Ok(()),
        }
    }

    /// The value of a parameter, when it is there at all.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The value of a parameter, when it is there and not empty.
    pub(crate) fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// The parameters under `name.`, with the rest of their names, in the order of the names.
    fn under<'a>(&'a self, name: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let prefix = format!("{name}.");
        let start = prefix.clone();
        self.0
            .range(start..)
            .map_while(move |(key, value)| Some((key.strip_prefix(&prefix)?, value.as_str())))
    }

    /// A list: `Name.1`, `Name.2`, …; or a JSON array, or a single value, under the bare name.
    fn list(&self, name: &str) -> Result<Option<Vec<String>>, ApiError> {
        let mut numbered: Vec<(u64, &str)> = self
            .under(name)
            .filter_map(|(rest, value)| Some((rest.parse().ok()?, value)))
            .collect();
        if !numbered.is_empty() {
            numbered.sort_by_key(|(number, _)| *number);
            let values = numbered.into_iter().map(|(_, value)| value.to_owned());
            return Ok(Some(values.collect()));
        }
        let Some(text) = self.filled(name) else { return Ok(None) };
        if !text.trim_start().starts_with('[') {
            return Ok(Some(vec![text.to_owned()]));
        }
        let values: Vec<Value> = serde_json::from_str(text)
            .map_err(|error| ApiError::invalid(name, format!("it is not a JSON array: {error}")))?;
        let texts = values.into_iter().map(|value| match value {
            Value::String(text) => Ok(text),
            Value::Number(number) => Ok(number.to_string()),
            Value::Bool(value) => Ok(value.to_string()),
            _ => Err(ApiError::invalid(name, "its elements must be texts")),
        });
        texts.collect::<Result<_, _>>().map(Some)
    }

    /// An object: JSON under the bare name, or flattened as `Name.Key`, `Name.Key.Key`, ….
    fn object(&self, name: &str) -> Result<Option<Value>, ApiError> {
        if let Some(text) = self.filled(name) {
            let object: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
                ApiError::invalid(name, format!("it is not a JSON object: {error}"))
            })?;
            return Ok(Some(Value::Object(object)));
        }
        let mut root = Map::new();
        for (path, value) in self.under(name) {
            plant(&mut root, path, value);
        }
        Ok((!root.is_empty()).then(|| Value::Object(root)).map(numbered_to_lists))
    }
}

/// Whether the text is JSON with a NUL character in one of its texts.
fn has_escaped_nul(text: &str) -> bool {
    fn within(value: &Value) -> bool {
        match value {
            Value::String(text) => text.contains('\0'),
            Value::Array(values) => values.iter().any(within),
            Value::Object(members) => {
                members.iter().any(|(name, value)| name.contains('\0') || within(value))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }
    text.contains("\\u0000") && serde_json::from_str(text).is_ok_and(|value| within(&value))
}

/// Puts a value where its dotted path says; a path through a value that is no object is dropped.
fn plant(root: &mut Map<String, Value>, path: &str, value: &str) {
    let mut object = root;
    let mut parts = path.splitn(MAX_DEPTH, '.').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            object.insert(part.to_owned(), value.into());
            return;
        }
        let child = object.entry(part).or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(child) = child else { return };
        object = child;
    }
}

/// Objects whose every name is a number are lists that were flattened.
fn numbered_to_lists(value: Value) -> Value {
    let Value::Object(object) = value else { return value };
    let number = |name: &String| name.parse::<u64>().ok();
    if object.is_empty() || object.keys().any(|name| number(name).is_none()) {
        let members = object.into_iter().map(|(name, value)| (name, numbered_to_lists(value)));
        return Value::Object(members.collect());
    }
    let mut elements: Vec<(Option<u64>, Value)> =
        object.into_iter().map(|(name, value)| (number(&name), numbered_to_lists(value))).collect();
    elements.sort_by_key(|(number, _)| *number);
    Value::Array(elements.into_iter().map(|(_, value)| value).collect())
}

/// A type that can be read from a parameter.
pub(crate) trait Parameter: Sized {
    const KIND: Kind;
    const REQUIRED: bool;

    /// # Errors
    /// `Missing…` or `Invalid…` with the name of the parameter.
    fn read(parameters: &Parameters, name: &'static str) -> Result<Self, ApiError>;
}

/// A text that may be empty when it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) String);

/// A value given as JSON or flattened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Json<T>(pub(crate) T);

/// Types with an optional and a required form.
trait Scalar: Sized {
    const KIND: Kind;

    fn scalar(parameters: &Parameters, name: &'static str) -> Result<Option<Self>, ApiError>;
}

impl Scalar for String {
    const KIND: Kind = Kind::Text;

    fn scalar(parameters: &Parameters, name: &'static str) -> Result<Option<Self>, ApiError> {
        Ok(parameters.filled(name).map(str::to_owned))
    }
}

impl Scalar for Text {
    const KIND: Kind = Kind::Text;

    fn scalar(parameters: &Parameters, name: &'static str) -> Result<Option<Self>, ApiError> {
        Ok(parameters.get(name).map(|text| Self(text.to_owned())))
    }
}

impl Scalar for bool {
    const KIND: Kind = Kind::Boolean;

    fn scalar(parameters: &Parameters, name: &'static str) -> Result<Option<Self>, ApiError> {
        match parameters.filled(name) {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(text) => {
                Err(ApiError::invalid(name, format!("`{text}` is neither true nor false")))
            }
        }
    }
}

impl Scalar for i64 {
    const KIND: Kind = Kind::Integer;

    fn scalar(parameters: &Parameters, name: &'static str) -> Result<Option<Self>, ApiError> {
        let Some(text) = parameters.filled(name) else { return Ok(None) };
        let parsed = text.trim().parse();
        parsed.map(Some).map_err(|_| ApiError::invalid(name, format!("`{text}` is not an integer")))
    }
}

impl Scalar for Vec<String> {
    const KIND: Kind = Kind::TextList;

    fn scalar(parameters: &Parameters, name: &'static str) -> Result<Option<Self>, ApiError> {
        parameters.list(name)
    }
}

impl<T: DeserializeOwned> Scalar for Json<T> {
    const KIND: Kind = Kind::Object;

    fn scalar(parameters: &Parameters, name: &'static str) -> Result<Option<Self>, ApiError> {
        let Some(value) = parameters.object(name)? else { return Ok(None) };
        serde_json::from_value(value)
            .map(|value| Some(Self(value)))
            .map_err(|error| ApiError::invalid(name, error.to_string()))
    }
}

/// A scalar that must be given.
impl<T: Scalar> Parameter for T {
    const KIND: Kind = <T as Scalar>::KIND;
    const REQUIRED: bool = true;

    fn read(parameters: &Parameters, name: &'static str) -> Result<Self, ApiError> {
        Self::scalar(parameters, name)?.ok_or_else(|| ApiError::missing(name))
    }
}

/// A scalar that may be left out.
impl<T: Scalar> Parameter for Option<T> {
    const KIND: Kind = T::KIND;
    const REQUIRED: bool = false;

    fn read(parameters: &Parameters, name: &'static str) -> Result<Self, ApiError> {
        T::scalar(parameters, name)
    }
}

#[cfg(test)]
mod tests;
