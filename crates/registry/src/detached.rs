//! Work that ends even when its client goes away.

use std::future::Future;

use tracing::Instrument as _;

use crate::error::ApiError;

/// Runs a future to its end whatever becomes of the connection. The server drops the handler of a
/// request whose client is gone; what was received until then must still be written down, so that
/// the upload can be resumed where the client believes it is.
pub(crate) async fn detached<T, F>(work: F) -> Result<T, ApiError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ApiError>> + Send + 'static,
{
    match tokio::spawn(work.in_current_span()).await {
        Ok(result) => result,
        Err(error) => Err(ApiError::internal(&error)),
    }
}
