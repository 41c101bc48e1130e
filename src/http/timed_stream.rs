//! A connection's bytes, with deadlines on progress.
//!
//! Properties, each ending the connection with [`io::ErrorKind::TimedOut`]:
//! - a head that is not whole `head_timeout` after its first byte (for the first head: after the connection);
//! - no byte between two requests for `idle_timeout`;
//! - a client that takes no byte of an answer for `write_timeout`.
//!
//! While a request is in progress nothing limits how long the client may be silent: its body and its handler have
//! deadlines of their own. The refusals that hyper writes by itself are replaced by ours, see [`super::refusal`].
//!
//! Limits: a slow client that takes some bytes now and then is not cut off. A partial head that came in one piece with
//! the request before it counts as idle, not as a head.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::connections::{Phase, Place};
use super::limits::Limits;
use super::refusal;

/// The stream.
pub(super) struct TimedStream<S> {
    stream: S,
    place: Arc<Place>,
    head_timeout: Duration,
    idle_timeout: Duration,
    write_timeout: Duration,
    read_timer: Pin<Box<Sleep>>,
    /// Runs while the client takes no bytes.
    write_timer: Option<Pin<Box<Sleep>>>,
    /// What is left of the answer that takes the place of hyper's.
    refusal: Option<Bytes>,
}

impl<S> TimedStream<S> {
    pub(super) fn new(stream: S, place: Arc<Place>, limits: &Limits) -> Self {
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

    /// Pending until the deadline of what the connection waits for; pending for ever while it serves a request or still
    /// sends an answer, which has a deadline of its own.
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

    /// Passes on what a write gave, unless it has been pending for too long.
    fn watch_progress(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            if self.write_timer.take().is_some() {
                self.place.bytes_taken();
            }
            return written;
        }
        let timeout = self.write_timeout;
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + timeout)));
        timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> TimedStream<S> {
    /// Writes our answer in the place of `hypers`, which is reported as written once ours is.
    fn poll_refuse(&mut self, cx: &mut Context<'_>, hypers: &[u8]) -> Poll<io::Result<usize>> {
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
        Poll::Ready(Ok(hypers.len()))
    }

    /// Whether `bytes` are to be replaced: hyper writes without a request in progress, and it is a refusal.
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
