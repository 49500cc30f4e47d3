//! Connections that the server can break on purpose.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// Breaks one connection.
#[derive(Debug, Clone, Default)]
pub(super) struct KillSwitch(Arc<State>);

#[derive(Debug, Default)]
struct State {
    broken: AtomicU8,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

const CLOSED: u8 = 1;
const RESET: u8 = 2;

impl KillSwitch {
    /// Closes the connection, or resets it with `reset`, so that the peer gets an error.
    pub(super) fn kill(&self, reset: bool) {
        self.0.broken.store(if reset { RESET } else { CLOSED }, Ordering::SeqCst);
        self.0.reader.wake();
        self.0.writer.wake();
    }

    fn check(&self, stream: &TcpStream) -> io::Result<()> {
        match self.0.broken.load(Ordering::SeqCst) {
            0 => Ok(()),
            broken => {
                if broken == RESET {
                    // If this fails, the connection is closed instead.
                    let _ = stream.set_zero_linger();
                }
                Err(io::Error::new(io::ErrorKind::ConnectionReset, "broken on purpose"))
            }
        }
    }
}

/// A connection with a kill switch.
pub(super) struct KillableStream {
    stream: TcpStream,
    switch: KillSwitch,
}

impl AsyncRead for KillableStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.switch.0.reader.register(context.waker());
        this.switch.check(&this.stream)?;
        Pin::new(&mut this.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for KillableStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.switch.0.writer.register(context.waker());
        this.switch.check(&this.stream)?;
        Pin::new(&mut this.stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.switch.check(&this.stream)?;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

pub(super) struct KillableListener(pub(super) TcpListener);

impl Listener for KillableListener {
    type Io = KillableStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (KillableStream, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        (KillableStream { stream, switch: KillSwitch::default() }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, KillableListener>> for KillSwitch {
    fn connect_info(stream: IncomingStream<'_, KillableListener>) -> Self {
        stream.io().switch.clone()
    }
}
