//! What a connection does at this moment, and since when: seen from its socket, its requests and its responses.

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, Incoming, SizeHint};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// What a connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// A request's head is to come, or has come in part.
    Head,
    /// Between two requests. The last bytes of a response may still be on their way.
    Idle,
    /// From a request's head to the end of its response.
    Busy,
    /// Likewise, and the client does not read the response.
    Stalled,
}

/// The phase of one connection and its beginning, in one word: the connection's task writes, others read.
#[derive(Debug)]
pub(super) struct Activity {
    began: Instant,
    packed: AtomicU64,
    /// The socket takes no more for now.
    unwritten: AtomicBool,
    /// A request was answered before its body had been read: what comes may be the rest of it.
    unread: AtomicBool,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            packed: AtomicU64::new(Phase::Head as u64),
            unwritten: AtomicBool::new(false),
            unread: AtomicBool::new(false),
        }
    }

    /// Since when there is nothing to do and nothing left of the last request.
    pub(super) fn rests_since(&self) -> Option<Instant> {
        let is_clean = !self.unwritten.load(Ordering::Relaxed) && !self.unread.load(Ordering::Relaxed);
        let (phase, since) = self.now();
        (phase == Phase::Idle && is_clean).then_some(since)
    }

    pub(super) fn now(&self) -> (Phase, Instant) {
        let packed = self.packed.load(Ordering::Relaxed);
        let phase = match packed & 3 {
            0 => Phase::Head,
            1 => Phase::Idle,
            2 => Phase::Busy,
            _ => Phase::Stalled,
        };
        (phase, self.began + std::time::Duration::from_millis(packed >> 2))
    }

    pub(super) fn enter(&self, phase: Phase) {
        let since = self.began.elapsed().as_millis() as u64;
        self.packed.store(since << 2 | phase as u64, Ordering::Relaxed);
    }

    fn enter_from(&self, from: Phase, to: Phase) {
        if self.now().0 == from {
            self.enter(to);
        }
    }
}

/// A socket that notes what it is asked to read and write.
pub(super) struct Watched {
    pub(super) stream: TcpStream,
    /// What was read of it already.
    pub(super) ahead: Bytes,
    pub(super) activity: Arc<Activity>,
}

impl Watched {
    fn note<T>(&self, written: Poll<T>) -> Poll<T> {
        self.activity.unwritten.store(written.is_pending(), Ordering::Relaxed);
        match written {
            Poll::Pending => self.activity.enter_from(Phase::Busy, Phase::Stalled),
            Poll::Ready(_) => self.activity.enter_from(Phase::Stalled, Phase::Busy),
        }
        written
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if !self.ahead.is_empty() {
            let some = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead.split_to(some));
            return Poll::Ready(Ok(()));
        }
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.activity.enter_from(Phase::Idle, Phase::Head);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// A response's body; its connection is idle once it is dropped.
pub(super) struct WatchedBody {
    pub(super) body: Body,
    pub(super) activity: Arc<Activity>,
}

impl Drop for WatchedBody {
    fn drop(&mut self) {
        self.activity.enter(Phase::Idle);
    }
}

impl HttpBody for WatchedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request's body.
pub(super) struct RequestBody {
    body: Incoming,
    is_read: bool,
    activity: Arc<Activity>,
}

impl RequestBody {
    pub(super) fn new(body: Incoming, activity: Arc<Activity>) -> Self {
        Self { body, is_read: false, activity }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if !(self.is_read || self.body.is_end_stream()) {
            self.activity.unread.store(true, Ordering::Relaxed);
        }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.is_read = frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
