//! A stream from which only so many bytes can be read in all: no server can fill our memory.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub struct Limited<S> {
    inner: S,
    /// Bytes that may still be read.
    left: usize,
}

/// The error when more comes.
#[derive(Debug)]
pub struct TooMuch;

impl fmt::Display for TooMuch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it sends more than a server has to say")
    }
}

impl std::error::Error for TooMuch {}

impl<S> Limited<S> {
    pub fn new(inner: S, bytes: usize) -> Self {
        Self { inner, left: bytes }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Limited<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::Error::other(TooMuch)));
        }
        let mut part = [0; 4096];
        let room = part.len().min(self.left).min(buf.remaining());
        let mut part = ReadBuf::new(&mut part[..room]);
        ready!(Pin::new(&mut self.inner).poll_read(context, &mut part))?;
        self.left -= part.filled().len();
        buf.put_slice(part.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Limited<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[test]
    fn what_is_within_the_limit_arrives_and_not_one_byte_more() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let bytes = vec![b'x'; 10_000];
            let mut read = Vec::new();
            Limited::new(&bytes[..], 10_001).read_to_end(&mut read).await.expect("all of it");
            assert_eq!(read, bytes);
            read.clear();
            let error = Limited::new(&bytes[..], 9_000).read_to_end(&mut read).await.expect_err("too much");
            assert!(error.get_ref().is_some_and(|error| error.is::<TooMuch>()), "{error}");
            assert_eq!(read.len(), 9_000);
        });
    }
}
