//! A connection with time limits on progress.
//!
//! The connection fails with [`io::ErrorKind::TimedOut`] if
//! - a request head is not complete `head_timeout` after its first byte (for the first head: after the connection began);
//! - no byte arrives between two requests for `idle_timeout`;
//! - the client accepts no byte of an answer for `write_timeout`.
//!
//! While a request is in progress, there is no limit on the client's silence, because reading the body and handling the
//! request have their own time limits. Error responses of hyper are replaced, see [`super::refusal`].
//!
//! Limits: a client that is slow but keeps reading is not disconnected. A partial head that arrives together with the end
//! of the request before it counts as idle.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::connections::{ConnectionPlace, Phase};
use super::limits::Limits;
use super::refusal;

/// A stream with time limits.
pub(super) struct TimedStream<S> {
    stream: S,
    place: Arc<ConnectionPlace>,
    head_timeout: Duration,
    idle_timeout: Duration,
    write_timeout: Duration,
    read_timer: Pin<Box<Sleep>>,
    /// Set while the client accepts no bytes.
    write_timer: Option<Pin<Box<Sleep>>>,
    /// The unsent rest of the answer that replaces hyper's.
    refusal: Option<Bytes>,
}

impl<S> TimedStream<S> {
    pub(super) fn new(stream: S, place: Arc<ConnectionPlace>, limits: &Limits) -> Self {
        let read_timer = Box::pin(sleep_until(place.phase().1 + limits.head_timeout));
        Self {
            stream,
            place,
            head_timeout: limits.head_timeout,
            idle_timeout: limits.idle_timeout,
            write_timeout: limits.write_timeout,
            read_timer,
            write_timer: None,
            refusal: None,
        }
    }

    /// Pending until the connection's current deadline, and forever while a request is in progress or an answer is being
    /// sent, which has its own deadline.
    fn poll_read_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.write_timer.is_some() {
            return Poll::Pending;
        }
        let deadline = match self.place.phase() {
            (Phase::Serving, _) => return Poll::Pending,
            (Phase::Head, since) => since + self.head_timeout,
            (Phase::Idle, since) => since + self.idle_timeout,
        };
        if self.read_timer.deadline() != deadline {
            self.read_timer.as_mut().reset(deadline);
        }
        self.read_timer.as_mut().poll(cx).map(|()| io::ErrorKind::TimedOut.into())
    }

    /// Returns the result of a write, or an error if it has been pending for too long.
    fn watch_progress(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            if self.write_timer.take().is_some() {
                self.place.bytes_accepted();
            }
            return written;
        }
        let timeout = self.write_timeout;
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + timeout)));
        timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> TimedStream<S> {
    /// Writes our answer instead of `hyper_response`, and reports the latter as written when done.
    fn poll_refuse(&mut self, cx: &mut Context<'_>, hyper_response: &[u8]) -> Poll<io::Result<usize>> {
        while let Some(left) = self.refusal.as_mut().filter(|left| !left.is_empty()) {
            let written = Pin::new(&mut self.stream).poll_write(cx, left);
            let written = match written {
                Poll::Ready(Ok(written)) if written > 0 => written,
                Poll::Ready(Ok(_)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.watch_progress(cx, Poll::Pending),
            };
            left.advance(written);
            self.write_timer = None;
        }
        self.refusal = None;
        Poll::Ready(Ok(hyper_response.len()))
    }

    /// Whether `bytes` have to be replaced: an error response of hyper, written while no request is in progress.
    fn begins_refusal(&mut self, bytes: &[u8]) -> bool {
        if self.refusal.is_none() && self.place.phase().0 != Phase::Serving {
            self.refusal = refusal::replacement(bytes);
        }
        self.refusal.is_some()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(result) => {
                if buf.filled().len() > before {
                    self.place.bytes_arrived();
                }
                Poll::Ready(result)
            }
            Poll::Pending => Poll::Ready(Err(ready!(self.poll_read_deadline(cx)))),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.begins_refusal(buf) {
            return self.poll_refuse(cx, buf);
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch_progress(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [buf] = bufs
            && self.begins_refusal(buf)
        {
            return self.poll_refuse(cx, buf);
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch_progress(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
