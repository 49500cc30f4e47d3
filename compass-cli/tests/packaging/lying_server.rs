//! A web server that lies.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A lie of answers with more than [`SMALL`] bytes, except for that about digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    Nothing,
    /// A byte in the middle is altered.
    WrongByte,
    /// `Content-Length` is less than the length of the body, which it cuts off.
    ShortLength,
    /// `Content-Length` is more than the length of the body.
    LongLength,
    /// The body has no end.
    Endless,
    /// The whole file is sent instead of a range.
    IgnoredRange,
    /// `Docker-Content-Digest` is that of other content.
    WrongDigest,
}

const SMALL: usize = 300;

/// A running server. It serves files in memory until the process ends.
#[derive(Clone)]
pub(crate) struct LyingServer {
    pub(crate) host: String,
    state: Arc<Mutex<State>>,
}

struct State {
    files: HashMap<String, (Vec<u8>, String)>,
    lie: Lie,
}

/// The parts of a request that are used.
struct Request {
    is_head: bool,
    path: String,
    range: Option<(usize, usize)>,
}

impl LyingServer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let state = State { files: HashMap::new(), lie: Lie::Nothing };
        let server = Self { host, state: Arc::new(Mutex::new(state)) };
        let own = server.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let own = own.clone();
                // The client may end the connection at any time.
                std::thread::spawn(move || own.answer(&socket?));
            }
        });
        server
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds or replaces a file. The headers end with line breaks.
    pub(crate) fn put(&self, path: &str, bytes: &[u8], headers: &str) {
        self.state().files.insert(path.to_owned(), (bytes.to_vec(), headers.to_owned()));
    }

    /// Tells a lie from now on.
    pub(crate) fn tell(&self, lie: Lie) {
        self.state().lie = lie;
    }

    fn answer(&self, mut socket: &TcpStream) -> std::io::Result<()> {
        let request = read_request(socket)?;
        let (found, lie) = {
            let state = self.state();
            (state.files.get(&request.path).cloned(), state.lie)
        };
        let Some((file, mut headers)) = found else {
            let head = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            return socket.write_all(head.as_bytes());
        };
        let range = request.range.filter(|_| lie != Lie::IgnoredRange);
        let (status, mut body) = match range {
            Some((start, end)) => {
                let end = end.min(file.len() - 1);
                headers += &format!("content-range: bytes {start}-{end}/{}\r\n", file.len());
                ("206 Partial Content", file[start..=end].to_vec())
            }
            None => ("200 OK", file),
        };
        if lie == Lie::WrongDigest && headers.contains("docker-content-digest: ") {
            let other = "docker-content-digest: sha256:0000000000000000";
            let start = headers.find("docker-content-digest: ").unwrap();
            headers.replace_range(start..start + other.len(), other);
        }
        let lie = if body.len() > SMALL { lie } else { Lie::Nothing };
        let length = match lie {
            Lie::ShortLength => body.len() - 7,
            Lie::LongLength => body.len() + 7,
            _ => body.len(),
        };
        let length = match lie {
            Lie::Endless if !request.is_head => "transfer-encoding: chunked".to_owned(),
            _ => format!("content-length: {length}"),
        };
        let head = format!("HTTP/1.1 {status}\r\n{headers}{length}\r\nconnection: close\r\n\r\n");
        socket.write_all(head.as_bytes())?;
        if request.is_head {
            return Ok(());
        }
        match lie {
            Lie::WrongByte => {
                let middle = body.len() / 2;
                body[middle] ^= 1;
            }
            Lie::ShortLength => body.truncate(body.len() - 7),
            Lie::Endless => loop {
                write!(socket, "{:x}\r\n", body.len())?;
                socket.write_all(&body)?;
                socket.write_all(b"\r\n")?;
            },
            _ => {}
        }
        socket.write_all(&body)
    }
}

fn read_request(socket: &TcpStream) -> std::io::Result<Request> {
    let mut request = Request { is_head: false, path: String::new(), range: None };
    for line in BufReader::new(socket).lines() {
        let line = line?;
        if request.path.is_empty() {
            let mut words = line.split(' ');
            request.is_head = words.next() == Some("HEAD");
            words.next().unwrap_or_default().clone_into(&mut request.path);
        }
        let line = line.to_ascii_lowercase();
        if let Some(range) = line.strip_prefix("range: bytes=") {
            let (start, end) = range.split_once('-').unwrap();
            request.range = Some((start.parse().unwrap(), end.parse().unwrap_or(usize::MAX)));
        }
        if line.is_empty() {
            break;
        }
    }
    Ok(request)
}
