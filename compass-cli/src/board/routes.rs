//! The routes of the board, and the headers of its pages.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use jiff::Timestamp;
use maud::Markup;

use super::Board;
use super::language::Language;
use super::pages::{ICON, Page, STYLE};
use super::texts::Texts;

/// The pages have no scripts, and load only their own style and icon.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

pub(super) fn router(board: Board) -> Router {
    Router::new()
        .route("/", get(overview))
        .route("/pull/{number}", get(pull))
        .route("/packages/{kind}", get(packages))
        .route("/style.css", get(async || asset("text/css; charset=utf-8", STYLE)))
        .route("/icon.svg", get(async || asset("image/svg+xml", ICON)))
        .fallback(not_found)
        .with_state(board)
}

async fn overview(State(board): State<Board>, headers: HeaderMap) -> Response {
    board.respond(&headers, |page| Some(page.overview()))
}

async fn pull(
    State(board): State<Board>,
    Path(number): Path<String>,
    headers: HeaderMap,
) -> Response {
    board.respond(&headers, |page| page.pull(number.parse().ok()?))
}

async fn packages(
    State(board): State<Board>,
    Path(kind): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let parameters = uri.query().unwrap_or_default().split('&');
    let number = parameters.into_iter().find_map(|one| one.strip_prefix("page="));
    let number = number.map_or(Some(1), |text| text.parse::<usize>().ok());
    board.respond(&headers, |page| page.packages(&kind, number?.checked_sub(1)?))
}

async fn not_found(State(board): State<Board>, headers: HeaderMap) -> Response {
    board.respond(&headers, |_| None)
}

impl Board {
    /// Renders a page; if there is none, the one for paths that do not exist.
    fn respond(
        &self,
        headers: &HeaderMap,
        render: impl FnOnce(&Page<'_>) -> Option<Markup>,
    ) -> Response {
        let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        let language = Language::preferred(accepted.unwrap_or_default());
        let state = self.state();
        let page = Page {
            texts: Texts::of(language),
            repository: &self.repository,
            state: &state,
            now: Timestamp::now(),
        };
        let (status, html) = match render(&page) {
            Some(html) => (StatusCode::OK, html),
            None => (StatusCode::NOT_FOUND, page.not_found()),
        };
        drop(state);
        let kind = "text/html; charset=utf-8";
        let mut response = with_headers(kind, "no-cache", html.into_string().into());
        *response.status_mut() = status;
        let headers =
            [(header::CONTENT_LANGUAGE, language.tag()), (header::VARY, "accept-language")];
        (headers, response).into_response()
    }
}

fn asset(kind: &'static str, content: &'static str) -> Response {
    with_headers(kind, "max-age=300", content.into())
}

fn with_headers(kind: &'static str, cache: &'static str, body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, cache),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    (headers, body).into_response()
}
