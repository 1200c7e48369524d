//! How Rust values become fields of answers.

use serde_json::Value;

use crate::schema::{Field, Kind};

/// A value that can be a field of an answer.
pub(crate) trait Output {
    const KIND: Kind;
    const REQUIRED: bool = true;
    const FIELDS: &'static [Field] = &[];

    /// `None` leaves the field out.
    fn output(self) -> Option<Value>;
}

impl Output for String {
    const KIND: Kind = Kind::Text;

    fn output(self) -> Option<Value> {
        Some(self.into())
    }
}

impl Output for &'static str {
    const KIND: Kind = Kind::Text;

    fn output(self) -> Option<Value> {
        Some(self.into())
    }
}

impl Output for i64 {
    const KIND: Kind = Kind::Integer;

    fn output(self) -> Option<Value> {
        Some(self.into())
    }
}

impl Output for bool {
    const KIND: Kind = Kind::Boolean;

    fn output(self) -> Option<Value> {
        Some(self.into())
    }
}

/// A JSON object of no fixed shape.
impl Output for Value {
    const KIND: Kind = Kind::Object;

    fn output(self) -> Option<Value> {
        (!self.is_null()).then_some(self)
    }
}

impl<T: Output> Output for Option<T> {
    const KIND: Kind = T::KIND;
    const REQUIRED: bool = false;
    const FIELDS: &'static [Field] = T::FIELDS;

    fn output(self) -> Option<Value> {
        self.and_then(Output::output)
    }
}

impl<T: Output> Output for Vec<T> {
    const KIND: Kind = match T::KIND {
        Kind::Object => Kind::ObjectList,
        _ => Kind::TextList,
    };
    const FIELDS: &'static [Field] = T::FIELDS;

    fn output(self) -> Option<Value> {
        Some(Value::Array(self.into_iter().filter_map(Output::output).collect()))
    }
}
