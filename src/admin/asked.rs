//! What the address of a request says, with a problem of ours when it is not understood.

use super::problem::Problem;
use axum::extract::{FromRequestParts, Path as PathOf, Query as QueryOf};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

/// The settings behind the `?`.
pub(super) struct Query<T>(pub(super) T);

/// The names in the path.
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Query<T>, Problem> {
        match QueryOf::try_from_uri(&parts.uri) {
            Ok(QueryOf(query)) => Ok(Query(query)),
            Err(error) => Err(not_understood("the query", &error.body_text())),
        }
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Path<T>, Problem> {
        match PathOf::from_request_parts(parts, state).await {
            Ok(PathOf(names)) => Ok(Path(names)),
            Err(error) => Err(not_understood("the path", &error.body_text())),
        }
    }
}

/// The library's words begin with what it tried.
fn not_understood(what: &str, error: &str) -> Problem {
    let why = error.split_once(": ").map_or(error, |(_, why)| why);
    Problem::new(StatusCode::BAD_REQUEST, format!("{what} is not understood: {why}"))
}
