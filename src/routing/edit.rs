//! Edits of header fields, with their variables resolved to pieces.

use http::header::{Entry, HeaderMap, HeaderName, HeaderValue};
use std::fmt::Write;
use std::net::IpAddr;

use crate::config::files::Country;
use crate::config::template::{Piece, Variable};

/// The edits of a route, a cohort or a variant, in both directions.
#[derive(Debug, Default)]
pub struct Edits {
    /// Of requests.
    pub request: Option<Box<HeaderEdits>>,
    /// Of answers.
    pub response: Option<Box<HeaderEdits>>,
}

/// Edits of the fields of one message: what is removed, then what is set, then what is added.
#[derive(Debug, Default)]
pub struct HeaderEdits {
    /// These go.
    pub remove: Box<[HeaderName]>,
    /// These have one value.
    pub set: Box<[(HeaderName, Template)]>,
    /// These get one value more.
    pub add: Box<[(HeaderName, Template)]>,
}

/// A value, ready or in pieces.
#[derive(Debug)]
pub enum Template {
    /// The same for every request.
    Ready(HeaderValue),
    /// Put together for each request.
    Pieces(Box<[Piece]>),
}

/// What variables stand for. What is not known is empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Values<'v> {
    /// The service's name.
    pub service: &'v str,
    /// The cohort's name.
    pub cohort: &'v str,
    /// The name of the variant that serves the request.
    pub variant: &'v str,
    /// The user's bucket.
    pub bucket: Option<u32>,
    /// The client's country.
    pub country: Option<Country>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The request's id.
    pub request_id: Option<&'v HeaderValue>,
}

impl Edits {
    /// True when nothing is edited.
    pub fn is_empty(&self) -> bool {
        self.request.is_none() && self.response.is_none()
    }
}

impl HeaderEdits {
    /// Edits the fields of a message.
    pub fn apply(&self, headers: &mut HeaderMap, values: &Values<'_>) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, template) in &self.set {
            match template.value(values) {
                Some(value) => drop(headers.insert(name.clone(), value)),
                None => drop(headers.remove(name)),
            }
        }
        for (name, template) in &self.add {
            if let Some(value) = template.value(values) {
                match headers.entry(name) {
                    Entry::Occupied(mut lines) => lines.append(value),
                    Entry::Vacant(lines) => drop(lines.insert(value)),
                }
            }
        }
    }

    /// True when a value has this variable.
    pub fn uses(&self, variable: Variable) -> bool {
        let templates = self.set.iter().chain(&self.add).map(|(_, template)| template);
        templates.into_iter().any(|template| match template {
            Template::Ready(_) => false,
            Template::Pieces(pieces) => pieces.contains(&Piece::Variable(variable)),
        })
    }
}

impl Template {
    /// The value for one request; `None` when it comes out empty, or needs what is not decided yet.
    pub fn value(&self, values: &Values<'_>) -> Option<HeaderValue> {
        match self {
            Template::Ready(value) => Some(value.clone()),
            Template::Pieces(pieces) => {
                let mut text = String::new();
                for piece in pieces {
                    match piece {
                        // a redirect is answered before they are decided: half a value would mislead
                        Piece::Variable(Variable::Cohort | Variable::Variant | Variable::Bucket)
                            if values.bucket.is_none() =>
                        {
                            return None;
                        }
                        Piece::Text(literal) => text.push_str(literal),
                        Piece::Variable(variable) => values.push(*variable, &mut text),
                    }
                }
                let text = text.trim_ascii();
                // every part is visible ASCII: names of the file, codes, addresses, and ids that were checked
                HeaderValue::from_str(text).ok().filter(|_| !text.is_empty())
            }
        }
    }
}

impl Values<'_> {
    fn push(&self, variable: Variable, text: &mut String) {
        match variable {
            Variable::Service => text.push_str(self.service),
            Variable::Cohort => text.push_str(self.cohort),
            Variable::Variant => text.push_str(self.variant),
            Variable::GeoCountry => text.push_str(self.country.as_ref().map_or("", Country::as_str)),
            Variable::RequestId => text.push_str(self.request_id.and_then(|id| id.to_str().ok()).unwrap_or_default()),
            // writing to a string does not fail
            Variable::Bucket => drop(self.bucket.map(|bucket| write!(text, "{bucket}"))),
            Variable::ClientIp => drop(self.client.map(|client| write!(text, "{client}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::template::parse;
    use crate::routing::forged::testing::headers;

    fn template(text: &str) -> Template {
        Template::Pieces(parse(text).unwrap().into())
    }

    fn lines(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    #[test]
    fn fields_are_removed_then_set_then_added() {
        let mut message = headers(&[("x-a", "1"), ("x-b", "1"), ("x-b", "2"), ("x-c", "1"), ("x-d", "1")]);
        let name = HeaderName::from_static;
        let edits = HeaderEdits {
            remove: [name("x-a"), name("x-none")].into(),
            set: [(name("x-b"), template("${variant}")), (name("x-d"), template("${geo.country}"))].into(),
            add: [(name("x-c"), template("2")), (name("x-e"), template("new"))].into(),
        };
        let mut before = message.clone();
        edits.apply(&mut message, &Values { variant: "canary", bucket: Some(7), ..Values::default() });
        // what comes out empty is not there
        assert_eq!(lines(&message), ["x-b: canary", "x-c: 1", "x-c: 2", "x-e: new"]);
        edits.apply(&mut before, &Values::default());
        assert_eq!(lines(&before), ["x-c: 1", "x-c: 2", "x-e: new"], "nothing is decided yet");
    }

    #[test]
    fn every_variable_has_its_value() {
        let id = HeaderValue::from_static("id-1");
        let values = Values {
            service: "shop",
            cohort: "beta",
            variant: "canary",
            bucket: Some(7),
            country: Country::parse(b"NO"),
            client: "2001:db8::1".parse().ok(),
            request_id: Some(&id),
        };
        for (text, value) in [
            ("${service}/${cohort}/${variant}", Some("shop/beta/canary")),
            ("${bucket}", Some("7")),
            ("${geo.country}", Some("NO")),
            ("${clientIP}", Some("2001:db8::1")),
            ("${requestId}", Some("id-1")),
        ] {
            assert_eq!(template(text).value(&values).as_ref().map(|value| value.to_str().unwrap()), value, "{text}");
        }
        for variable in Variable::ALL {
            assert_eq!(template(&format!("${{{}}}", variable.as_str())).value(&Values::default()), None);
        }
    }
}
