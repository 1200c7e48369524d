//! Arguments of statements.
//!
//! PostgreSQL wants the type of every argument, of NULL too: that is why the option is inside.

use berth_types::{Digest, RepoName, Tag};

/// One argument of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bool(Option<bool>),
    Bytes(Option<Vec<u8>>),
}

/// The arguments of a statement, in order: `args![id, &digest, now]`.
#[macro_export]
macro_rules! args {
    ($($value:expr),* $(,)?) => {
        ::std::vec![$($crate::Value::from($value)),*]
    };
}

macro_rules! from {
    ($($source:ty => $variant:ident, |$value:ident| $convert:expr;)*) => {
        $(
            impl From<$source> for Value {
                fn from($value: $source) -> Self {
                    Self::$variant(Some($convert))
                }
            }
            impl From<Option<$source>> for Value {
                fn from(value: Option<$source>) -> Self {
                    Self::$variant(value.map(|$value| $convert))
                }
            }
        )*
    };
}

from! {
    i64 => Int, |value| value;
    i32 => Int, |value| i64::from(value);
    u32 => Int, |value| i64::from(value);
    bool => Bool, |value| value;
    &str => Text, |value| value.to_owned();
    String => Text, |value| value;
    &String => Text, |value| value.clone();
    &Digest => Text, |value| value.as_str().to_owned();
    &Tag => Text, |value| value.as_str().to_owned();
    &RepoName => Text, |value| value.as_str().to_owned();
    Vec<u8> => Bytes, |value| value;
    &[u8] => Bytes, |value| value.to_vec();
    &Vec<u8> => Bytes, |value| value.clone();
}

impl From<&Option<String>> for Value {
    fn from(value: &Option<String>) -> Self {
        Self::Text(value.clone())
    }
}

impl From<&Option<Digest>> for Value {
    fn from(value: &Option<Digest>) -> Self {
        value.as_ref().into()
    }
}

impl From<&Option<Tag>> for Value {
    fn from(value: &Option<Tag>) -> Self {
        value.as_ref().into()
    }
}
