//! Reads request bodies into memory.
//!
//! Guaranteed: a body is at most as long as its reader allows, arrives before the deadline, and takes its memory from one
//! budget for the process as it grows. Clients therefore only take memory for bytes that they really send, and all
//! together no more than the budget. Not counted: while a body grows, its old and its new buffer exist side by side for a
//! moment, and hyper has a read buffer for each connection (at most as large as a request head).

use std::ops::Deref;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::StatusCode;
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::errors::HttpError;
use super::limits::Limits;
use super::memory_budget::{MemoryBudget, Reservation};

/// The size of a body's first buffer. Most events fit into it.
const FIRST_BUFFER: usize = 4 << 10;

/// Reads request bodies. Cheap to clone; all clones share one budget.
#[derive(Debug, Clone)]
pub struct BodyReader {
    budget: MemoryBudget,
    timeout: Duration,
}

/// A body in memory. Its memory counts against the budget until this is dropped.
#[derive(Debug)]
pub struct BufferedBody {
    bytes: Bytes,
    _reservation: Reservation,
}

impl Deref for BufferedBody {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

impl BodyReader {
    /// A reader with the time limit and the budget of `limits`.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self { budget: MemoryBudget::new(limits.body_bytes), timeout: limits.body_timeout }
    }

    /// The number of bytes that all bodies in memory take.
    #[must_use]
    pub fn bytes_in_memory(&self) -> usize {
        self.budget.used()
    }

    /// Reads a body of at most `limit` bytes; `too_large` creates the error for a longer one.
    pub async fn read(
        &self,
        body: Body,
        limit: usize,
        too_large: impl FnOnce() -> HttpError,
    ) -> Result<BufferedBody, HttpError> {
        timeout(self.timeout, self.collect(body, limit, too_large)).await.unwrap_or_else(|_elapsed| {
            let message = format!("the body did not arrive within {} s: send it again", self.timeout.as_secs_f64());
            Err(HttpError::new(StatusCode::REQUEST_TIMEOUT, message))
        })
    }

    async fn collect(
        &self,
        mut body: Body,
        limit: usize,
        too_large: impl FnOnce() -> HttpError,
    ) -> Result<BufferedBody, HttpError> {
        let content_length = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
        let max_capacity = content_length.map_or(limit, |length| length.min(limit));
        let (mut collected, mut reservation) = (Vec::new(), self.budget.reserve());
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|_| HttpError::bad_request("the body is incomplete or malformed: send it again"))?;
            let Ok(data) = frame.into_data() else { continue };
            let length = collected.len() + data.len();
            if length > limit {
                return Err(too_large());
            }
            if length > collected.capacity() {
                let capacity = length.max((collected.capacity() * 2).max(FIRST_BUFFER).min(max_capacity));
                reservation.grow_to(capacity).map_err(|_| HttpError::overloaded())?;
                collected.reserve_exact(capacity - collected.len());
            }
            collected.extend_from_slice(&data);
        }
        Ok(BufferedBody { bytes: collected.into(), _reservation: reservation })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::{StreamExt, stream};

    use super::*;

    fn reader(budget: usize) -> BodyReader {
        BodyReader::new(&Limits { body_bytes: budget, ..Limits::default() })
    }

    fn chunks(sizes: &'static [usize]) -> Body {
        Body::from_stream(stream::iter(sizes).map(|&size| Ok::<_, Infallible>(vec![b'x'; size])))
    }

    /// A body that sends `size` bytes and then nothing.
    fn stalled(size: usize) -> Body {
        let first = stream::once(async move { Ok::<_, Infallible>(vec![b'x'; size]) });
        Body::from_stream(first.chain(stream::pending()))
    }

    async fn read(reader: &BodyReader, body: Body, limit: usize) -> Result<usize, StatusCode> {
        let too_large = || HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, "too large");
        reader.read(body, limit, too_large).await.map(|body| body.len()).map_err(|error| error.status())
    }

    #[tokio::test]
    async fn a_body_must_fit_its_limit_and_the_budget() {
        let reader = reader(10_000);
        let table = [
            (chunks(&[]), 10, Ok(0)),
            (chunks(&[4, 6]), 10, Ok(10)),
            (chunks(&[4, 7]), 10, Err(StatusCode::PAYLOAD_TOO_LARGE)),
            (chunks(&[5000, 5000]), 20_000, Ok(10_000)),
            (chunks(&[5000, 5001]), 20_000, Err(StatusCode::SERVICE_UNAVAILABLE)),
            (Body::from(vec![0; 9999]), 20_000, Ok(9999)),
        ];
        for (at, (body, limit, expected)) in table.into_iter().enumerate() {
            assert_eq!(read(&reader, body, limit).await, expected, "row {at}");
            assert_eq!(reader.bytes_in_memory(), 0, "row {at}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_body_times_out_and_returns_its_memory() {
        let reader = reader(10_000);
        let begun = tokio::time::Instant::now();
        assert_eq!(read(&reader, stalled(10), 100).await, Err(StatusCode::REQUEST_TIMEOUT));
        assert_eq!(begun.elapsed().as_secs(), 4);
        assert_eq!(reader.bytes_in_memory(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn hundreds_of_stalled_bodies_take_no_more_than_the_budget() {
        let reader = reader(64 << 10);
        let bodies: Vec<_> = (0..500)
            .map(|_| {
                let reader = reader.clone();
                tokio::spawn(async move { read(&reader, stalled(1000), 1 << 20).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let used = reader.bytes_in_memory();
        assert_eq!(used, 64 << 10, "16 bodies have a first buffer each");
        let mut statuses = Vec::new();
        for body in bodies {
            statuses.push(body.await.unwrap().unwrap_err());
        }
        let count = |status| statuses.iter().filter(|&&there| there == status).count();
        assert_eq!((count(StatusCode::REQUEST_TIMEOUT), count(StatusCode::SERVICE_UNAVAILABLE)), (16, 484));
        assert_eq!(reader.bytes_in_memory(), 0);
    }
}
