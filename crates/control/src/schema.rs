//! What requests and answers consist of: the part of the operation table that describes itself.

use crate::error::ApiError;
use crate::parameters::Parameters;

/// Whether a field belongs to ACR or is an extension of Berth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Acr,
    Extension,
}

/// The JSON type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Integer,
    Boolean,
    TextList,
    ObjectList,
    Object,
}

/// A parameter of a request or a field of an answer.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    pub name: &'static str,
    pub kind: Kind,
    /// Of a parameter: it must be given. Of an answer: it is always there.
    pub required: bool,
    pub stage: Stage,
    pub doc: &'static str,
    /// The fields of an object, or of the objects of a list.
    pub fields: &'static [Field],
}

/// The parameters of an operation.
pub(crate) trait Request: Sized + Send {
    const FIELDS: &'static [Field];

    /// # Errors
    /// `Missing…` and `Invalid…` name the parameter.
    fn decode(parameters: &Parameters) -> Result<Self, ApiError>;
}

/// Declares the parameters of an operation: one field per parameter, its type saying how it is read.
/// A field whose name begins with `_` is accepted and has no effect here.
macro_rules! request {
    ($(#[$meta:meta])* $name:ident {
        $($(#[doc = $doc:literal])* $field:ident: $type:ty = $stage:ident $wire:literal,)*
    }) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub(crate) struct $name {
            $($(#[doc = $doc])* $field: $type,)*
        }

        impl $crate::schema::Request for $name {
            const FIELDS: &'static [$crate::schema::Field] = &[$($crate::schema::Field {
                name: $wire,
                kind: <$type as $crate::parameters::Parameter>::KIND,
                required: <$type as $crate::parameters::Parameter>::REQUIRED,
                stage: $crate::schema::Stage::$stage,
                doc: concat!($($doc),*),
                fields: &[],
            },)*];

            fn decode(
                parameters: &$crate::parameters::Parameters,
            ) -> Result<Self, $crate::error::ApiError> {
                Ok(Self {
                    $($field: <$type as $crate::parameters::Parameter>::read(parameters, $wire)?,)*
                })
            }
        }
    };
}

/// Declares an answer, or an object within one. Fields that are `None` are left out.
macro_rules! response {
    ($(#[$meta:meta])* $name:ident {
        $($(#[doc = $doc:literal])* $field:ident: $type:ty = $stage:ident $wire:literal,)*
    }) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub(crate) struct $name {
            $($(#[doc = $doc])* pub(crate) $field: $type,)*
        }

        impl $crate::output::Output for $name {
            const KIND: $crate::schema::Kind = $crate::schema::Kind::Object;
            const FIELDS: &'static [$crate::schema::Field] = &[$($crate::schema::Field {
                name: $wire,
                kind: <$type as $crate::output::Output>::KIND,
                required: <$type as $crate::output::Output>::REQUIRED,
                stage: $crate::schema::Stage::$stage,
                doc: concat!($($doc),*),
                fields: <$type as $crate::output::Output>::FIELDS,
            },)*];

            fn output(self) -> Option<serde_json::Value> {
                #[allow(unused_mut, reason = "answers without fields")]
                let mut object = serde_json::Map::new();
                $(if let Some(value) = $crate::output::Output::output(self.$field) {
                    object.insert($wire.to_owned(), value);
                })*
                Some(serde_json::Value::Object(object))
            }
        }
    };
}

pub(crate) use {request, response};
