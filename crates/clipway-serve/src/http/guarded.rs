//! A connection that passes on only whole, checked heads, and gives up on a client that is too slow.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::head::{self, Body, HeadError};
use crate::limits::Limits;

/// Bytes read from the socket at a time while a head is expected.
const PIECE: usize = 4096;

/// Bytes of a body read from the socket at a time.
const BODY_PIECE: usize = 16 << 10;

/// Time for a client to read the last answer and close its side.
const LINGER: Duration = Duration::from_millis(500);

/// What the next bytes are.
enum Expected {
    /// A head; what there is of it is in the buffer, and this many of its bytes were searched.
    Head { searched: usize },
    /// This many bytes of a body.
    Body { left: u64 },
    /// Nothing: the head was refused while the answer to the request before it is under way.
    Refused(HeadError),
    /// Chunks. The connection ends with this request.
    Chunks,
    /// The head was refused; this is what is left of the answer.
    Refusing { answer: Vec<u8>, sent: usize },
}

/// A connection.
pub(super) struct Guarded {
    stream: TcpStream,
    limits: Arc<Limits>,
    /// Bytes that were read and not passed on; all that is before `ready` may be.
    buffer: Vec<u8>,
    ready: usize,
    expected: Expected,
    /// Whether an empty line came before the head. Some clients send one after a body, and one is forgiven (RFC 9112).
    is_late: bool,
    deadline: Pin<Box<Sleep>>,
    write_deadline: Option<Pin<Box<Sleep>>>,
    /// Whether everything that was written was passed on to the system.
    is_flushed: bool,
    /// Who waits to refuse a head until the answer before it is written.
    refuser: Option<Waker>,
    /// Until when the client may read the last answer, once the connection is closed for writing.
    linger: Option<Pin<Box<Sleep>>>,
    /// Whether a request is being answered.
    answering: Arc<AtomicBool>,
}

impl Guarded {
    /// Guards a connection; `answering` is true while a request of it is being answered.
    pub fn new(stream: TcpStream, limits: Arc<Limits>, answering: Arc<AtomicBool>) -> Guarded {
        let deadline = Box::pin(sleep_until(Instant::now() + limits.head_time));
        let expected = Expected::Head { searched: 0 };
        Guarded {
            stream,
            limits,
            buffer: Vec::new(),
            ready: 0,
            expected,
            is_late: false,
            deadline,
            write_deadline: None,
            is_flushed: true,
            refuser: None,
            linger: None,
            answering,
        }
    }

    /// Passes on what is ready; `false` if nothing is.
    fn pass_on(&mut self, out: &mut ReadBuf<'_>) -> bool {
        let count = self.ready.min(out.remaining());
        if count == 0 {
            return false;
        }
        out.put_slice(&self.buffer[..count]);
        self.buffer.drain(..count);
        self.ready -= count;
        true
    }

    /// Looks at the buffer, where a head is expected.
    fn look(&mut self, searched: usize) -> Result<(), HeadError> {
        match &self.buffer[..] {
            b"\r" if !self.is_late => {
                self.expected = Expected::Head { searched: 1 };
                return Ok(());
            }
            [b'\r', b'\n', ..] if !self.is_late => {
                self.buffer.drain(..2);
                self.is_late = true;
                self.expected = Expected::Head { searched: 0 };
                return Ok(());
            }
            _ => {}
        }
        let found = head::end(&self.buffer, searched);
        // What follows the head may be anything.
        let there = found.unwrap_or(self.buffer.len());
        head::check_start(&self.buffer[..there], searched)?;
        let Some(end) = found else {
            if self.buffer.len() >= self.limits.head_bytes {
                return Err(HeadError { status: 431, cause: "the head is over the limit" });
            }
            self.expected = Expected::Head { searched: self.buffer.len() };
            return Ok(());
        };
        if end > self.limits.head_bytes {
            return Err(HeadError { status: 431, cause: "the head is over the limit" });
        }
        // Nothing of a refused head is passed on.
        let body = head::check(&self.buffer[..end])?;
        self.ready = end;
        match body {
            Body::Chunked => {
                self.ready = self.buffer.len();
                self.expected = Expected::Chunks;
            }
            Body::Length(length) => {
                let there = (self.buffer.len() - end) as u64;
                self.ready += there.min(length) as usize;
                self.expected = Expected::Body { left: length.saturating_sub(there) };
            }
        }
        Ok(())
    }

    /// Starts to wait for the next head.
    fn expect_head(&mut self) {
        self.expected = Expected::Head { searched: 0 };
        self.is_late = false;
        self.deadline.as_mut().reset(Instant::now() + self.limits.idle_time);
    }

    /// Starts to send a refusal, as soon as the answer before it is whole.
    fn refuse(&mut self, error: HeadError) {
        self.expected = match self.answering.load(Ordering::SeqCst) || !self.is_flushed {
            true => Expected::Refused(error),
            false => Expected::Refusing { answer: error.answer(), sent: 0 },
        };
    }

    /// Reads more of a head into the buffer.
    fn fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_first = self.buffer.is_empty();
        let mut piece = [0; PIECE];
        let mut read = ReadBuf::new(&mut piece);
        match Pin::new(&mut self.stream).poll_read(context, &mut read)? {
            Poll::Ready(()) if read.filled().is_empty() => {
                Poll::Ready(Err(io::Error::from(io::ErrorKind::UnexpectedEof)))
            }
            Poll::Ready(()) => {
                self.buffer.extend_from_slice(read.filled());
                if is_first {
                    self.deadline.as_mut().reset(Instant::now() + self.limits.head_time);
                }
                Poll::Ready(Ok(()))
            }
            Poll::Pending if self.answering.load(Ordering::SeqCst) => {
                self.deadline.as_mut().reset(Instant::now() + self.limits.idle_time);
                // Nothing else may wake this task when the answer is done.
                let _ = self.deadline.as_mut().poll(context);
                Poll::Pending
            }
            Poll::Pending => {
                ready!(self.deadline.as_mut().poll(context));
                if is_first {
                    return Poll::Ready(Err(io::Error::from(io::ErrorKind::TimedOut)));
                }
                let error = HeadError { status: 408, cause: "the head did not arrive in time" };
                self.refuse(error);
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Closes for writing, and then reads for a moment: closing with unread bytes would destroy the last answer.
    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        }
        let linger = self.linger.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + LINGER)));
        let mut piece = [0; BODY_PIECE];
        loop {
            if linger.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut read = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Polls a write, and fails it if the client takes nothing for too long.
    fn written<T>(&mut self, context: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.write_deadline = None;
            return result;
        }
        let time = self.limits.write_time;
        let deadline =
            self.write_deadline.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + time)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(io::Error::from(io::ErrorKind::TimedOut)))
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if out.remaining() == 0 || this.pass_on(out) {
                return Poll::Ready(Ok(()));
            }
            match &mut this.expected {
                Expected::Head { searched } => {
                    let searched = *searched;
                    if this.buffer.len() > searched {
                        match this.look(searched) {
                            Ok(()) => continue,
                            Err(error) => this.refuse(error),
                        }
                        continue;
                    }
                    match ready!(this.fill(context)) {
                        Ok(()) => {}
                        // The client closed the connection between two requests, or was silent for too long.
                        Err(error) if this.buffer.is_empty() && error.kind() != io::ErrorKind::TimedOut => {
                            return Poll::Ready(Ok(()));
                        }
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                }
                Expected::Refused(_) if this.answering.load(Ordering::SeqCst) || !this.is_flushed => {
                    this.refuser = Some(context.waker().clone());
                    return Poll::Pending;
                }
                Expected::Refused(error) => {
                    let error = error.clone();
                    this.refuse(error);
                }
                Expected::Body { left: 0 } => this.expect_head(),
                Expected::Body { left } => {
                    let most =
                        out.remaining().min(BODY_PIECE).min(usize::try_from(*left).unwrap_or(usize::MAX));
                    let mut read = ReadBuf::new(out.initialize_unfilled_to(most));
                    ready!(Pin::new(&mut this.stream).poll_read(context, &mut read))?;
                    let count = read.filled().len();
                    *left -= count as u64;
                    out.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Expected::Chunks => return Pin::new(&mut this.stream).poll_read(context, out),
                Expected::Refusing { answer, sent } => {
                    while *sent < answer.len() {
                        *sent += ready!(Pin::new(&mut this.stream).poll_write(context, &answer[*sent..]))?;
                    }
                    ready!(this.poll_close(context))?;
                    return Poll::Ready(Err(io::Error::from(io::ErrorKind::InvalidData)));
                }
            }
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.is_flushed = false;
        let result = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.written(context, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.is_flushed = false;
        let result = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.written(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_flush(context);
        this.is_flushed |= result.is_ready();
        // While the answer is computed there is nothing to wake for.
        if this.is_flushed
            && !this.answering.load(Ordering::SeqCst)
            && let Some(refuser) = this.refuser.take()
        {
            refuser.wake();
        }
        this.written(context, result)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_close(context)
    }
}
