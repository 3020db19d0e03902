//! Header edits, redirects and rewrites of the file, compiled.

use http::{HeaderName, StatusCode};

use super::{Result, error, header_name, header_value};
use crate::config::template::{self, Piece};
use crate::config::{Place, schema};
use crate::routing::edit::{Edits, HeaderEdits, Template};
use crate::routing::redirect::{PathEdit, Redirect, Rewrite};

/// The edits of a route, a cohort or a variant.
pub(super) fn edits(
    request: Option<&schema::HeaderEdits>,
    response: Option<&schema::HeaderEdits>,
    place: &Place,
) -> Result<Edits> {
    let compile = |edits: Option<&schema::HeaderEdits>, key: &str| match edits {
        Some(edits) => header_edits(edits, &place.key(key)).map(|edits| Some(Box::new(edits))),
        None => Ok(None),
    };
    Ok(Edits { request: compile(request, "requestHeaders")?, response: compile(response, "responseHeaders")? })
}

fn header_edits(edits: &schema::HeaderEdits, place: &Place) -> Result<HeaderEdits> {
    let lines = |lines: &indexmap::IndexMap<String, String>, key: &str| {
        let line = |(name, text): (&String, &String)| {
            let place = place.key(key).key(name);
            Ok((header_name(name, &place)?, template(text, &place)?))
        };
        lines.iter().map(line).collect::<Result<Box<[(HeaderName, Template)]>>>()
    };
    Ok(HeaderEdits {
        remove: edits.remove.iter().map(|name| header_name(name, &place.key("remove"))).collect::<Result<_>>()?,
        set: lines(&edits.set, "set")?,
        add: lines(&edits.add, "add")?,
    })
}

fn template(text: &str, place: &Place) -> Result<Template> {
    let pieces = template::parse(text).map_err(|problem| error(place, problem))?;
    Ok(match pieces.as_slice() {
        [] => Template::Pieces([].into()),
        [Piece::Text(text)] => Template::Ready(header_value(text, place)?),
        _ => Template::Pieces(pieces.into()),
    })
}

pub(super) fn redirect(redirect: &schema::Redirect, place: &Place) -> Result<Redirect> {
    let status = StatusCode::from_u16(redirect.status.unwrap_or(302)).map_err(|e| error(&place.key("status"), e))?;
    Ok(Redirect {
        status,
        https: redirect.scheme.map(|scheme| scheme == schema::Scheme::Https),
        hostname: redirect.hostname.as_deref().map(Into::into),
        port: redirect.port,
        path: redirect.path.as_ref().map(path_edit),
    })
}

pub(super) fn rewrite(rewrite: &schema::Rewrite, place: &Place) -> Result<Rewrite> {
    let hostname = rewrite.hostname.as_deref().map(|host| header_value(host, &place.key("hostname")));
    Ok(Rewrite { hostname: hostname.transpose()?, path: rewrite.path.as_ref().map(path_edit) })
}

fn path_edit(edit: &schema::PathEdit) -> PathEdit {
    match edit {
        schema::PathEdit::ReplaceFull(path) => PathEdit::Full(path.as_str().into()),
        schema::PathEdit::ReplacePrefix(prefix) => PathEdit::prefix(prefix),
    }
}
