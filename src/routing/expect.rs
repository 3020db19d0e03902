//! The file's own `tests:`: requests with the assignment that they must get.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use std::net::{IpAddr, Ipv4Addr};

use super::explain::{Answer, ImaginedRequest, Refusal, explain};
use super::snapshot::Snapshot;
use crate::config::schema::{File, Test, TestRequest};
use crate::config::{Place, TestFailure};

/// What came of one test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The test's name, or else its request.
    pub name: String,
    /// The expectations that are not met.
    pub failures: Vec<TestFailure>,
}

impl Verdict {
    /// True when every expectation is met.
    pub fn has_passed(&self) -> bool {
        self.failures.is_empty()
    }
}

/// Runs the tests of a file, in its order.
pub fn run_tests(file: &File, snapshot: &Snapshot) -> Vec<Verdict> {
    let run = |(index, test): (usize, &Test)| {
        let place = Place::root().key("tests").index(index);
        Verdict { name: name(test), failures: failures(file, snapshot, test, &place) }
    };
    file.tests.iter().enumerate().map(run).collect()
}

fn name(test: &Test) -> String {
    test.name
        .clone()
        .unwrap_or_else(|| format!("{} {}", test.request.method.as_deref().unwrap_or("GET"), test.request.url))
}

fn failures(file: &File, snapshot: &Snapshot, test: &Test, place: &Place) -> Vec<TestFailure> {
    let failure = |place: Place, message: String| vec![TestFailure { place, message }];
    let request = match imagined(&test.request) {
        Ok(request) => request,
        Err(message) => return failure(place.key("request"), message),
    };
    match explain(file, snapshot, &request).outcome {
        Ok(answer) => unmet(&answer, test, &place.key("expect")),
        Err(Refusal { location: Some(location), .. }) if test.expect.redirect.is_some() => {
            let expected = test.expect.redirect.as_deref().unwrap_or_default();
            if location == expected {
                return Vec::new();
            }
            failure(place.key("expect").key("redirect"), format!("the redirect is to `{location}`, not `{expected}`"))
        }
        Err(Refusal { location: Some(location), .. }) => {
            failure(place.key("request"), format!("the request is redirected to `{location}`; expect `redirect`"))
        }
        Err(Refusal { status, message, location: None }) => {
            failure(place.key("request"), format!("the request is refused with {status}: {message}"))
        }
    }
}

fn imagined(request: &TestRequest) -> Result<ImaginedRequest, String> {
    let method = request.method.as_deref().unwrap_or("GET");
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        let parsed = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value));
        let (Ok(field), Ok(value)) = parsed else { return Err(format!("the header `{name}` cannot be sent")) };
        headers.append(field, value);
    }
    Ok(ImaginedRequest {
        method: Method::from_bytes(method.as_bytes()).map_err(|_| format!("`{method}` is not a method"))?,
        url: request.url.clone(),
        headers,
        peer: request.client_ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        listener: None,
    })
}

fn unmet(answer: &Answer, test: &Test, place: &Place) -> Vec<TestFailure> {
    let mut failures = Vec::new();
    let expect = &test.expect;
    let got = [
        ("route", &expect.route, Some(answer.route.as_str())),
        ("service", &expect.service, Some(answer.service.as_str())),
        ("cohort", &expect.cohort, answer.cohort.as_deref()),
        ("variant", &expect.variant, answer.variant.as_deref()),
        ("reason", &expect.reason, answer.reason.map(|reason| reason.as_str())),
    ];
    if expect.redirect.is_some() {
        let message = format!("the request is not redirected: it gets to the service `{}`", answer.service);
        failures.push(TestFailure { place: place.key("redirect"), message });
    }
    for (field, expected, got) in got {
        let Some(expected) = expected else { continue };
        let message = match got {
            Some(got) if got == expected => continue,
            Some(got) => format!("the {field} is `{got}`, not `{expected}`"),
            None => format!("the {field} is drawn by lot: the request has no user key; give it {}", answer.key_hint),
        };
        failures.push(TestFailure { place: place.key(field), message });
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::super::explain::testing::snapshot_of;
    use super::*;

    const FILE: &str = r#"
listeners: [{ address: 127.0.0.1:8080, trustedProxies: [10.0.0.0/8] }]
services:
  shop:
    hashOn: [{ header: x-user-id }, { cookie: uid }]
    variants:
      stable: { weight: 95, endpoints: ["127.0.0.1:1"] }
      canary: { weight: 5, endpoints: ["127.0.0.1:2"] }
    cohorts:
      - { name: staff, when: { header: { name: x-employee, exact: "1" } }, weights: { canary: 100 } }
      - { name: office, when: { clientIP: [192.0.2.0/24] }, weights: { stable: 100 } }
tests:
"#;

    fn messages(test: &str) -> Vec<String> {
        let (loaded, snapshot) = snapshot_of(&format!("{FILE}  - {test}\n"));
        let verdicts = run_tests(&loaded.file, &snapshot);
        verdicts[0].failures.iter().map(|failure| format!("{}: {}", failure.place, failure.message)).collect()
    }

    #[test]
    fn expectations_that_are_met_say_nothing() {
        for test in [
            "{ request: { url: 'http://a/', headers: { x-employee: '1' } }, expect: { service: shop, cohort: staff, variant: canary, reason: cohort } }",
            "{ request: { url: 'http://a/', clientIP: 192.0.2.9 }, expect: { cohort: office } }",
            "{ request: { url: 'http://a/', clientIP: 10.0.0.1, headers: { x-forwarded-for: 192.0.2.9 } }, expect: { cohort: office } }",
            "{ request: { url: 'http://a/', clientIP: 198.51.100.1, headers: { x-forwarded-for: 192.0.2.9 } }, expect: { cohort: everyone } }",
            "{ request: { url: 'http://a/', headers: { cookie: 'uid=u-1' } }, expect: { reason: split } }",
        ] {
            assert_eq!(messages(test), Vec::<String>::new(), "{test}");
        }
    }

    #[test]
    fn each_expectation_that_is_not_met_is_told_at_its_place() {
        let test = "{ request: { url: 'http://a/', headers: { x-employee: '1' } }, expect: { cohort: everyone, variant: stable, reason: cohort } }";
        let told = messages(test);
        assert_eq!(
            told,
            [
                "tests[0].expect.cohort: the cohort is `staff`, not `everyone`",
                "tests[0].expect.variant: the variant is `canary`, not `stable`",
            ]
        );
    }

    #[test]
    fn a_request_that_is_refused_fails_the_test() {
        let test = "{ request: { url: 'http://a/x%2fy' }, expect: { cohort: staff } }";
        assert_eq!(
            messages(test),
            ["tests[0].request: the request is refused with 400: the path has an encoded slash"]
        );
    }

    #[test]
    fn a_test_that_would_pass_by_luck_fails() {
        let told = messages("{ request: { url: 'http://a/' }, expect: { variant: stable } }");
        assert_eq!(
            told,
            [
                "tests[0].expect.variant: the variant is drawn by lot: the request has no user key; give it the header x-user-id"
            ]
        );
    }
}
