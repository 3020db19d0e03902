//! The table of pages: what can be asked, by whom, and what it takes and answers. The router and the OpenAPI document
//! are made of it, so that neither knows a page that the other does not.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use axum::{Extension, Router};
use http_body_util::{BodyExt, Limited};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use std::time::Duration;

use super::caller::{Caller, Peer, authenticate};
use super::guard::only;
use super::problem::Problem;
use super::room::Room;
use super::session::CSRF_HEADER;
use super::stay::Stay;
use crate::config::schema::Role;

/// Where the API begins.
pub(super) const ROOT: &str = "/api/v1";
/// Bytes of a request's body.
pub(super) const BODY_BYTES_MAX: usize = 1 << 20;
/// For a body to arrive.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);
/// For an answer to be found.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// Something that can be asked.
#[derive(Clone)]
pub(super) struct Page {
    pub(super) method: Method,
    /// Below [`ROOT`], with `{names}` for what varies.
    pub(super) path: &'static str,
    pub(super) kind: Kind,
    /// Who may; `None`: everybody who reaches the door.
    pub(super) role: Option<Role>,
    /// One sentence.
    pub(super) summary: &'static str,
    /// Parameters of the query: name, and what it means.
    pub(super) query: &'static [(&'static str, &'static str)],
    pub(super) body: Option<Shape>,
    pub(super) answer: Answer,
    serve: fn() -> MethodRouter<Room>,
}

/// What asking does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    Shows,
    /// Nothing, and the answer has no end.
    Streams,
    /// It changes something: a browser must prove that its page asks, and a read-only door refuses.
    Changes,
    /// It signs in or out.
    Signs,
}

/// What is answered.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    /// A JSON object with this `schema`.
    Named(&'static str),
    /// A JSON object of this shape.
    Shaped(Shape),
    /// Events, one after the other.
    Events,
}

/// The JSON schema of a body.
pub(super) type Shape = fn(&mut SchemaGenerator) -> Schema;

impl Page {
    /// A page that shows something.
    pub(super) fn get(
        path: &'static str,
        role: Role,
        summary: &'static str,
        serve: fn() -> MethodRouter<Room>,
    ) -> Page {
        Page::new(Method::GET, path, Kind::Shows, summary, serve).of(role)
    }

    /// A page whose answer has no end.
    pub(super) fn stream(
        path: &'static str,
        role: Role,
        summary: &'static str,
        serve: fn() -> MethodRouter<Room>,
    ) -> Page {
        let page = Page::new(Method::GET, path, Kind::Streams, summary, serve).of(role);
        Page { answer: Answer::Events, ..page }
    }

    /// A page that is asked with a body, and changes nothing.
    pub(super) fn ask(
        path: &'static str,
        role: Role,
        summary: &'static str,
        serve: fn() -> MethodRouter<Room>,
    ) -> Page {
        Page::new(Method::POST, path, Kind::Shows, summary, serve).of(role)
    }

    /// A page that changes something.
    pub(super) fn change(
        path: &'static str,
        role: Role,
        summary: &'static str,
        serve: fn() -> MethodRouter<Room>,
    ) -> Page {
        Page::new(Method::POST, path, Kind::Changes, summary, serve).of(role)
    }

    /// The page to sign in.
    pub(super) fn sign(path: &'static str, summary: &'static str, serve: fn() -> MethodRouter<Room>) -> Page {
        Page::new(Method::POST, path, Kind::Signs, summary, serve)
    }

    /// The page to sign out.
    pub(super) fn sign_out(path: &'static str, summary: &'static str, serve: fn() -> MethodRouter<Room>) -> Page {
        Page::new(Method::DELETE, path, Kind::Signs, summary, serve).of(Role::Viewer)
    }

    fn new(
        method: Method,
        path: &'static str,
        kind: Kind,
        summary: &'static str,
        serve: fn() -> MethodRouter<Room>,
    ) -> Page {
        let answer = Answer::Named("ringway.problem/v1");
        Page { method, path, kind, role: None, summary, query: &[], body: None, answer, serve }
    }

    fn of(self, role: Role) -> Page {
        Page { role: Some(role), ..self }
    }

    /// The same, for everybody who reaches the door.
    pub(super) fn for_everybody(self) -> Page {
        Page { role: None, ..self }
    }

    /// The same with parameters in the query.
    pub(super) fn with_query(self, query: &'static [(&'static str, &'static str)]) -> Page {
        Page { query, ..self }
    }

    /// The same with a body of this type.
    pub(super) fn takes<T: JsonSchema>(self) -> Page {
        Page { body: Some(|generator| generator.subschema_for::<T>()), ..self }
    }

    /// The same with an answer of this type.
    pub(super) fn answers<T: JsonSchema>(self) -> Page {
        Page { answer: Answer::Shaped(|generator| generator.subschema_for::<T>()), ..self }
    }

    /// The same with an answer of this `schema`, such as `ringway.status/v1`.
    pub(super) fn tells(self, schema: &'static str) -> Page {
        Page { answer: Answer::Named(schema), ..self }
    }
}

/// Every page.
pub(super) fn pages() -> Vec<Page> {
    let all = [
        super::session::pages(),
        super::api::pages(),
        super::rollouts::pages(),
        super::endpoints::pages(),
        super::log_level::pages(),
        super::data::pages(),
        super::drill::pages(),
        super::outcomes::pages(),
        super::simulate::pages(),
        super::openapi::pages(),
    ];
    all.into_iter().flatten().collect()
}

/// The pages, each behind its own check.
pub(super) fn router(room: Room) -> Router {
    let mut router = Router::new();
    for page in pages() {
        let served = (page.serve)();
        let checked = served.layer(middleware::from_fn_with_state((room.clone(), page.clone()), enter));
        router = router.route(&format!("{ROOT}{}", page.path), checked);
    }
    router
        .merge(super::dashboard::router())
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "no such page; /api/v1/openapi.json names them all") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "GET shows and POST changes; see the Allow header")
        })
        .with_state(room)
}

/// Lets in who may, with the body as a whole, so that no page waits for one or reads too much.
async fn enter(
    State((room, page)): State<(Room, Page)>,
    Extension(peer): Extension<Peer>,
    Extension(stay): Extension<Stay>,
    mut request: Request,
    next: Next,
) -> Response {
    // whoever may ask is answered, however many others want the place
    let _asked = match permit(&room, &page, peer, &request) {
        Ok(Some(caller)) => {
            request.extensions_mut().insert(caller);
            Some(stay.ask())
        }
        Ok(None) => None,
        Err(problem) => return closing(problem),
    };
    if page.kind == Kind::Streams && !stay.become_stream(&room.streams) {
        return closing(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many streams; close a page, or come later"));
    }
    let request = match with_body(request).await {
        Ok(request) => request,
        Err(problem) => return closing(problem),
    };
    match tokio::time::timeout(ANSWER_TIME_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(StatusCode::GATEWAY_TIMEOUT, "no answer within 10 s; see the log").into_response(),
    }
}

/// Who asks, if that is to be known, and may.
fn permit(room: &Room, page: &Page, peer: Peer, request: &Request) -> Result<Option<Caller>, Problem> {
    let Some(role) = page.role else { return Ok(None) };
    let caller = authenticate(room, peer, request.headers())?;
    let no = |detail: String| Err(Problem::new(StatusCode::FORBIDDEN, detail));
    if caller.role < role {
        return no(format!("this needs the role {role}, and yours is {}; ask whoever keeps the tokens", caller.role));
    }
    if page.kind == Kind::Changes {
        if room.rules().is_read_only() {
            return no("this door is read-only: `admin.readOnly` of the file".to_owned());
        }
        let given = only(request.headers(), &CSRF_HEADER).unwrap_or_default();
        let is_same = || verify_slices_are_equal(given.as_bytes(), room.sessions.csrf(&caller).as_bytes()).is_ok();
        if caller.is_proven_by_browser() && !is_same() {
            return no(
                "a change from a browser needs the header x-ringway-csrf; GET /api/v1/session tells it".to_owned()
            );
        }
    }
    Ok(Some(caller))
}

/// What is refused may have more bytes underway, which nobody will read.
pub(super) fn closing(problem: Problem) -> Response {
    ([(header::CONNECTION, "close")], problem).into_response()
}

async fn with_body(request: Request) -> Result<Request, Problem> {
    let (parts, body) = request.into_parts();
    let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|bytes| bytes > BODY_BYTES_MAX as u64) {
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "a body has at most 1 MiB"));
    }
    let whole = Limited::new(body, BODY_BYTES_MAX).collect();
    let Ok(collected) = tokio::time::timeout(BODY_TIME_MAX, whole).await else {
        return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body took longer than 10 s"));
    };
    let body = collected.map_err(|error| match error.is::<http_body_util::LengthLimitError>() {
        true => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "a body has at most 1 MiB"),
        false => Problem::new(StatusCode::BAD_REQUEST, "the body broke off"),
    })?;
    Ok(Request::from_parts(parts, Body::from(body.to_bytes())))
}
