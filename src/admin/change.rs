//! What all changes have in common: who asks and why, whether it is only a rehearsal, and what it must still be like.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::caller::Caller;
use super::guard::only;
use super::problem::Problem;
use super::room::Room;
use crate::config::files::tokens::{GROUPS_MAX, NAME_BYTES_MAX};
use crate::control::By;
use crate::rollout::command::Actor;

/// The longest reason, in bytes: it stands in the state and the audit log.
const REASON_BYTES_MAX: usize = 4 * 1024;

/// A request for a change.
pub(super) struct Change {
    pub(super) caller: Caller,
    /// `?dryRun=true`: only tell what would be done.
    pub(super) is_dry_run: bool,
    /// `If-Match`: the tag that what is changed must still have.
    pub(super) must_match: Option<String>,
}

/// Who asks and why, in their own words.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Words {
    /// Who asks; counts only where nothing else tells, and is marked as unverified.
    pub(super) actor: String,
    /// The groups that they are in; likewise.
    pub(super) groups: Vec<String>,
    /// Why; stands in the audit log.
    pub(super) reason: String,
}

/// The body of a change that has no settings.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Plain {
    /// Who asks; counts only where nothing else tells, and is marked as unverified.
    actor: String,
    /// Why; stands in the audit log.
    reason: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ChangeQuery {
    dry_run: bool,
}

impl Change {
    /// Who is written down for it.
    pub(super) fn actor(&self, words: &Words) -> Result<Actor, Problem> {
        let mut names = words.groups.iter().chain([&words.actor]);
        let is_long = names.any(|name| name.len() > NAME_BYTES_MAX) || words.groups.len() > GROUPS_MAX;
        if is_long || words.reason.len() > REASON_BYTES_MAX {
            let detail = "a name has at most 256 bytes, a reason 4096; there are at most 32 groups";
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
        Ok(self.caller.actor(&words.actor, words.groups.clone()))
    }

    /// Who is written down for it, and why.
    pub(super) fn by(&self, words: &Words) -> Result<By, Problem> {
        Ok(By { actor: self.actor(words)?.name, reason: words.reason.clone() })
    }
}

impl From<Plain> for Words {
    fn from(plain: Plain) -> Words {
        Words { actor: plain.actor, groups: Vec::new(), reason: plain.reason }
    }
}

/// Understands a body; an empty one has no settings.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let body = body.trim_ascii();
    let body = if body.is_empty() { b"{}" } else { body };
    if body[0] != b'{' {
        let detail = "the body is not understood: it is one JSON object, such as {\"reason\": \"..\"}";
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    serde_json::from_slice(body)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("the body is not understood: {error}")))
}

impl FromRequestParts<Room> for Change {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, room: &Room) -> Result<Change, Problem> {
        let caller = Caller::from_request_parts(parts, room).await?;
        let query = Query::<ChangeQuery>::try_from_uri(&parts.uri);
        // a rehearsal that is misspelt must not become the change itself
        let wrong = |_| Problem::new(StatusCode::BAD_REQUEST, "write `?dryRun=true` or leave it out");
        let is_dry_run = query.map_err(wrong)?.dry_run;
        Ok(Change { caller, is_dry_run, must_match: must_match(&parts.headers)? })
    }
}

impl FromRequestParts<Room> for Caller {
    type Rejection = Problem;

    /// Whom the page's own check has let in.
    async fn from_request_parts(parts: &mut Parts, _: &Room) -> Result<Caller, Problem> {
        let nobody = || Problem::new(StatusCode::UNAUTHORIZED, "sign in first");
        parts.extensions.get::<Caller>().cloned().ok_or_else(nobody)
    }
}

/// A tag of `If-Match`, without its quotes; `*` matches whatever is there.
fn must_match(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    if !headers.contains_key(header::IF_MATCH) {
        return Ok(None);
    }
    let given = only(headers, &header::IF_MATCH).map(str::trim);
    if given == Some("*") {
        return Ok(None);
    }
    let tag = given.and_then(|given| given.strip_prefix('"')?.strip_suffix('"'));
    let tag = tag.filter(|tag| !tag.contains('"'));
    tag.map(|tag| Some(tag.to_owned()))
        .ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, "If-Match is one tag in quotes, as the ETag was"))
}
