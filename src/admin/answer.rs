//! Answers of pages.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// A document.
pub(super) fn answer(value: &Value) -> Response {
    let kind = HeaderValue::from_static("application/json");
    (StatusCode::OK, [(header::CONTENT_TYPE, kind)], format!("{value}\n")).into_response()
}

/// A text as the number that it is, or as a text.
pub(super) fn number_of(text: &str) -> Value {
    let whole = text.parse::<u64>().ok().map(Value::from);
    let number = whole.or_else(|| serde_json::Number::from_f64(text.parse().ok()?).map(Value::from));
    number.unwrap_or_else(|| text.into())
}
