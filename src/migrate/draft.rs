use super::yaml::{self, Comment};
use super::{Migrated, Remark};
use crate::config::is_name;
use serde_json::{Map, Value, json};

/// The file in the making.
#[derive(Default)]
pub(super) struct Draft {
    services: Map<String, Value>,
    routes: Vec<Value>,
    remarks: Vec<(String, Remark)>,
}

/// What the comment of a remark about the file as a whole stands above.
pub(super) const TOP: &str = "listeners";

impl Draft {
    /// Nothing was found.
    pub(super) fn is_empty(&self) -> bool {
        self.services.is_empty() && self.routes.is_empty()
    }

    /// Adds a service under a name like this one, and tells the name. The same service twice is one.
    pub(super) fn service(&mut self, wanted: &str, service: Value) -> String {
        let wanted = name(wanted);
        let mut free = wanted.clone();
        let mut count = 1;
        while let Some(there) = self.services.get(&free) {
            if *there == service {
                return free;
            }
            count += 1;
            free = format!("{}-{count}", &wanted[..wanted.len().min(56)]);
        }
        self.services.insert(free.clone(), service);
        free
    }

    /// Adds a route, and tells its place.
    pub(super) fn route(&mut self, route: Value) -> String {
        self.routes.push(route);
        format!("routes[{}]", self.routes.len() - 1)
    }

    /// Something of `origin` is missing at `place`.
    pub(super) fn left_out(&mut self, place: &str, origin: &str, text: impl Into<String>) {
        self.remark(place, Remark { is_left_out: true, origin: origin.to_owned(), text: text.into() });
    }

    /// Something of `origin` works in another way.
    pub(super) fn note(&mut self, place: &str, origin: &str, text: impl Into<String>) {
        self.remark(place, Remark { is_left_out: false, origin: origin.to_owned(), text: text.into() });
    }

    fn remark(&mut self, place: &str, mut remark: Remark) {
        remark.text = remark.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        remark.origin = remark.origin.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let new = (place.to_owned(), remark);
        if !self.remarks.contains(&new) {
            self.remarks.push(new);
        }
    }

    /// The file, with its remarks.
    pub(super) fn finish(self) -> Migrated {
        let mut file = json!({ "listeners": [{ "address": "0.0.0.0:8080" }], "services": self.services });
        // one service that takes every request needs no route
        let is_plain = |route: &Value| route.as_object().is_some_and(|route| route.keys().eq(["service"]));
        if !(self.services_are_one() && self.routes.iter().all(is_plain)) {
            file["routes"] = Value::from(self.routes);
        }
        if self.services.is_empty()
            && let Some(file) = file.as_object_mut()
        {
            file.shift_remove("services");
        }
        let comment = |(place, remark): &(String, Remark)| {
            let word = if remark.is_left_out { "LEFT OUT" } else { "DIFFERS" };
            Comment { place: place.clone(), text: format!("{word} ({}): {}", remark.origin, remark.text) }
        };
        let comments: Vec<Comment> = self.remarks.iter().map(comment).collect();
        let head = "# Written by `ringway migrate`. Look through it, then type: ringway check\n";
        let text = format!("{head}{}", yaml::write(&file, &comments));
        Migrated { text, remarks: self.remarks.into_iter().map(|(_, remark)| remark).collect() }
    }

    fn services_are_one(&self) -> bool {
        self.services.len() == 1
    }
}

/// A name like this one that a service, variant or cohort can have.
pub(super) fn name(wanted: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let cleaned: String = wanted.chars().map(|c| if fits(c) { c } else { '-' }).take(63).collect();
    let cleaned = cleaned.trim_matches(['-', '.']);
    if !is_name(cleaned) || matches!(cleaned, "none" | "__other__") {
        format!("x-{cleaned}")
    } else {
        cleaned.to_owned()
    }
}

/// A value for a header edit or the like, in which `${` is no variable.
pub(super) fn literal(value: &str) -> String {
    value.replace("${", "$${")
}

/// A number as it was written, for a weight.
pub(super) fn number(text: &str) -> Option<Value> {
    let is_decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if let Ok(whole) = text.parse::<u32>() {
        return Some(Value::from(whole));
    }
    text.parse::<f64>().ok().filter(|_| is_decimal).map(Value::from)
}

/// A time as Go and Kubernetes write it (`1m30s`, `500ms`), in the words of the file.
pub(super) fn duration(text: &str) -> Option<String> {
    let (mut rest, mut total_ms) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, unit) = rest.split_at(digits);
        let length = unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len());
        let scale = match &unit[..length] {
            "ms" => 1.0,
            "s" => 1_000.0,
            "m" => 60_000.0,
            "h" => 3_600_000.0,
            _ => return None,
        };
        total_ms += number.parse::<f64>().ok()? * scale;
        rest = &unit[length..];
    }
    let whole = total_ms as u64;
    let units = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    let (unit, scale) = units.into_iter().find(|(_, scale)| whole.is_multiple_of(*scale))?;
    (!text.is_empty()).then(|| if whole == 0 { "0s".to_owned() } else { format!("{}{unit}", whole / scale) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_names_and_numbers_of_others() {
        let times = ["10s", "1m30s", "500ms", "1.5s", "2h", "0s"].map(duration);
        let expected = ["10s", "90s", "500ms", "1500ms", "2h", "0s"].map(|text| Some(text.to_owned()));
        assert_eq!(times, expected);
        assert_eq!(["", "10", "5d", "s"].map(duration), [None, None, None, None]);
        assert_eq!([name("a b/c"), name(".one"), name(""), name("none")], ["a-b-c", "one", "x-", "x-none"]);
        assert_eq!(
            [number("5"), number("0.5"), number("1e3"), number("-1")],
            [Some(5.into()), Some(0.5.into()), None, None]
        );
    }

    #[test]
    fn the_same_service_is_one_and_another_gets_a_name_of_its_own() {
        let mut draft = Draft::default();
        let names = [json!({ "a": 1 }), json!({ "a": 1 }), json!({ "a": 2 })].map(|body| draft.service("shop", body));
        assert_eq!(names, ["shop", "shop", "shop-2"]);
    }
}
