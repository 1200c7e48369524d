//! What the tests of a crate stand on.

use std::future::Future;

use crate::Place;

/// Made over a fresh place, before a test begins.
pub trait Furnish: Sized {
    fn furnish(place: Place) -> impl Future<Output = Self> + Send;
}

/// A place as it is.
impl Furnish for Place {
    async fn furnish(place: Place) -> Self {
        place
    }
}

/// Runs a test over a place.
pub async fn over<T: Furnish, R: Future<Output = ()>>(place: Place, test: impl FnOnce(T) -> R) {
    test(T::furnish(place).await).await;
}
