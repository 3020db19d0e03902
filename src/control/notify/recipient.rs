//! Where a notifier's notes go, and in which words.

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use serde_json::Value;
use std::path::Path;

use super::note::{Call, Note};
use super::{alertmanager, pagerduty, slack, webhook};
use crate::config::files::References;
use crate::config::schema::Notifier;
use crate::control::outside::Ask;

/// A notifier with its secrets. Nothing prints it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Recipient {
    pub(crate) name: String,
    kind: Kind,
}

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Slack { url: String },
    Webhook { url: String, secret: Option<Vec<u8>> },
    PagerDuty { url: String, key: String },
    Alertmanager { url: String },
}

impl Recipient {
    /// `None` when one of its files holds no text.
    pub(crate) fn of(notifier: &Notifier, references: &References) -> Option<Recipient> {
        let text = |path: &Path| {
            let secret = references.secret(path)?;
            Some(std::str::from_utf8(secret.expose()).ok()?.trim().to_owned())
        };
        let kind = if let Some(hook) = &notifier.slack {
            Kind::Slack { url: text(&hook.url_file)? }
        } else if let Some(hook) = &notifier.webhook {
            let secret = match &hook.secret_file {
                Some(path) => Some(webhook::key(references.secret(path)?.expose())),
                None => None,
            };
            Kind::Webhook { url: text(&hook.url_file)?, secret }
        } else if let Some(hook) = &notifier.pagerduty {
            let url = match &hook.url_file {
                Some(path) => text(path)?,
                None => pagerduty::URL.to_owned(),
            };
            Kind::PagerDuty { url, key: text(&hook.key_file)? }
        } else {
            Kind::Alertmanager { url: alertmanager::url(&text(&notifier.alertmanager.as_ref()?.url_file)?) }
        };
        Some(Recipient { name: notifier.name.clone(), kind })
    }

    /// False for news, to notifiers that call people.
    pub(crate) fn wants(&self, note: &Note) -> bool {
        match self.kind {
            Kind::Slack { .. } | Kind::Webhook { .. } => true,
            Kind::PagerDuty { .. } | Kind::Alertmanager { .. } => note.call != Call::News,
        }
    }

    /// The request that tells it a note at this moment; `None` when notes like this are not for it.
    pub(crate) fn ask(&self, note: &Note, now_unix_ms: u64) -> Option<Ask> {
        let (url, body, headers) = match &self.kind {
            Kind::Slack { url } => (url, slack::body(note), Vec::new()),
            Kind::PagerDuty { url, key } => (url, pagerduty::body(note, key)?, Vec::new()),
            Kind::Alertmanager { url } => (url, alertmanager::body(note, now_unix_ms)?, Vec::new()),
            Kind::Webhook { url, secret } => {
                let body = webhook::body(note);
                let signed = webhook::headers(note, &body.to_string(), secret.as_deref(), now_unix_ms / 1_000);
                (url, body, signed)
            }
        };
        Some(post(url, &body, headers))
    }
}

fn post(url: &str, body: &Value, mut headers: Vec<(HeaderName, HeaderValue)>) -> Ask {
    headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
    Ask { method: Method::POST, url: url.to_owned(), headers, body: Bytes::from(body.to_string()) }
}
