use super::trace::{Step, clean};
use crate::model::{BUCKETS, percent};
use crate::routing::assign::Assignment;
use crate::routing::forged::X_RINGWAY_MIRROR;
use crate::routing::snapshot::Service;
use crate::routing::view::RequestView;

/// The step that says whether the mirror gets a copy. `is_drawn`: the variant of this request is drawn by lot.
pub(super) fn step(
    service: &Service,
    view: &RequestView<'_>,
    assignment: &Assignment<'_>,
    is_drawn: bool,
) -> Option<Step> {
    let mirror = service.mirror.as_ref()?;
    let to = &service.variants[mirror.to].name;
    let step = |text: String| Some(Step::new("mirror", text));
    let not = |why: String| Some(Step::new("mirror", format!("no copy to {to}: {why}")).holds(false));
    if view.headers.contains_key(X_RINGWAY_MIRROR) {
        return not("the request is a copy itself".to_owned());
    }
    if !mirror.methods.contains(view.method) {
        return not(format!("{} is none of its methods", clean(view.method.as_str())));
    }
    if !mirror.cohorts.get(assignment.cohort).is_some_and(|taken| *taken) {
        return not(format!("{} is none of its cohorts", service.cohorts[assignment.cohort].name));
    }
    if is_drawn {
        return step(format!("{} are copied to {to}, unless it is the variant that is drawn", share(mirror.share)));
    }
    if assignment.variant == mirror.to {
        return not("it serves the request".to_owned());
    }
    step(format!("{} are copied to {to}, drawn for each one", share(mirror.share)))
}

fn share(share: u32) -> String {
    format!("{} of requests like this", percent(f64::from(share) / f64::from(BUCKETS)))
}

#[cfg(test)]
mod tests {
    use super::super::testing::snapshot_of;
    use super::super::{ImaginedRequest, explain};
    use http::{HeaderMap, Method};

    const FILE: &str = r#"
listeners: [{ address: 127.0.0.1:8080, trustedProxies: [10.0.0.0/8] }]
services:
  shop:
    variants:
      stable: { weight: 100, endpoints: ["127.0.0.1:1"] }
      canary: { weight: 0, endpoints: ["127.0.0.1:2"] }
    cohorts:
      - { name: staff, when: { clientIP: [10.0.0.7/32] }, weights: { canary: 100 } }
      - { name: crawlers, when: { clientIP: [10.0.0.8/32] } }
    mirror: { to: canary, percent: 10, cohorts: [staff, everyone] }
"#;

    #[test]
    fn it_is_told_who_gets_a_copy() {
        let (loaded, snapshot) = snapshot_of(FILE);
        for (method, peer, lines, told) in [
            ("GET", "10.0.0.9", &[][..], "10 % of requests like this are copied to canary, drawn for each one"),
            ("POST", "10.0.0.9", &[], "no copy to canary: POST is none of its methods"),
            ("GET", "10.0.0.7", &[], "no copy to canary: it serves the request"),
            ("GET", "10.0.0.8", &[], "no copy to canary: crawlers is none of its cohorts"),
            ("GET", "10.0.0.9", &[("x-ringway-mirror", "1")], "no copy to canary: the request is a copy itself"),
            ("GET", "192.0.2.1", &[("x-ringway-mirror", "1")], "10 % of requests like this are copied to canary"),
        ] {
            let headers: HeaderMap = lines
                .iter()
                .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
                .collect();
            let (method, peer) = (method.parse::<Method>().unwrap(), peer.parse().unwrap());
            let request = ImaginedRequest { method, url: "http://a/".to_owned(), headers, peer, listener: None };
            let text = explain(&loaded.file, &snapshot, &request).to_text();
            assert!(text.contains(told), "{told}\n{text}");
        }
    }
}
