//! What tests of services share: the services over a fresh database and store.
//!
//! Owns fixtures that link the product, as `berth-testkit` owns those that do not. Must never be a
//! dependency of the product.
//!
//! Entry points: [`Place`], [`House`], [`on_both_engines!`], [`on_every_store!`].

mod bodies;
mod documents;
mod furnish;
mod house;
mod place;

pub use bodies::{broken, chunks};
pub use documents::{image, image_with, index};
pub use furnish::{Furnish, over};
pub use house::House;
pub use place::{INSTANCE, Place};

/// Runs each test function, which takes whatever is made of a [`Place`], on both engines.
#[macro_export]
macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $crate::over($crate::Place::sqlite().await, super::$name).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $crate::over($crate::Place::postgres().await, super::$name).await;
            })*
        }
    };
}

/// Runs each test function, which takes a [`Place`], on both engines, with a folder of blobs and
/// with a bucket of them.
#[macro_export]
macro_rules! on_every_store {
    ($($name:ident),* $(,)?) => {
        $crate::on_both_engines!($($name),*);
        mod sqlite_and_bucket {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $crate::over($crate::Place::sqlite_and_bucket().await, super::$name).await;
            })*
        }
        mod postgres_and_bucket {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $crate::over($crate::Place::postgres_and_bucket().await, super::$name).await;
            })*
        }
    };
}
