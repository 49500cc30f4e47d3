//! Counts the bytes that a registry sends.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A proxy before a registry. Its threads end with the test program.
pub(crate) struct Traffic {
    pub(crate) host: String,
    received: Arc<AtomicU64>,
}

impl Traffic {
    /// Starts a proxy before a host.
    pub(crate) fn start(registry: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let received = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&received);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(&registry)) else {
                    continue;
                };
                let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let counter = Arc::clone(&counter);
                std::thread::spawn(move || relay(client, server, &AtomicU64::new(0)));
                std::thread::spawn(move || relay(back.0, back.1, &counter));
            }
        });
        Self { host, received }
    }

    /// Returns the bytes since the last call.
    pub(crate) fn take(&self) -> u64 {
        self.received.swap(0, Ordering::Relaxed)
    }
}

fn relay(mut from: TcpStream, mut to: TcpStream, counter: &AtomicU64) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count) = from.read(&mut buffer)
        && count > 0
        && to.write_all(&buffer[..count]).is_ok()
    {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
