//! A slow link: a proxy that delays every byte, and lets only so many through a connection.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// What a link is like, in each direction.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    /// How long a byte is on its way.
    pub delay: Duration,
    /// Bytes that pass in a second, on each connection.
    pub rate: u32,
}

/// Bytes that pass together.
const CHUNK: usize = 16 << 10;

/// Chunks that may be on their way: what rate and delay need, and no more than any network buffers.
const ON_THE_WAY: usize = 128;

impl Link {
    /// Passes connections on to another host, and gives the host to connect to. It ends with the
    /// runtime.
    ///
    /// # Errors
    /// Where no port can be had.
    pub async fn to(self, host: String) -> io::Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let host = host.clone();
                tokio::spawn(async move {
                    // Whoever waits for the other end sees the connection closed.
                    let _ = self.pass(near, host).await;
                });
            }
        });
        Ok(address)
    }

    async fn pass(self, near: TcpStream, host: String) -> io::Result<()> {
        // A connection takes the time that its first packets take, there and back.
        tokio::time::sleep(self.delay * 2).await;
        let far = TcpStream::connect(host).await?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let ((near_read, near_write), (far_read, far_write)) =
            (near.into_split(), far.into_split());
        tokio::spawn(self.one_way(near_read, far_write));
        self.one_way(far_read, near_write).await;
        Ok(())
    }

    async fn one_way(self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let (send, mut receive) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_WAY);
        let read = async move {
            let mut free = Instant::now();
            loop {
                let mut chunk = vec![0; CHUNK];
                let Ok(length @ 1..) = from.read(&mut chunk).await else { return };
                chunk.truncate(length);
                let bytes = f64::from(u32::try_from(length).unwrap_or(u32::MAX));
                let took = Duration::from_secs_f64(bytes / f64::from(self.rate));
                free = free.max(Instant::now()) + took;
                if send.send((free + self.delay, chunk)).await.is_err() {
                    return;
                }
            }
        };
        let write = async move {
            while let Some((at, chunk)) = receive.recv().await {
                sleep_until(at).await;
                if to.write_all(&chunk).await.is_err() {
                    return;
                }
            }
        };
        tokio::join!(read, write);
    }
}
