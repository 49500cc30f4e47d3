//! Simulates a slow link with a proxy.
//! It delays every byte, and limits the rate of connections.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// The properties of a link, for each direction.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    /// The one-way delay.
    pub delay: Duration,
    /// The rate of each connection, in bytes per second.
    pub rate: u32,
}

/// The largest number of bytes that are forwarded together. Smaller chunks would take the processor
/// time that the measured programs need.
const CHUNK: usize = 64 << 10;

/// The maximum number of chunks in flight in one direction.
/// Chunks of 8 KiB, which is a short read, still have the product of rate and delay of the measured
/// links.
const MAX_CHUNKS_IN_FLIGHT: usize = 128;

impl Link {
    /// Forwards connections to `host`, and returns the address to connect to. The proxy
    /// ends with the runtime.
    ///
    /// # Errors
    /// An error of the system if no port is free.
    pub async fn forward_to(self, host: String) -> io::Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let host = host.clone();
                tokio::spawn(async move {
                    // The client sees the closed connection.
                    let _ = self.forward(near, host).await;
                });
            }
        });
        Ok(address)
    }

    async fn forward(self, near: TcpStream, host: String) -> io::Result<()> {
        // The TCP handshake takes one round trip.
        tokio::time::sleep(self.delay * 2).await;
        let far = TcpStream::connect(host).await?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let ((near_read, near_write), (far_read, far_write)) =
            (near.into_split(), far.into_split());
        tokio::spawn(self.forward_one_way(near_read, far_write));
        self.forward_one_way(far_read, near_write).await;
        Ok(())
    }

    async fn forward_one_way(self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(MAX_CHUNKS_IN_FLIGHT);
        let read = async move {
            let mut idle_at = Instant::now();
            loop {
                let mut chunk = vec![0; CHUNK];
                let Ok(length @ 1..) = from.read(&mut chunk).await else { return };
                chunk.truncate(length);
                let bytes = f64::from(u32::try_from(length).unwrap_or(u32::MAX));
                let duration = Duration::from_secs_f64(bytes / f64::from(self.rate));
                idle_at = idle_at.max(Instant::now()) + duration;
                if sender.send((idle_at + self.delay, chunk)).await.is_err() {
                    return;
                }
            }
        };
        let write = async move {
            while let Some((arrival, chunk)) = receiver.recv().await {
                sleep_until(arrival).await;
                if to.write_all(&chunk).await.is_err() {
                    return;
                }
            }
        };
        tokio::join!(read, write);
    }
}
