//! The embedded registry closes the connections of idle and slow clients.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use compass_registry::client::{Client, ClientOptions};
use compass_registry::server::{Server, ServerOptions};
use compass_registry::storage::MemoryStorage;
use compass_registry::{Digest, ImageSource as _, RangeOptions, RetryPolicy, Tag};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const LONG: Duration = Duration::from_mins(1);
const SHORT: Duration = Duration::from_millis(100);

async fn serve(options: ServerOptions) -> Server {
    Server::start(MemoryStorage::default(), "127.0.0.1:0", options).await.unwrap()
}

async fn ask(connection: &mut TcpStream) {
    connection.write_all(b"GET /v2/ HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
}

/// Reads the status line of a response.
async fn answer(connection: &mut TcpStream) -> String {
    let mut answer = vec![0; 1024];
    let count = connection.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..count]).lines().next().unwrap_or_default().to_owned()
}

/// Whether the server closes the connection.
async fn ends(connection: &mut TcpStream) -> bool {
    let mut left = Vec::new();
    timeout(LONG, connection.read_to_end(&mut left)).await.is_ok()
}

#[tokio::test]
async fn idle_connection_is_closed() {
    let server = serve(ServerOptions::default().connection_idle_timeout(SHORT)).await;
    let mut silent = TcpStream::connect(server.host()).await.unwrap();
    assert!(ends(&mut silent).await);

    let mut slow = TcpStream::connect(server.host()).await.unwrap();
    slow.write_all(b"GET /v2/ HTTP/1.1\r\nhost:").await.unwrap();
    assert!(ends(&mut slow).await);

    let mut resting = TcpStream::connect(server.host()).await.unwrap();
    ask(&mut resting).await;
    assert_eq!(answer(&mut resting).await, "HTTP/1.1 200 OK");
    assert!(ends(&mut resting).await);
}

#[tokio::test]
async fn connection_over_limit_waits() {
    let server = serve(ServerOptions::default().max_connections(1)).await;
    let mut first = TcpStream::connect(server.host()).await.unwrap();
    ask(&mut first).await;
    assert_eq!(answer(&mut first).await, "HTTP/1.1 200 OK");

    let mut second = TcpStream::connect(server.host()).await.unwrap();
    ask(&mut second).await;
    assert!(timeout(SHORT, answer(&mut second)).await.is_err());
    drop(first);
    assert_eq!(timeout(LONG, answer(&mut second)).await.unwrap(), "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn full_server_closes_most_idle_connection() {
    let options = ServerOptions::default()
        .max_connections(2)
        .idle_timeout_when_full(SHORT)
        .body_idle_timeout(LONG);
    let server = serve(options).await;
    let mut stalled = Vec::new();
    for _ in 0..5 {
        let mut connection = TcpStream::connect(server.host()).await.unwrap();
        let head = "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nx";
        connection.write_all(head.as_bytes()).await.unwrap();
        stalled.push(connection);
    }
    let mut other = TcpStream::connect(server.host()).await.unwrap();
    ask(&mut other).await;
    assert_eq!(timeout(LONG, answer(&mut other)).await.unwrap(), "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn dropped_server_closes_connections() {
    let server = serve(ServerOptions::default()).await;
    let mut connection = TcpStream::connect(server.host()).await.unwrap();
    connection.write_all(b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nhost: a\r\n").await.unwrap();
    // The server accepts the first connection before it responds on the second one.
    let mut other = TcpStream::connect(server.host()).await.unwrap();
    ask(&mut other).await;
    assert_eq!(answer(&mut other).await, "HTTP/1.1 200 OK");
    drop(server);
    assert!(ends(&mut connection).await);
}

#[tokio::test]
async fn unread_response_connection_is_closed() {
    let (storage, repository) = (MemoryStorage::default(), "a/b".parse().unwrap());
    let blob = storage.add_blob(&repository, vec![0; 32 << 20]);
    let options = ServerOptions::default().max_connections(1).speed_window(SHORT);
    let server = Server::start(storage, "127.0.0.1:0", options).await.unwrap();
    let mut silent = TcpStream::connect(server.host()).await.unwrap();
    let request = format!("GET /v2/a/b/blobs/{blob} HTTP/1.1\r\nhost: a\r\n\r\n");
    silent.write_all(request.as_bytes()).await.unwrap();
    let mut other = TcpStream::connect(server.host()).await.unwrap();
    ask(&mut other).await;
    assert_eq!(timeout(LONG, answer(&mut other)).await.unwrap(), "HTTP/1.1 200 OK");

    let mut again = TcpStream::connect(server.host()).await.unwrap();
    again.write_all(request.as_bytes()).await.unwrap();
    timeout(LONG, server.stop()).await.unwrap();
}

/// A server that sends one blob at a time, with a large and a small blob. Returns their requests.
async fn serve_one_stream(options: ServerOptions) -> (Server, String, String) {
    let (storage, repository) = (MemoryStorage::default(), "a/b".parse().unwrap());
    let requests = [32 << 20, 1].map(|size| {
        let blob = storage.add_blob(&repository, vec![0; size]);
        format!("GET /v2/a/b/blobs/{blob} HTTP/1.1\r\nhost: a\r\n\r\n")
    });
    let options = options.max_streams(1).stream_wait(LONG);
    let [large, small] = requests;
    (Server::start(storage, "127.0.0.1:0", options).await.unwrap(), large, small)
}

#[tokio::test]
async fn slow_reader_loses_its_stream() {
    let options = ServerOptions::default().min_speed(1 << 20).speed_window(SHORT);
    let (server, large, small) = serve_one_stream(options).await;
    let mut slow = TcpStream::connect(server.host()).await.unwrap();
    slow.write_all(large.as_bytes()).await.unwrap();
    assert_eq!(answer(&mut slow).await, "HTTP/1.1 200 OK");
    let reading = tokio::spawn(async move {
        while slow.read_u8().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let mut other = TcpStream::connect(server.host()).await.unwrap();
    other.write_all(small.as_bytes()).await.unwrap();
    assert_eq!(timeout(LONG, answer(&mut other)).await.unwrap(), "HTTP/1.1 200 OK");
    reading.abort();
}

/// Sends a byte from time to time until the server responds or closes the connection.
async fn trickle(mut connection: TcpStream) -> String {
    let mut received = vec![0; 1024];
    loop {
        match timeout(Duration::from_millis(1), connection.read(&mut received)).await {
            Ok(count) => {
                let received = String::from_utf8_lossy(&received[..count.unwrap_or(0)]);
                return received.lines().next().unwrap_or_default().to_owned();
            }
            // The next read returns the reason.
            Err(_) => _ = connection.write_all(b"x").await,
        }
    }
}

#[tokio::test]
async fn slow_headers_do_not_fill_server() {
    let options = ServerOptions::default().max_connections(1).idle_timeout_when_full(SHORT);
    let server = serve(options).await;
    let mut slow = TcpStream::connect(server.host()).await.unwrap();
    slow.write_all(b"GET /v2/ HTTP/1.1\r\nhost: ").await.unwrap();
    let sending = tokio::spawn(trickle(slow));
    let mut other = TcpStream::connect(server.host()).await.unwrap();
    ask(&mut other).await;
    assert_eq!(timeout(LONG, answer(&mut other)).await.unwrap(), "HTTP/1.1 200 OK");
    assert_eq!(timeout(LONG, sending).await.unwrap().unwrap(), "");
}

#[tokio::test]
async fn slow_upload_is_refused() {
    let options = ServerOptions::default().min_speed(1 << 20).speed_window(SHORT);
    let server = serve(options.body_idle_timeout(SHORT)).await;
    let mut slow = TcpStream::connect(server.host()).await.unwrap();
    let path = format!("/v2/a/blobs/uploads/?digest={}", Digest::of(b""));
    let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 999999\r\n\r\n");
    slow.write_all(head.as_bytes()).await.unwrap();
    let answered = timeout(LONG, trickle(slow)).await.unwrap();
    assert_eq!(answered, "HTTP/1.1 408 Request Timeout");
}

#[tokio::test]
async fn paused_upload_is_accepted() {
    let options = ServerOptions::default().speed_window(SHORT).body_idle_timeout(LONG);
    for min_speed in [0, 1 << 20] {
        let server = serve(options.clone().min_speed(min_speed)).await;
        let mut pausing = TcpStream::connect(server.host()).await.unwrap();
        let path = format!("/v2/a/blobs/uploads/?digest={}", Digest::of(b"two"));
        let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nt");
        pausing.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(3 * SHORT).await;
        pausing.write_all(b"wo").await.unwrap();
        assert_eq!(answer(&mut pausing).await, "HTTP/1.1 201 Created", "{min_speed}");
    }
}

#[tokio::test]
async fn maximum_option_values_are_accepted() {
    let options = ServerOptions::default()
        .max_connections(usize::MAX)
        .connection_idle_timeout(Duration::MAX)
        .speed_window(Duration::MAX)
        .upload_idle_timeout(Duration::MAX);
    let server = serve(options).await;
    let retry = RetryPolicy::default()
        .max_attempts(1)
        .initial_backoff(Duration::MAX)
        .max_retry_after(Duration::MAX)
        .idle_timeout(Duration::MAX)
        .commit_timeout(Duration::MAX)
        .connect_retry(Duration::MAX)
        .min_speed(u64::MAX)
        .speed_window(Duration::MAX);
    let parts = RangeOptions::new(u64::MAX, usize::MAX);
    let options = ClientOptions::default().retry(retry).range_options(parts);
    let client = Client::new(&server.host(), options).unwrap();
    client.ping().await.unwrap();
    let (repository, tag): (_, Tag) = ("a/b".parse().unwrap(), "v1".parse().unwrap());
    let missing = client.manifest(&repository, &tag.into()).await;
    assert!(missing.unwrap_err().is_not_found());
}
