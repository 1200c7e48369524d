//! Arguments of statements.
//!
//! PostgreSQL wants the type of every argument, of NULL too: that is why the option is inside. And it
//! knows no NUL character in a text: one that came with a log line or an upstream's words becomes
//! U+FFFD, on both engines. Where a caller sends one, it is refused before it comes here.

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
    &str => Text, |value| storable(value.to_owned());
    String => Text, |value| storable(value);
    &String => Text, |value| storable(value.clone());
    &Digest => Text, |value| value.as_str().to_owned();
    &Tag => Text, |value| value.as_str().to_owned();
    &RepoName => Text, |value| value.as_str().to_owned();
    Vec<u8> => Bytes, |value| value;
    &[u8] => Bytes, |value| value.to_vec();
    &Vec<u8> => Bytes, |value| value.clone();
}

fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

impl From<&Option<String>> for Value {
    fn from(value: &Option<String>) -> Self {
        Self::Text(value.clone().map(storable))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_can_be_stored_on_both_engines() {
        let stored = Value::Text(Some("a\u{fffd}b".to_owned()));
        let text = "a\0b".to_owned();
        assert_eq!(args![text.as_str(), &text, Some(text.clone()), &Some(text)], vec![stored; 4]);
    }
}
