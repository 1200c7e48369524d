//! Parts on their way.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use object_store::PutPayload;
use object_store::multipart::MultipartStore as _;
use tokio::task::JoinHandle;

use super::Bucket;
use super::parts::{Part, Upload};
use crate::StorageError;

/// Parts that are sent at a time.
const AT_A_TIME: usize = 2;

/// Parts that are being sent, in order. Sending stops when this is dropped.
#[derive(Default)]
pub(super) struct InFlight(VecDeque<JoinHandle<Result<Part, StorageError>>>);

impl Drop for InFlight {
    fn drop(&mut self) {
        for part in &self.0 {
            part.abort();
        }
    }
}

impl InFlight {
    /// Starts to send a part, once there is room; the parts that made room go to `arrived`.
    pub(super) async fn send(
        &mut self,
        bucket: &Arc<Bucket>,
        upload: &Upload,
        number: u32,
        bytes: Bytes,
        arrived: &mut Vec<Part>,
    ) -> Result<(), StorageError> {
        self.arrive(arrived, AT_A_TIME - 1).await?;
        let (bucket, upload) = (Arc::clone(bucket), upload.clone());
        self.0.push_back(tokio::spawn(put_part(bucket, upload, number, bytes)));
        Ok(())
    }

    /// Waits until no more than `left` parts are on their way.
    pub(super) async fn arrive(
        &mut self,
        arrived: &mut Vec<Part>,
        left: usize,
    ) -> Result<(), StorageError> {
        while self.0.len() > left {
            let Some(first) = self.0.front_mut() else { break };
            let part = first.await;
            self.0.pop_front();
            arrived.push(part.map_err(StorageError::crashed)??);
        }
        Ok(())
    }
}

async fn put_part(
    bucket: Arc<Bucket>,
    upload: Upload,
    number: u32,
    bytes: Bytes,
) -> Result<Part, StorageError> {
    let path = bucket.object(&upload.key)?;
    let size = bytes.len() as u64;
    // The client counts from 0.
    let index = usize::try_from(number - 1).unwrap_or(usize::MAX);
    let put = bucket.s3.put_part(&path, &upload.id, index, PutPayload::from(bytes)).await;
    let part = put
        .map_err(|error| StorageError::remote(&format!("store part {number} of {path}"), error))?;
    Ok(Part { number, e_tag: part.content_id, size })
}
