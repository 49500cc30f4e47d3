//! The routes of the interface: credentials, faults, limits, pages and entity tags.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use serde_json::{Value, json};

use super::faults::Fault;
use super::world::World;
use super::{REPOSITORY, reads, writes};

/// The hourly limit of requests.
const LIMIT: u64 = 5000;

type Shared = Arc<Mutex<World>>;

/// The content of an answer.
pub(super) enum Content {
    Json(u16, Value),
    /// A list, which is sent in pages.
    List(Vec<Value>),
    Raw(Vec<u8>),
    Empty(u16),
}

/// A request with its path in parts.
pub(super) struct Call<'c> {
    pub(super) method: &'c str,
    /// The decoded segments below the repository, or of the whole path for other resources.
    pub(super) path: Vec<&'c str>,
    pub(super) query: &'c [(String, String)],
    pub(super) body: &'c Value,
    /// The login of the token; `None` for that of a workflow run.
    pub(super) login: &'c str,
}

impl Call<'_> {
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

pub(super) fn router(world: Shared) -> Router {
    Router::new().fallback(handle).with_state(world)
}

async fn handle(State(world): State<Shared>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
    answer(&mut world, &parts.method, &parts.uri, &parts.headers, &body)
}

fn answer(
    world: &mut World,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &Bytes,
) -> Response<Body> {
    let (method, path) = (method.as_str(), uri.path());
    world.requests.push(format!("{method} {path}"));
    world.interrupt(path, page_of(uri));
    let fault = world.faults.take(method, path);
    if let Some(response) = fault.as_ref().and_then(Fault::instead) {
        return response;
    }
    let authorization = headers.get("authorization").and_then(|value| value.to_str().ok());
    let token = authorization.and_then(|value| value.strip_prefix("Bearer "));
    let login = match token.map(|token| (token, world.tokens.get(token).cloned())) {
        Some((_, Some(login))) => login,
        // A statement that an app signs has three parts.
        Some((token, None)) if token.split('.').count() == 3 => Some("app".to_owned()),
        _ => return json_response(401, &json!({"message": "Bad credentials"})),
    };
    let segments: Vec<String> = path.split('/').skip(1).map(decode).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let query: Vec<(String, String)> = uri.query().map(parse_query).unwrap_or_default();
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let actor = login.as_deref().unwrap_or("github-actions[bot]");
    let mut call = Call { method, path: segments, query: &query, body: &body, login: actor };
    let content = if let ["repos", owner, name, ..] = call.path[..] {
        let full_name = format!("{owner}/{name}");
        if world.former_names.contains(&full_name) {
            return moved(method, path, &full_name);
        }
        call.path.drain(..3);
        route(world, &call, &full_name)
    } else {
        reads::account(world, &call, login.as_deref())
    };
    if method != "GET" {
        world.written.push((Instant::now(), format!("{method} {path}")));
    }
    if fault == Some(Fault::LosesAnswer) {
        return broken();
    }
    respond(world, content, uri, headers, fault == Some(Fault::ForeignPage))
}

fn route(world: &mut World, call: &Call<'_>, full_name: &str) -> Content {
    let is_fork = full_name != REPOSITORY
        && world.pulls.values().any(|pull| pull.head_repository.as_deref() == Some(full_name));
    if full_name != REPOSITORY && !is_fork {
        return not_found();
    }
    match call.method {
        "GET" => reads::read(world, call, full_name),
        _ => writes::write(world, call),
    }
}

pub(super) fn not_found() -> Content {
    Content::Json(404, json!({"message": "Not Found", "status": "404"}))
}

pub(super) fn invalid(message: &str) -> Content {
    let errors = [json!({"resource": "Issue", "code": "custom", "message": message})];
    Content::Json(422, json!({"message": "Validation Failed", "errors": errors}))
}

/// The redirect of a repository that was renamed.
fn moved(method: &str, path: &str, former: &str) -> Response<Body> {
    let status = if method == "GET" { 301 } else { 307 };
    let location = path.replacen(former, REPOSITORY, 1);
    Response::builder().status(status).header("location", location).body(Body::empty()).unwrap()
}

fn respond(
    world: &mut World,
    content: Content,
    uri: &Uri,
    headers: &HeaderMap,
    is_foreign: bool,
) -> Response<Body> {
    let mut link = None;
    let (status, bytes) = match content {
        Content::Empty(status) => (status, Vec::new()),
        Content::Raw(bytes) => (200, bytes),
        Content::Json(status, value) => (status, value.to_string().into_bytes()),
        Content::List(items) => {
            let query = uri.query().map(parse_query).unwrap_or_default();
            let number = |name: &str| {
                query.iter().find(|(key, _)| key == name).and_then(|(_, value)| value.parse().ok())
            };
            let page = page_of(uri);
            let size: usize = number("per_page").unwrap_or(30).min(world.page_size);
            let shown: Vec<&Value> = items.iter().skip((page - 1) * size).take(size).collect();
            if items.len() > page * size {
                let host = if is_foreign { "https://elsewhere.example" } else { &world.url };
                let others = query.iter().filter(|(key, _)| key != "page");
                let others: String =
                    others.map(|(key, value)| format!("{key}={}&", encode(value))).collect();
                let next = format!("{host}{}?{others}page={}", uri.path(), page + 1);
                link = Some(format!("<{next}>; rel=\"next\", <{next}>; rel=\"last\""));
            }
            (200, json!(shown).to_string().into_bytes())
        }
    };
    // The tag does not tell whether there is a next page.
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    let tag = format!("W/\"{:x}\"", hasher.finish());
    let is_known = headers.get("if-none-match").is_some_and(|known| known == tag.as_str());
    let mut response = Response::builder()
        .header("x-ratelimit-limit", LIMIT)
        .header("x-ratelimit-remaining", LIMIT - 1)
        .header("etag", &tag);
    if let Some(link) = link {
        response = response.header("link", link);
    }
    if is_known && status == 200 {
        world.unchanged += 1;
        return response.status(StatusCode::NOT_MODIFIED).body(Body::empty()).unwrap();
    }
    response.status(status).body(Body::from(bytes)).unwrap()
}

/// The number of the page that a request asks for.
fn page_of(uri: &Uri) -> usize {
    let query = uri.query().map(parse_query).unwrap_or_default();
    let page = query.iter().find(|(key, _)| key == "page");
    page.and_then(|(_, value)| value.parse().ok()).unwrap_or(1)
}

fn json_response(status: u16, value: &Value) -> Response<Body> {
    Response::builder().status(status).body(Body::from(value.to_string())).unwrap()
}

/// An answer whose connection breaks.
fn broken() -> Response<Body> {
    let error = Err::<Bytes, _>(std::io::Error::other("the connection breaks"));
    let body = Body::from_stream(futures_util::stream::iter([error]));
    Response::builder().header("content-length", 10).body(body).unwrap()
}

impl Fault {
    /// The answer of a request that is not processed.
    fn instead(&self) -> Option<Response<Body>> {
        let limited = |status: u16, message: &str, headers: &[(&str, String)]| {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(*name, value);
            }
            Some(response.body(Body::from(json!({"message": message}).to_string())).unwrap())
        };
        let secondary = "You have exceeded a secondary rate limit. Please wait a few minutes.";
        match self {
            Self::HourlyLimit(seconds) => {
                let now = jiff::Timestamp::now().as_second();
                let reset = now + i64::try_from(*seconds).unwrap();
                let headers = [
                    ("x-ratelimit-remaining", "0".to_owned()),
                    ("x-ratelimit-reset", reset.to_string()),
                ];
                limited(403, "API rate limit exceeded", &headers)
            }
            Self::SecondaryLimit(Some(seconds)) => {
                limited(403, secondary, &[("retry-after", seconds.to_string())])
            }
            Self::SecondaryLimit(None) => limited(403, secondary, &[]),
            Self::TooManyRequests(seconds) => {
                limited(429, "Too many requests", &[("retry-after", seconds.to_string())])
            }
            Self::NoPermission(permission) => {
                let headers = [("x-accepted-github-permissions", (*permission).to_owned())];
                limited(403, "Resource not accessible by integration", &headers)
            }
            Self::Status(status, message) => limited(*status, message, &[]),
            Self::Breaks => Some(broken()),
            Self::NotJson => Some(Response::new(Body::from("<html>"))),
            Self::LosesAnswer | Self::ForeignPage => None,
        }
    }
}

fn parse_query(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (decode(key), decode(value))).collect()
}

fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, others @ ..] = rest {
        rest = others;
        match (first, others) {
            (b'%', [high, low, after @ ..]) => {
                let hex = String::from_utf8_lossy(&[*high, *low]).into_owned();
                bytes.push(u8::from_str_radix(&hex, 16).unwrap());
                rest = after;
            }
            (b'+', _) => bytes.push(b' '),
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).unwrap()
}
