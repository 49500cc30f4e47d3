//! A plugin center for tests: the contract of `docs/plugin-center.md`, and its faults.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// How the plugin center answers requests that change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Works,
    /// Answers 500.
    Fails,
    /// Answers 500 once, and works then.
    FailsOnce,
    /// Closes the connection in the middle of an answer.
    HalfAnswer,
    /// Stores the plugin, and loses the answer once.
    LosesAnswer,
    /// Answers 200 without storing the plugin.
    Forgets,
    /// Refuses each request, with the token in the answer.
    EchoesToken,
    /// Refuses each change, with the manifest in one line of the answer.
    EchoesBody,
}

#[derive(Debug)]
struct State {
    behaviour: Behaviour,
    plugins: BTreeMap<String, String>,
    requests: Vec<String>,
    /// The number of answers with secrets.
    echoes: usize,
}

pub(crate) struct PluginCenter {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

pub(crate) const TOKEN: &str = "token-of-the-center";

impl PluginCenter {
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = State { behaviour, plugins: BTreeMap::new(), requests: Vec::new(), echoes: 0 };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || drop(serve(&stream.unwrap(), &shared)));
            }
        });
        Self { url, state }
    }

    /// Returns the manifest of a plugin.
    pub(crate) fn plugin(&self, name: &str) -> Option<String> {
        self.state.lock().unwrap().plugins.get(name).cloned()
    }

    /// Returns the number of answers that contained secrets.
    pub(crate) fn echoes(&self) -> usize {
        self.state.lock().unwrap().echoes
    }

    /// Returns the requests that changed something.
    pub(crate) fn changes(&self) -> Vec<String> {
        let requests = self.state.lock().unwrap().requests.clone();
        requests.into_iter().filter(|request| !request.starts_with("GET")).collect()
    }
}

/// Returns the value of a field in a manifest of the tests.
fn field<'m>(manifest: &'m str, name: &str) -> &'m str {
    let line = manifest.lines().find_map(|line| line.trim().strip_prefix(name)).unwrap();
    line.trim()
}

/// Serves the requests of one connection.
fn serve(stream: &TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let (mut length, mut authorized) = (0, false);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            authorized |= line == format!("authorization: bearer {TOKEN}");
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let request = request.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
        let (status, answer) = match authorized {
            true => answer(&mut state.lock().unwrap(), &request, &String::from_utf8(body).unwrap()),
            false => (401, "who are you?".to_owned()),
        };
        let declared = if status == 0 { answer.len() + 100 } else { answer.len() };
        let status = if status == 0 { 200 } else { status };
        write!(&*stream, "HTTP/1.1 {status} X\r\ncontent-length: {declared}\r\n\r\n{answer}")?;
        if declared != answer.len() {
            return stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// Returns status and body; status 0 means an answer that breaks off.
fn answer(state: &mut State, request: &str, body: &str) -> (u16, String) {
    state.requests.push(request.to_owned());
    let (method, path) = request.split_once(' ').unwrap();
    if state.behaviour == Behaviour::EchoesToken {
        state.echoes += 1;
        return (403, format!("Bearer {TOKEN} may not do this"));
    }
    let name = path.strip_prefix("/plugins").unwrap().trim_start_matches('/');
    if method == "GET" {
        return match state.plugins.get(name) {
            Some(manifest) => (
                200,
                format!(
                    "{{\"name\": \"{name}\", \"version\": \"{}\"}}",
                    field(manifest, "version:")
                ),
            ),
            None => (404, String::new()),
        };
    }
    match state.behaviour {
        Behaviour::Works | Behaviour::LosesAnswer => {}
        Behaviour::Fails => return (500, "the database is down".to_owned()),
        Behaviour::FailsOnce => {
            state.behaviour = Behaviour::Works;
            return (500, "try again".to_owned());
        }
        Behaviour::HalfAnswer => return (0, "{".to_owned()),
        Behaviour::Forgets => return (200, String::new()),
        Behaviour::EchoesToken => unreachable!("refused above"),
        Behaviour::EchoesBody => {
            assert!(body.contains("hunter2"), "{body}");
            state.echoes += 1;
            return (400, format!("invalid: {}", body.lines().rev().collect::<Vec<_>>().join(" ")));
        }
    }
    let name = if name.is_empty() { field(body, "name:") } else { name };
    if method == "POST" && state.plugins.contains_key(name) {
        return (409, "it exists".to_owned());
    }
    state.plugins.insert(name.to_owned(), body.to_owned());
    if state.behaviour == Behaviour::LosesAnswer {
        state.behaviour = Behaviour::Works;
        return (0, "{".to_owned());
    }
    (201, String::new())
}
