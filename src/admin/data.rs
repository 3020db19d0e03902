//! The pages that show what goes on, in one place.

use super::api::answer;
use super::pages::Page;
use super::{configs, events, explain, series, services, stream, tap};
use crate::config::schema::Role;
use crate::control::Handle;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};

const SERVICE: (&str, &str) = ("service", "the service");
const COHORT: (&str, &str) = ("cohort", "the cohort; empty or left out: all of them together");
const WINDOW: (&str, &str) = ("window", "how far back, from `1m` to `6h`; `15m` where nobody says");

pub(super) fn pages() -> Vec<Page> {
    let viewer = Role::Viewer;
    vec![
        Page::get("/events", viewer, "What happened, the newest first.", || get(events::events))
            .with_query(&[
                ("limit", "at most so many, up to 1,000"),
                ("before", "only events with a smaller id"),
                SERVICE,
            ])
            .tells("ringway.events/v1"),
        Page::get("/history", viewer, "What became of rollouts, the latest first.", || get(events::history))
            .with_query(&[("days", "how far back, up to 90; 30 where nobody says")])
            .tells("ringway.history/v1"),
        Page::get("/audit/verify", viewer, "Whether the audit log is as it was written.", || get(events::verify))
            .tells("ringway.audit-verify/v1"),
        Page::get("/services", viewer, "Services with variants, endpoints and cohorts.", || {
            get(|State(handle): State<Handle>| async move { answer(StatusCode::OK, &services::services(&handle)) })
        })
        .tells("ringway.services/v1"),
        Page::get("/series", viewer, "Requests, errors and latencies of a service over time.", || get(series::series))
            .with_query(&[SERVICE, COHORT, WINDOW, ("points", "about how many steps, 10 to 1,000")])
            .tells("ringway.series/v1"),
        Page::get("/distribution", viewer, "Latencies and status codes of a service.", || get(series::distribution))
            .with_query(&[SERVICE, COHORT, WINDOW])
            .tells("ringway.distribution/v1"),
        Page::stream("/stream", viewer, "Events as they happen, and once a second how it goes.", || {
            get(stream::stream)
        }),
        Page::stream("/tap", viewer, "Finished requests as they pass by.", || get(tap::tap)).with_query(&[
            SERVICE,
            ("cohort", "only of this cohort"),
            ("variant", "only of this variant"),
            ("status", "only with this status: `503`, `5xx` or `500-504`"),
            ("rate", "at most so many a second, up to 1,000; 10 where nobody says"),
        ]),
        Page::get("/config/file", viewer, "The texts of the files in force.", || get(configs::file))
            .tells("ringway.config-file/v1"),
        Page::get("/config/effective", viewer, "Each value in force, and where it comes from.", || {
            get(configs::effective)
        })
        .tells("ringway.config-effective/v1"),
        Page::ask("/config/check", viewer, "What is wrong with a text; nothing is written.", || post(configs::check))
            .takes::<configs::Text>()
            .tells("ringway.check/v1"),
        Page::ask("/config/diff", viewer, "Whom a text would move; nothing is written.", || post(configs::diff))
            .takes::<configs::Text>()
            .tells("ringway.diff/v1"),
        Page::ask("/explain", viewer, "What requests would get, and why.", || post(explain::explain))
            .takes::<explain::Batch>()
            .tells("ringway.explain-batch/v1"),
    ]
}
