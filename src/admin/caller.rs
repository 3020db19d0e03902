//! Who asks, by what proves it: a token, a session, a proxy's word, the user of the socket's other end, or nothing but
//! being on this machine.

use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use std::net::IpAddr;

use super::guard::{is_browser, only};
use super::problem::Problem;
use super::room::{Room, Rules};
use super::session::{COOKIE, Who};
use crate::config::files::tokens::{GROUPS_MAX, NAME_BYTES_MAX, hash_of};
use crate::config::schema::Role;
use crate::rollout::command::Actor;

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// An address.
    Tcp(IpAddr),
    /// A user of this machine, on a socket in the file system; `None` when the system does not say who.
    Unix(Option<u32>),
}

/// Somebody who may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// Who that is, if anything proves a name.
    pub(super) name: Option<String>,
    /// What they may do.
    pub(super) role: Role,
    /// The groups that they are in, as far as that is proven.
    pub(super) groups: Vec<String>,
    /// What proves it.
    pub(super) proof: Proof,
}

/// What proves who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// A token, by its hash.
    Token([u8; 32]),
    /// A session, by the hash of its secret. The browser sends it by itself.
    Session([u8; 32]),
    /// The word of a proxy, which the browser causes by itself.
    Proxy,
    /// The user at the other end of a socket.
    User(u32),
    /// It is on this machine.
    Machine,
}

const BEARER: &str = "bearer ";
/// A proxy has touched the request: it is not somebody of this machine, whatever the address says.
const PROXIED: [HeaderName; 3] = [HeaderName::from_static("x-forwarded-for"), header::FORWARDED, header::VIA];

/// Who asks.
///
/// # Errors
/// Nobody who may: 401, with what to do.
pub(super) fn authenticate(room: &Room, peer: Peer, headers: &HeaderMap) -> Result<Caller, Problem> {
    let rules = room.rules();
    if headers.contains_key(header::AUTHORIZATION) {
        return of_token(&rules, headers);
    }
    if let Some(caller) = of_cookies(room, &rules, headers) {
        return Ok(caller);
    }
    if let Some(caller) = of_proxy(&rules, peer, headers)? {
        return Ok(caller);
    }
    match peer {
        Peer::Unix(Some(user)) if user == 0 || user == rustix::process::geteuid().as_raw() => Ok(of_user(user)),
        Peer::Tcp(ip) if ip.is_loopback() && rules.trusts_this_machine() => {
            if is_browser(headers) || PROXIED.iter().any(|name| headers.contains_key(name)) {
                return Err(unknown("sign in with the link of the start, or type `ringway dashboard` for another one"));
            }
            Ok(of_machine())
        }
        _ => Err(unknown("this needs a token: `Authorization: Bearer ..`; `ringway token admin` makes one")),
    }
}

/// Whoever a session or a link stands for, if the files in force still know them.
pub(super) fn of_who(rules: &Rules, who: &Who, proof: Proof) -> Option<Caller> {
    match who {
        Who::Machine => rules.trusts_this_machine().then(|| Caller { proof, ..of_machine() }),
        Who::User(user) => Some(Caller { proof, ..of_user(*user) }),
        Who::Token(hash) => {
            let known = rules.0.references.tokens()?.of_hash(hash)?;
            Some(Caller { name: Some(known.name.clone()), role: known.role, groups: known.groups.clone(), proof })
        }
    }
}

impl Caller {
    /// Who is written down for a change. What somebody says of themselves counts only where nothing proves more, and is
    /// marked.
    pub(super) fn actor(&self, said: &str, groups: Vec<String>) -> Actor {
        match (&self.name, &self.proof) {
            (None, _) if said.is_empty() => Actor { name: "somebody".to_owned(), groups },
            (None, _) => Actor { name: format!("{said} (unverified)"), groups },
            (Some(name), Proof::User(_)) if !said.is_empty() && said != name => {
                Actor { name: format!("{said} (unverified, as {name})"), groups }
            }
            (Some(name), Proof::User(_)) => Actor { name: name.clone(), groups },
            (Some(name), _) => Actor { name: name.clone(), groups: self.groups.clone() },
        }
    }

    /// True when a browser proves it without being asked, so that a change needs more.
    pub(super) fn is_proven_by_browser(&self) -> bool {
        matches!(self.proof, Proof::Session(_) | Proof::Proxy)
    }

    /// Whom a link to sign in stands for; `None` when they have no right to give one away.
    pub(super) fn who(&self) -> Option<Who> {
        match self.proof {
            Proof::Token(hash) => Some(Who::Token(hash)),
            Proof::User(user) => Some(Who::User(user)),
            Proof::Machine => Some(Who::Machine),
            Proof::Session(_) | Proof::Proxy => None,
        }
    }
}

fn of_token(rules: &Rules, headers: &HeaderMap) -> Result<Caller, Problem> {
    let given = only(headers, &header::AUTHORIZATION);
    let bearer = given.and_then(|given| given.split_at_checked(BEARER.len()));
    let token = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(BEARER)).map(|(_, token)| token.trim());
    let token = token.ok_or_else(|| unknown("write `Authorization: Bearer TOKEN`, once"))?;
    let hash = hash_of(token);
    let wrong = "the token is not one of `admin.tokensFile`; was it removed, or is the file not loaded yet?";
    of_who(rules, &Who::Token(hash), Proof::Token(hash)).ok_or_else(|| unknown(wrong))
}

/// A cookie of another process, or of a session that is over, counts as none.
fn of_cookies(room: &Room, rules: &Rules, headers: &HeaderMap) -> Option<Caller> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut secrets = pairs.filter(|(name, _)| *name == COOKIE).map(|(_, secret)| secret.trim());
    secrets.find_map(|secret| {
        let (hash, who) = room.sessions.find(secret)?;
        of_who(rules, &who, Proof::Session(hash))
    })
}

fn of_proxy(rules: &Rules, peer: Peer, headers: &HeaderMap) -> Result<Option<Caller>, Problem> {
    let Some(sso) = rules.admin().and_then(|admin| admin.sso.as_ref()) else { return Ok(None) };
    let Peer::Tcp(ip) = peer else { return Ok(None) };
    let Ok(user_header) = HeaderName::from_bytes(sso.user_header.as_bytes()) else { return Ok(None) };
    if !headers.contains_key(&user_header) || !sso.from.iter().any(|net| net.contains(&ip)) {
        return Ok(None);
    }
    let named = only(headers, &user_header).map(str::trim);
    let is_name = |name: &&str| !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.contains(char::is_control);
    let name = named.filter(is_name).ok_or_else(|| unknown("the proxy tells no name, or more than one"))?;
    let groups_header = sso.groups_header.as_ref().and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok());
    let lines = groups_header.iter().flat_map(|name| headers.get_all(name)).filter_map(|line| line.to_str().ok());
    let groups = lines.flat_map(|line| line.split(',')).map(str::trim).filter(|group| is_name(group));
    let groups: Vec<String> = groups.take(GROUPS_MAX).map(str::to_owned).collect();
    let Some(role) = rules.role_of_groups(&groups) else {
        let detail = format!("{name} is in no group that has a role; see `admin.sso.roles` of the file");
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    };
    Ok(Some(Caller { name: Some(name.to_owned()), role, groups, proof: Proof::Proxy }))
}

fn of_user(user: u32) -> Caller {
    let name = if user == 0 { "root".to_owned() } else { format!("uid {user}") };
    Caller { name: Some(name), role: Role::Admin, groups: Vec::new(), proof: Proof::User(user) }
}

fn of_machine() -> Caller {
    Caller { name: None, role: Role::Admin, groups: Vec::new(), proof: Proof::Machine }
}

fn unknown(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, detail)
}
