//! `split_clients` of nginx: each is a service, its values are variants.

use super::draft::{Draft, TOP, name};
use super::nginx_text::Directive;
use serde_json::{Map, Value, json};

/// A whole, in hundredths of a percent, which is as exact as nginx is.
const WHOLE: u32 = 10_000;

pub(super) fn read(directives: &[Directive], draft: &mut Draft) {
    let mut all = Vec::new();
    flatten(directives, &mut all);
    let splits: Vec<&Directive> = all.iter().copied().filter(|one| one.name() == "split_clients").collect();
    for split in &splits {
        add(split, &all, splits.len() > 1, draft);
    }
    if all.iter().any(|one| one.name() == "server" && one.block.is_some()) {
        draft.left_out(TOP, "server", "blocks of `server` and `location`: write `listeners` and `routes`");
    }
}

fn flatten<'d>(directives: &'d [Directive], all: &mut Vec<&'d Directive>) {
    for directive in directives {
        all.push(directive);
        flatten(directive.block.as_deref().unwrap_or_default(), all);
    }
}

fn add(split: &Directive, all: &[&Directive], is_one_of_many: bool, draft: &mut Draft) {
    let (Some(key), Some(variable), Some(block)) = (split.words.get(1), split.words.get(2), &split.block) else {
        draft.left_out(TOP, "split_clients", "one without a key, a variable or a block");
        return;
    };
    let origin = format!("split_clients {variable}");
    let mut remarks = Vec::new();
    let (hash_on, salt) = sources(key, &mut remarks);
    let mut service = json!({ "hashOn": hash_on });
    if !salt.is_empty() {
        service["salt"] = Value::from(salt);
    }
    service["variants"] = variants(block, all, &mut remarks).into();
    let service = draft.service(variable.trim_start_matches('$'), service);
    let place = format!("services.{service}");
    draft.note(&place, &origin, "another hash decides, so users are dealt anew once; from then on they stay");
    remarks.into_iter().for_each(|text| draft.left_out(&place, &origin, text));
    if is_one_of_many {
        let host = format!("{service}.example.com");
        let place = draft.route(json!({ "hostnames": [host.replace('_', "-")], "service": service }));
        draft.left_out(&place, &origin, "which requests it is for: the host is made up");
    } else {
        draft.route(json!({ "service": service }));
    }
}

/// What makes a user the same user, and the text around it.
fn sources(key: &str, remarks: &mut Vec<String>) -> (Value, String) {
    let (mut found, mut salt, mut rest) = (Vec::new(), String::new(), key);
    while let Some(at) = rest.find('$') {
        salt.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (variable, left) = match after.strip_prefix('{').and_then(|after| after.split_once('}')) {
            Some(parts) => parts,
            None => {
                let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len());
                after.split_at(end)
            }
        };
        rest = left;
        found.push(variable);
    }
    salt.push_str(rest);
    for further in found.iter().skip(1) {
        remarks.push(format!("${further} in the key: a user key has one source"));
    }
    let source = match found.first().copied().unwrap_or_default() {
        "remote_addr" | "binary_remote_addr" | "realip_remote_addr" => json!("clientIP"),
        header if header.starts_with("http_") => json!({ "header": header["http_".len()..].replace('_', "-") }),
        cookie if cookie.starts_with("cookie_") => json!({ "cookie": &cookie["cookie_".len()..] }),
        query if query.starts_with("arg_") => json!({ "query": &query["arg_".len()..] }),
        other => {
            remarks.push(format!("the key ${other}: the client's address stands for it"));
            json!("clientIP")
        }
    };
    (json!([source]), salt)
}

fn variants(block: &[Directive], all: &[&Directive], remarks: &mut Vec<String>) -> Map<String, Value> {
    let (mut variants, mut left, mut port) = (Map::new(), WHOLE, 3001_u16);
    for line in block {
        let value = line.words.get(1).map_or("", String::as_str);
        let share = match line.name() {
            "*" => Some(left),
            percent => {
                percent.strip_suffix('%').and_then(|text| text.parse::<f64>().ok()).map(|p| (p * 100.0).round() as u32)
            }
        };
        let Some(share) = share.filter(|share| *share <= left) else {
            remarks.push(format!("the line `{}`", line.words.join(" ")));
            continue;
        };
        left -= share;
        let mut variant = name(if value.is_empty() { "stable" } else { value.trim_start_matches("http://") });
        while variants.contains_key(&variant) {
            variant.push('x');
        }
        let mut endpoints = endpoints(value, all, remarks);
        if endpoints.is_empty() {
            remarks.push(format!("where {variant} lives: 127.0.0.1:{port} is made up"));
            endpoints.push(format!("127.0.0.1:{port}"));
            port += 1;
        }
        variants.insert(variant, json!({ "weight": f64::from(share) / 100.0, "endpoints": endpoints }));
    }
    if left > 0 && !variants.is_empty() {
        remarks.push(format!(
            "{} % of the users had an empty value: their part goes to the others",
            f64::from(left) / 100.0
        ));
    }
    variants.values_mut().for_each(whole_where_it_is);
    variants
}

/// `95` rather than `95.0`.
fn whole_where_it_is(variant: &mut Value) {
    if let Some(weight) = variant["weight"].as_f64().filter(|weight| weight.fract() == 0.0) {
        variant["weight"] = Value::from(weight as u32);
    }
}

/// The servers of the upstream with this name.
fn endpoints(value: &str, all: &[&Directive], remarks: &mut Vec<String>) -> Vec<String> {
    let wanted = value.trim_start_matches("http://");
    let is_it = |one: &&&Directive| one.name() == "upstream" && one.words.get(1).is_some_and(|name| name == wanted);
    let mut endpoints = Vec::new();
    for line in all.iter().find(is_it).and_then(|found| found.block.as_deref()).unwrap_or_default() {
        match (line.name(), line.words.get(1)) {
            ("server", Some(address)) if !address.starts_with("unix:") => {
                let has_port = address.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok());
                endpoints.push(if has_port { address.clone() } else { format!("{address}:80") });
                for more in line.words.iter().skip(2) {
                    remarks.push(format!("`{more}` of the server {address}"));
                }
            }
            _ => remarks.push(format!("`{}` of the upstream {wanted}", line.words.join(" "))),
        }
    }
    endpoints
}
