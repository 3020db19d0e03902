//! The dashboard: files that are part of the program, at `/` and below `/assets/`.
//!
//! It has no build step and nothing from elsewhere, so that it works without a network and under a policy that allows
//! no other origin, no inline script and no inline style. Each file's address holds the hash of all of them: what a
//! browser has kept is never from another version, and so it may be kept forever.
//!
//! The files know nothing of who may see them: there are no data in them. Every number comes from the API. Which names a
//! request may use, and what the page may do in a browser, is said by `guard`.

use super::problem::Problem;
use aws_lc_rs::digest::{Context, SHA256};
use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::LazyLock;

/// A file with a hash in its address does not change.
const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// The page itself is asked for again, which costs an answer without a body.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

struct Asset {
    name: &'static str,
    content_type: &'static str,
    text: &'static str,
}

macro_rules! assets {
    ($($content_type:literal: $($name:literal)*;)*) => {
        &[$($(Asset {
            name: $name,
            content_type: $content_type,
            text: include_str!(concat!("dashboard/", $name)),
        },)*)*]
    };
}

const PAGE: &str = include_str!("dashboard/index.html");

const ASSETS: &[Asset] = assets! {
    "text/css; charset=utf-8": "style.css" "pages.css";
    "image/svg+xml": "icon.svg";
    "text/javascript; charset=utf-8":
        "theme.js" "app.js" "dom.js" "state.js" "api.js" "live.js" "words.js" "plot.js" "export.js" "parts.js"
        "dialogs.js" "commands.js" "sign-in.js" "releases.js" "rollout.js" "decision.js" "compare.js" "debug.js"
        "playground.js" "simulate.js" "config.js" "log.js";
};

/// The page with the addresses of this version, and its tag.
struct Page {
    version: String,
    text: String,
    tag: HeaderValue,
}

static CURRENT: LazyLock<Page> = LazyLock::new(|| {
    let mut hash = Context::new(&SHA256);
    hash.update(PAGE.as_bytes());
    for asset in ASSETS {
        hash.update(asset.name.as_bytes());
        hash.update(asset.text.as_bytes());
    }
    let version = hash.finish().as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect::<String>();
    let modules = ASSETS.iter().filter(|asset| asset.name.ends_with(".js") && asset.name != "theme.js");
    let preload: Vec<String> = modules
        .map(|asset| format!("<link rel=\"modulepreload\" href=\"/assets/{version}/{}\">", asset.name))
        .collect();
    let text = PAGE.replace("{preload}", &preload.join("\n")).replace("{version}", &version);
    let tag = HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"\""));
    Page { version, text, tag }
});

/// The pages of the dashboard. They need no credentials: who comes to sign in has none yet.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/", get(page)).route("/assets/{version}/{name}", get(asset))
}

async fn page(headers: HeaderMap) -> Response {
    file(&headers, "text/html; charset=utf-8", &CURRENT.text, ASK_AGAIN)
}

async fn asset(Path((version, name)): Path<(String, String)>, headers: HeaderMap) -> Result<Response, Problem> {
    let found = ASSETS.iter().find(|asset| asset.name == name && version == CURRENT.version);
    let absent = || Problem::new(StatusCode::NOT_FOUND, "no such file of this version; load the page again");
    found.map(|asset| file(&headers, asset.content_type, asset.text, FOREVER)).ok_or_else(absent)
}

fn file(asked: &HeaderMap, content_type: &'static str, text: &'static str, keep: HeaderValue) -> Response {
    let headers: [(HeaderName, HeaderValue); 4] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, keep),
        (header::ETAG, CURRENT.tag.clone()),
        (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    ];
    let has_it = |tags: &HeaderValue| {
        let tags = tags.to_str().unwrap_or_default();
        let current = CURRENT.tag.to_str().unwrap_or_default();
        tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == current)
    };
    match asked.get(header::IF_NONE_MATCH).is_some_and(has_it) {
        true => (StatusCode::NOT_MODIFIED, headers).into_response(),
        false => (headers, text).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;

    async fn ask(path: &str, tag: Option<&str>) -> (StatusCode, HeaderMap, String) {
        let mut request = Request::get(path);
        if let Some(tag) = tag {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        let pages = TowerToHyperService::new(router().with_state(()));
        let response = pages.call(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (parts.status, parts.headers, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn all_of_it_is_small() {
        let bytes: usize = PAGE.len() + ASSETS.iter().map(|asset| asset.text.len()).sum::<usize>();
        assert!(bytes < 250 * 1024, "{bytes} bytes");
    }

    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/dashboard");
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(name == "index.html" || ASSETS.iter().any(|asset| asset.name == name), "{name} is in no list");
        }
    }

    #[test]
    fn nothing_is_inline_and_nothing_is_from_elsewhere() {
        let page = &CURRENT.text;
        assert!(!page.contains("{version}") && !page.contains("{preload}"));
        for script in page.split("<script").skip(1) {
            assert!(script.contains("></script>") && script.starts_with([' ']), "a script with a text: {script}");
        }
        for banned in ["<style", " style=", " onclick=", " onload=", "javascript:"] {
            assert!(!page.contains(banned), "{banned} in the page");
        }
        for asset in ASSETS.iter().filter(|asset| asset.name.ends_with(".js")) {
            for banned in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"] {
                assert!(!asset.text.contains(banned), "{banned} in {}", asset.name);
            }
            let known = asset.text.replace("http://www.w3.org/2000/svg", "").replace("http://localhost/", "");
            assert!(!known.contains("import(\"http") && !known.contains("from \"http"), "{}", asset.name);
        }
    }

    #[test]
    fn modules_import_files_that_are_there() {
        for asset in ASSETS.iter().filter(|asset| asset.name.ends_with(".js")) {
            for import in asset.text.lines().filter(|line| line.starts_with("import ")) {
                let from = import.rsplit("\"./").next().unwrap().trim_end_matches("\";");
                assert!(ASSETS.iter().any(|asset| asset.name == from), "{}: {import}", asset.name);
            }
        }
    }

    #[tokio::test]
    async fn files_are_kept_forever_and_the_page_is_asked_for_again() {
        let (status, headers, page) = ask("/", None).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers[header::CACHE_CONTROL], "no-cache");
        let tag = headers[header::ETAG].to_str().unwrap().to_owned();
        let (status, _, body) = ask("/?page=rollout", Some(&tag)).await;
        assert_eq!((status, body.as_str()), (StatusCode::NOT_MODIFIED, ""));

        let addresses: Vec<&str> = page.split('"').filter(|text| text.starts_with("/assets/")).collect();
        assert!(addresses.len() > ASSETS.len());
        for address in addresses {
            let (status, headers, body) = ask(address, None).await;
            assert_eq!(status, StatusCode::OK, "{address}");
            assert!(headers[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
            assert!(!body.is_empty());
        }
        assert_eq!(ask("/assets/000000000000/app.js", None).await.0, StatusCode::NOT_FOUND);
        assert_eq!(
            ask(&format!("/assets/{}/..%2findex.html", tag.trim_matches('"')), None).await.0,
            StatusCode::NOT_FOUND
        );
    }
}
