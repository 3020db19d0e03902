//! Signing in: a link that counts once, or a token, is exchanged for a cookie that only this door can read.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Extension, Json};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::caller::{Caller, Proof, of_who};
use super::change::read;
use super::channel::IsEncrypted;
use super::guard::only;
use super::pages::Page;
use super::problem::Problem;
use super::room::Room;
use crate::config::files::tokens::{hash_of, new_token};
use crate::config::schema::{Admin, Role};
use crate::control::reachable;

/// The cookie of a session.
pub(super) const COOKIE: &str = "ringway-session";
/// The header that a change needs when a browser proves who asks.
pub(super) const CSRF_HEADER: HeaderName = HeaderName::from_static("x-ringway-csrf");
/// How long a link to sign in counts.
pub const LINK_TIME_MAX: Duration = Duration::from_secs(600);
/// How long a session lasts.
const SESSION_TIME_MAX: Duration = Duration::from_secs(12 * 3600);
/// Links that wait to be used; the oldest goes for a new one.
const LINKS_MAX: usize = 64;
/// Sessions; the oldest goes for a new one.
const SESSIONS_MAX: usize = 256;

/// Links that wait and sessions that last, of one process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sessions {
    open: Arc<Mutex<Open>>,
    /// Of this process alone, for what browsers send with changes.
    key: Arc<str>,
}

/// Whom a link or a session stands for. What they may do is looked up each time: it ends with their token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Somebody of this machine.
    Machine,
    /// A user of this machine.
    User(u32),
    /// The holder of a token, by its hash.
    Token([u8; 32]),
}

/// By the hash of the secret, so that looking one up tells nothing about the others.
#[derive(Debug, Default)]
struct Open {
    links: HashMap<[u8; 32], (Who, Instant)>,
    sessions: HashMap<[u8; 32], (Who, Instant)>,
}

impl Default for Sessions {
    fn default() -> Sessions {
        // without random numbers there are no sessions either, whose secrets are made of them
        Sessions { open: Arc::default(), key: new_token().unwrap_or_default().into() }
    }
}

impl Sessions {
    /// The secret of a link for whoever sits at this machine, to be used once within [`LINK_TIME_MAX`].
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn link(&self) -> Result<String, getrandom::Error> {
        self.link_for(Who::Machine, Instant::now())
    }

    pub(super) fn link_for(&self, who: Who, now: Instant) -> Result<String, getrandom::Error> {
        let secret = new_token()?;
        keep(&mut self.lock().links, LINKS_MAX, &secret, (who, now + LINK_TIME_MAX), now);
        Ok(secret)
    }

    /// Exchanges a link; it does not count again.
    fn take_link(&self, secret: &str, now: Instant) -> Option<Who> {
        let (who, until) = self.lock().links.remove(&hash_of(secret))?;
        (now < until).then_some(who)
    }

    fn begin(&self, who: Who, now: Instant) -> Result<String, getrandom::Error> {
        let secret = new_token()?;
        keep(&mut self.lock().sessions, SESSIONS_MAX, &secret, (who, now + SESSION_TIME_MAX), now);
        Ok(secret)
    }

    /// The hash of a session's secret, and whom it stands for.
    pub(super) fn find(&self, secret: &str) -> Option<([u8; 32], Who)> {
        let hash = hash_of(secret);
        let open = self.lock();
        let (who, until) = open.sessions.get(&hash)?;
        (Instant::now() < *until).then(|| (hash, who.clone()))
    }

    /// What a browser that is signed in must send with a change. A page of another origin cannot read it.
    pub(super) fn csrf(&self, caller: &Caller) -> String {
        let proof = match &caller.proof {
            Proof::Session(hash) => URL_SAFE_NO_PAD.encode(hash),
            Proof::Proxy => caller.name.clone().unwrap_or_default(),
            Proof::Token(_) | Proof::User(_) | Proof::Machine => String::new(),
        };
        URL_SAFE_NO_PAD.encode(hash_of(&format!("ringway csrf {} {proof}", self.key)))
    }

    fn end(&self, hash: &[u8; 32]) {
        self.lock().sessions.remove(hash);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps one more, and at most so many.
fn keep(known: &mut HashMap<[u8; 32], (Who, Instant)>, most: usize, secret: &str, what: (Who, Instant), now: Instant) {
    known.retain(|_, (_, until)| now < *until);
    while known.len() >= most {
        let Some(oldest) = known.iter().min_by_key(|(_, (_, until))| *until).map(|(hash, _)| *hash) else { break };
        known.remove(&oldest);
    }
    known.insert(hash_of(secret), what);
}

pub(super) fn pages() -> Vec<Page> {
    vec![
        Page::get("/session", Role::Viewer, "Who you are, and what you may do.", || get(show)).answers::<Session>(),
        Page::sign("/session", "Sign in with a link's secret, or with a token.", || post(sign_in))
            .takes::<SignIn>()
            .answers::<Session>(),
        Page::sign_out("/session", "Sign out.", || delete(sign_out)).answers::<SignedOut>(),
        Page::ask("/session/link", Role::Viewer, "A link for a browser to sign in as whoever asks, once.", || {
            post(link)
        })
        .answers::<Link>(),
    ]
}

/// Who asks.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Session {
    /// `ringway.session/v1`.
    schema: &'static str,
    /// Their name; `null` when nothing proves one.
    actor: Option<String>,
    role: Role,
    groups: Vec<String>,
    /// Nothing can be changed through this door, whatever the role.
    read_only: bool,
    /// To be sent as `x-ringway-csrf` with changes.
    csrf: String,
    /// The process is `ringway demo`.
    demo: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SignIn {
    /// The secret of a link, or a token.
    secret: String,
}

#[derive(Debug, Serialize, JsonSchema)]
struct SignedOut {
    /// `ringway.signed-out/v1`.
    schema: &'static str,
}

/// A way in.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Link {
    /// `ringway.sign-in-link/v1`.
    schema: &'static str,
    /// To be opened in a browser; `null` when the door is a socket in the file system, which browsers do not open.
    url: Option<String>,
    /// What the URL ends with.
    secret: String,
    expires_seconds: u64,
}

async fn show(State(room): State<Room>, caller: Caller) -> Json<Session> {
    Json(session(&room, caller))
}

fn session(room: &Room, caller: Caller) -> Session {
    Session {
        schema: "ringway.session/v1",
        csrf: room.sessions.csrf(&caller),
        actor: caller.name,
        role: caller.role,
        groups: caller.groups,
        read_only: room.rules().is_read_only(),
        demo: room.is_demo,
    }
}

async fn sign_in(
    State(room): State<Room>,
    Extension(IsEncrypted(is_encrypted)): Extension<IsEncrypted>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let SignIn { secret } = read(&body)?;
    let (now, rules) = (Instant::now(), room.rules());
    let who = room.sessions.take_link(&secret, now).unwrap_or_else(|| Who::Token(hash_of(&secret)));
    let caller = of_who(&rules, &who, Proof::Machine).ok_or_else(|| {
        let detail = "this secret does not count (any more): a link counts once, for ten minutes; type `ringway \
                      dashboard` for another one";
        Problem::new(StatusCode::UNAUTHORIZED, detail)
    })?;
    let begun = room.sessions.begin(who, now).map_err(no_random)?;
    let caller = Caller { proof: Proof::Session(hash_of(&begun)), ..caller };
    // behind a proxy with TLS, the browser's page has an origin with https
    let is_behind_tls = || only(&headers, &header::ORIGIN).is_some_and(|origin| origin.starts_with("https://"));
    let is_tls = is_encrypted || is_behind_tls();
    let cookie = set_cookie(&begun, SESSION_TIME_MAX.as_secs(), is_tls)?;
    Ok(([(header::SET_COOKIE, cookie)], Json(session(&room, caller))).into_response())
}

async fn sign_out(State(room): State<Room>, caller: Caller) -> Result<Response, Problem> {
    if let Proof::Session(hash) = &caller.proof {
        room.sessions.end(hash);
    }
    let cookie = set_cookie("", 0, false)?;
    Ok(([(header::SET_COOKIE, cookie)], Json(SignedOut { schema: "ringway.signed-out/v1" })).into_response())
}

async fn link(State(room): State<Room>, caller: Caller) -> Result<Json<Link>, Problem> {
    let detail = "a browser is signed in already; ask with a token, or over the socket";
    let who = caller.who().ok_or_else(|| Problem::new(StatusCode::FORBIDDEN, detail))?;
    let secret = room.sessions.link_for(who, Instant::now()).map_err(no_random)?;
    let url = room.bound.map(|bound| sign_in_url(bound, room.rules().admin(), &secret));
    let expires_seconds = LINK_TIME_MAX.as_secs();
    Ok(Json(Link { schema: "ringway.sign-in-link/v1", url, secret, expires_seconds }))
}

/// Where a browser signs in. The secret is in the fragment, which no request and no log of one has.
///
/// A door for other machines, or with a certificate, is opened under the first name of the file, if it has one.
pub fn sign_in_url(bound: SocketAddr, admin: Option<&Admin>, secret: &str) -> String {
    let is_tls = admin.is_some_and(|admin| admin.tls.is_some());
    let name = admin.and_then(|admin| admin.hosts.first()).filter(|_| is_tls || !bound.ip().is_loopback());
    let host = name.map_or_else(|| reachable(bound).to_string(), |name| format!("{name}:{}", bound.port()));
    let scheme = if is_tls { "https" } else { "http" };
    format!("{scheme}://{host}/#secret={secret}")
}

fn set_cookie(secret: &str, seconds: u64, is_tls: bool) -> Result<HeaderValue, Problem> {
    let secure = if is_tls { "; Secure" } else { "" };
    let text = format!("{COOKIE}={secret}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    HeaderValue::from_str(&text).map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "a bug in ringway"))
}

fn no_random(_: getrandom::Error) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the system has no random numbers yet; try again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_counts_once_and_not_for_long() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let secret = sessions.link_for(Who::User(7), now).unwrap();
        assert_eq!(sessions.take_link("rw_other", now), None);
        assert_eq!(sessions.take_link(&secret, now), Some(Who::User(7)));
        assert_eq!(sessions.take_link(&secret, now), None, "once");
        let late = sessions.link_for(Who::Machine, now).unwrap();
        assert_eq!(sessions.take_link(&late, now + LINK_TIME_MAX), None);
    }

    #[test]
    fn there_are_never_too_many_and_the_oldest_goes() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let begin = |at: u64| sessions.begin(Who::Machine, now + Duration::from_secs(at)).unwrap();
        let first = begin(0);
        let second = begin(1);
        for at in 2..=SESSIONS_MAX as u64 {
            begin(at);
        }
        assert!(sessions.find(&first).is_none() && sessions.find(&second).is_some());
        let (hash, _) = sessions.find(&second).unwrap();
        sessions.end(&hash);
        assert!(sessions.find(&second).is_none());
    }
}
