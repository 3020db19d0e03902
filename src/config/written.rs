//! What stands in the files, value by value.

use super::load::Loaded;
use super::place::Place;
use super::source::Span;
use super::tree::{Kind, Node};

/// A value as it stands in the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written<'l> {
    /// Where, as keys and positions.
    pub place: Place,
    /// Its text.
    pub text: &'l str,
    /// Where in the texts.
    pub span: Span,
}

impl Loaded {
    /// Every value that is no map and no list, in the order of the files.
    pub fn written(&self) -> Vec<Written<'_>> {
        let mut written = Vec::new();
        gather(self.tree(), Place::root(), &mut written);
        written
    }

    /// What stands at a place, whatever it is; `None` when nothing does.
    pub fn text_at(&self, place: &Place) -> Option<&str> {
        let parent = self.tree().nearest(&place.parent()).node;
        let found = self.tree().nearest(place).node;
        let is_there = !place.steps().is_empty() && !std::ptr::eq(parent, found);
        let source = self.sources.get(found.span.source).filter(|_| is_there)?;
        Some(source.slice(found.span).trim_end())
    }
}

fn gather<'l>(node: &'l Node, place: Place, written: &mut Vec<Written<'l>>) {
    match &node.kind {
        Kind::Scalar { text, .. } => written.push(Written { place, text, span: node.span }),
        Kind::Seq(items) => {
            items.iter().enumerate().for_each(|(at, item)| gather(item, place.index(at), written));
        }
        Kind::Map(entries) => {
            entries.iter().for_each(|entry| gather(&entry.value, place.key(entry.key.as_str()), written));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Source, load_texts};
    use super::*;

    const TEXT: &str = "listeners: [{ address: 127.0.0.1:8080 }]\nservices:\n  shop:\n    variants:\n      \
        stable: { weight: 100, endpoints: [127.0.0.1:1] }\n    cohorts:\n      - name: beta\n        \
        when: { cookie: { name: beta, present: true } }\n";

    #[test]
    fn each_value_has_its_place_and_line() {
        let loaded = load_texts(vec![Source::new("a.yaml", TEXT)]).unwrap_or_else(|errors| panic!("{errors}"));
        let told: Vec<String> = loaded
            .written()
            .iter()
            .map(|one| format!("{} {} {}", one.place, one.text, loaded.sources[0].position(one.span.start).line))
            .collect();
        assert_eq!(told[0], "listeners[0].address 127.0.0.1:8080 1");
        assert!(told.contains(&"services.shop.variants.stable.weight 100 5".to_owned()), "{told:?}");
        let when = Place::root().key("services").key("shop").key("cohorts").index(0).key("when");
        assert_eq!(loaded.text_at(&when), Some("{ cookie: { name: beta, present: true } }"));
        assert_eq!(loaded.text_at(&when.key("nothing")), None);
        assert_eq!(loaded.text_at(&Place::root().key("geo")), None);
    }
}
