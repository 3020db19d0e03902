//! From the tree to the types of the schema, by serde, with the place of whatever does not fit.

use super::place::Place;
use super::tree::{self, Entry, Kind, Node};
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Reads a value of a type of the schema; stops at the first thing that does not fit.
pub(crate) fn decode<T: DeserializeOwned>(root: &Node) -> Result<T, DecodeError> {
    T::deserialize(Decoder { node: root, path: Path { above: None, step: None } })
}

/// The first thing that does not fit, and where.
#[derive(Debug)]
pub(crate) struct DecodeError {
    pub(crate) mismatch: Mismatch,
    /// Where it is seen; `None` only while the error is on its way up.
    pub(crate) place: Option<Place>,
}

/// What does not fit.
#[derive(Debug, PartialEq)]
pub(crate) enum Mismatch {
    /// A key that the type does not have.
    UnknownKey { key: String, expected: &'static [&'static str] },
    /// The only key of a choice that is none of the choices.
    UnknownChoice { key: String, expected: &'static [&'static str] },
    /// A text that is none of the choices.
    UnknownValue { value: String, expected: &'static [&'static str] },
    /// A key that must be there.
    MissingKey(&'static str),
    /// A list where a map is expected, and the like.
    WrongType { expected: String, found: &'static str },
    /// A choice is written as a map with exactly one key.
    NotOneKey { keys: usize, expected: &'static [&'static str] },
    /// A key without a value.
    NoValue,
    /// A boolean where a text is expected.
    Unquoted(String),
    /// Not `true` or `false`.
    NotBoolean(String),
    /// The text is not what it should be.
    Invalid(String),
}

/// The way from the root to a node, as a chain on the stack: a [`Place`] is made only for errors.
#[derive(Clone, Copy)]
struct Path<'p> {
    above: Option<&'p Path<'p>>,
    step: Option<StepRef<'p>>,
}

#[derive(Clone, Copy)]
enum StepRef<'p> {
    Key(&'p str),
    Index(usize),
}

#[derive(Clone, Copy)]
struct Decoder<'n, 'p> {
    node: &'n Node,
    path: Path<'p>,
}

impl Path<'_> {
    fn place(&self) -> Place {
        let above = self.above.map(Path::place).unwrap_or_default();
        match self.step {
            None => above,
            Some(StepRef::Key(key)) => above.key(key),
            Some(StepRef::Index(index)) => above.index(index),
        }
    }
}

impl DecodeError {
    fn or_at(mut self, path: &Path<'_>) -> DecodeError {
        self.place.get_or_insert_with(|| path.place());
        self
    }
}

impl<'n, 'p> Decoder<'n, 'p> {
    fn fail<T>(&self, mismatch: Mismatch) -> Result<T, DecodeError> {
        Err(DecodeError { mismatch, place: Some(self.path.place()) })
    }

    fn wrong_type<T>(&self, expected: &dyn de::Expected) -> Result<T, DecodeError> {
        match self.node.describe() {
            "nothing" => self.fail(Mismatch::NoValue),
            found => self.fail(Mismatch::WrongType { expected: expected.to_string(), found }),
        }
    }

    /// The text of a scalar that is meant as a text: anything but nothing and the booleans.
    fn text(&self, expected: &dyn de::Expected) -> Result<&'n str, DecodeError> {
        match &self.node.kind {
            Kind::Scalar { text, is_plain: true } if tree::is_null(text) => self.fail(Mismatch::NoValue),
            Kind::Scalar { text, is_plain: true } if tree::is_boolean(text) => {
                self.fail(Mismatch::Unquoted(text.clone()))
            }
            Kind::Scalar { text, .. } => Ok(text),
            _ => self.wrong_type(expected),
        }
    }

    /// The text of a plain scalar that is a number.
    fn number(&self, expected: &dyn de::Expected) -> Result<&'n str, DecodeError> {
        match &self.node.kind {
            Kind::Scalar { text, is_plain: true } if tree::is_number(text) => Ok(text),
            _ => self.wrong_type(expected),
        }
    }

    fn below<'q>(&'q self, node: &'n Node, step: StepRef<'q>) -> Decoder<'n, 'q> {
        Decoder { node, path: Path { above: Some(&self.path), step: Some(step) } }
    }
}

macro_rules! whole_numbers {
    ($($method:ident $visit:ident $type:ty),* $(,)?) => {$(
        fn $method<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            let text = self.number(&visitor)?;
            match text.parse::<$type>() {
                Ok(number) => visitor.$visit(number).map_err(|error: DecodeError| error.or_at(&self.path)),
                Err(_) => {
                    let (min, max) = (<$type>::MIN, <$type>::MAX);
                    self.fail(Mismatch::Invalid(format!("`{text}` is not a whole number from {min} to {max}")))
                }
            }
        }
    )*};
}

impl<'n> Deserializer<'n> for Decoder<'n, '_> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.kind {
            Kind::Scalar { .. } => self.deserialize_str(visitor),
            Kind::Seq(_) => self.deserialize_seq(visitor),
            Kind::Map(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.kind {
            Kind::Scalar { text, is_plain: true } if text == "true" => visitor.visit_bool(true),
            Kind::Scalar { text, is_plain: true } if text == "false" => visitor.visit_bool(false),
            Kind::Scalar { text, is_plain } if !(*is_plain && tree::is_null(text)) => {
                self.fail(Mismatch::NotBoolean(text.clone()))
            }
            _ => self.wrong_type(&visitor),
        }
    }

    whole_numbers! {
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64, deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64,
    }

    fn deserialize_f32<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let text = self.number(&visitor)?;
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => visitor.visit_f64(number),
            _ => self.fail(Mismatch::Invalid(format!("`{text}` is not a number"))),
        }
    }

    fn deserialize_char<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let text = self.text(&visitor)?;
        visitor.visit_borrowed_str(text).map_err(|error: DecodeError| error.or_at(&self.path))
    }

    fn deserialize_string<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    /// A key without a value is an error and not an absent key: what was meant to stand there would be lost.
    fn deserialize_option<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.node.describe() {
            "nothing" => self.fail(Mismatch::NoValue),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.wrong_type(&visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'n>>(self, _: &'static str, v: V) -> Result<V::Value, DecodeError> {
        self.wrong_type(&v)
    }

    fn deserialize_newtype_struct<V: Visitor<'n>>(self, _: &'static str, v: V) -> Result<V::Value, DecodeError> {
        v.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let Kind::Seq(items) = &self.node.kind else { return self.wrong_type(&"a list") };
        let list = List { decoder: &self, items, next: 0 };
        visitor.visit_seq(list).map_err(|error: DecodeError| error.or_at(&self.path))
    }

    fn deserialize_tuple<V: Visitor<'n>>(self, length: usize, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.kind {
            Kind::Seq(items) if items.len() == length => self.deserialize_seq(visitor),
            Kind::Seq(items) => {
                self.fail(Mismatch::Invalid(format!("expected a list of {length} values, not of {}", items.len())))
            }
            _ => self.wrong_type(&format!("a list of {length} values").as_str()),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'n>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let Kind::Map(entries) = &self.node.kind else { return self.wrong_type(&"a map") };
        let map = Map { decoder: &self, entries, next: 0 };
        visitor.visit_map(map).map_err(|error: DecodeError| error.or_at(&self.path))
    }

    fn deserialize_struct<V: Visitor<'n>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'n>>(
        self,
        _: &'static str,
        expected: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let choice = match &self.node.kind {
            Kind::Map(entries) => match entries.as_slice() {
                [entry] => Choice { decoder: &self, key: &entry.key, value: Some(&entry.value) },
                several => return self.fail(Mismatch::NotOneKey { keys: several.len(), expected }),
            },
            Kind::Scalar { .. } => Choice { decoder: &self, key: self.text(&visitor)?, value: None },
            Kind::Seq(_) => return self.wrong_type(&"a choice"),
        };
        visitor.visit_enum(choice).map_err(|error: DecodeError| error.or_at(&self.path))
    }

    fn deserialize_identifier<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }
}

struct List<'n, 'd> {
    decoder: &'d Decoder<'n, 'd>,
    items: &'n [Node],
    next: usize,
}

impl<'n> SeqAccess<'n> for List<'n, '_> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'n>>(&mut self, seed: T) -> Result<Option<T::Value>, DecodeError> {
        let Some(item) = self.items.get(self.next) else { return Ok(None) };
        self.next += 1;
        seed.deserialize(self.decoder.below(item, StepRef::Index(self.next - 1))).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len() - self.next)
    }
}

struct Map<'n, 'd> {
    decoder: &'d Decoder<'n, 'd>,
    entries: &'n [Entry],
    next: usize,
}

impl<'n> MapAccess<'n> for Map<'n, '_> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'n>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        let Some(entry) = self.entries.get(self.next) else { return Ok(None) };
        self.next += 1;
        let key = de::value::BorrowedStrDeserializer::new(&entry.key);
        seed.deserialize(key)
            .map(Some)
            .map_err(|error: DecodeError| error.or_at(&self.decoder.below(&entry.value, StepRef::Key(&entry.key)).path))
    }

    fn next_value_seed<V: DeserializeSeed<'n>>(&mut self, seed: V) -> Result<V::Value, DecodeError> {
        match self.next.checked_sub(1).and_then(|at| self.entries.get(at)) {
            Some(entry) => seed.deserialize(self.decoder.below(&entry.value, StepRef::Key(&entry.key))),
            None => Err(de::Error::custom("a value was asked for before its key")),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len() - self.next)
    }
}

struct Choice<'n, 'd> {
    decoder: &'d Decoder<'n, 'd>,
    key: &'n str,
    /// `None` for a choice that is just a word.
    value: Option<&'n Node>,
}

impl<'n, 'd> EnumAccess<'n> for Choice<'n, 'd> {
    type Error = DecodeError;
    type Variant = Choice<'n, 'd>;

    fn variant_seed<V: DeserializeSeed<'n>>(self, seed: V) -> Result<(V::Value, Self), DecodeError> {
        let key = de::value::BorrowedStrDeserializer::<DecodeError>::new(self.key);
        match seed.deserialize(key) {
            Ok(variant) => Ok((variant, self)),
            Err(DecodeError { mismatch: Mismatch::UnknownValue { value, expected }, .. }) if self.value.is_some() => {
                self.decoder.fail(Mismatch::UnknownChoice { key: value, expected })
            }
            Err(error) => Err(error.or_at(&self.decoder.path)),
        }
    }
}

impl<'n> de::VariantAccess<'n> for Choice<'n, '_> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        match self.value {
            None => Ok(()),
            Some(_) => {
                let key = self.key;
                self.decoder.fail(Mismatch::Invalid(format!("`{key}` takes no value: write it as just `{key}`")))
            }
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'n>>(self, seed: T) -> Result<T::Value, DecodeError> {
        match self.value {
            Some(value) => seed.deserialize(self.decoder.below(value, StepRef::Key(self.key))),
            None => {
                let key = self.key;
                self.decoder.fail(Mismatch::Invalid(format!("`{key}` needs a value: `{{ {key}: .. }}`")))
            }
        }
    }

    fn tuple_variant<V: Visitor<'n>>(self, _: usize, visitor: V) -> Result<V::Value, DecodeError> {
        self.decoder.wrong_type(&visitor)
    }

    fn struct_variant<V: Visitor<'n>>(self, _: &'static [&'static str], v: V) -> Result<V::Value, DecodeError> {
        self.decoder.wrong_type(&v)
    }
}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> DecodeError {
        DecodeError { mismatch: Mismatch::Invalid(message.to_string()), place: None }
    }

    fn unknown_field(key: &str, expected: &'static [&'static str]) -> DecodeError {
        DecodeError { mismatch: Mismatch::UnknownKey { key: key.to_owned(), expected }, place: None }
    }

    fn unknown_variant(value: &str, expected: &'static [&'static str]) -> DecodeError {
        DecodeError { mismatch: Mismatch::UnknownValue { value: value.to_owned(), expected }, place: None }
    }

    fn missing_field(key: &'static str) -> DecodeError {
        DecodeError { mismatch: Mismatch::MissingKey(key), place: None }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.mismatch)
    }
}

impl std::error::Error for DecodeError {}

#[cfg(test)]
mod tests {
    use super::super::{parse::parse, schema::File, source::Source};
    use super::*;

    fn read(text: &str) -> Result<File, (Mismatch, String)> {
        let (root, problems) = parse(&Source::new("a.yaml", text), 0);
        assert_eq!(problems, []);
        decode(&root.unwrap()).map_err(|error| (error.mismatch, error.place.unwrap().to_string()))
    }

    const VARIANTS: &str = "variants: { stable: { endpoints: [a:1], version: 1.10, weight: 0.000001 } }";

    #[test]
    fn norway_is_a_country_and_a_version_keeps_its_zero() {
        let when = "when: { geo: { countries: [NO, SE] } }";
        let file = read(&format!("services: {{ shop: {{ {VARIANTS}, cohorts: [{{ name: n, {when} }}] }} }}")).unwrap();
        let shop = &file.services["shop"];
        let Some(super::super::schema::Condition::Geo(geo)) = &shop.cohorts[0].when else { panic!() };
        assert_eq!(geo.countries, ["NO", "SE"]);
        assert_eq!(shop.variants["stable"].version.as_deref(), Some("1.10"));
        assert_eq!(shop.variants["stable"].weight.unwrap().0.micros(), 1);
    }

    #[test]
    fn mismatches_have_a_place() {
        let cases = [
            ("listeners: [{ address: 1.2.3.4 }]", "listeners[0].address"),
            ("services: { shop: { variants: { a: { endpoints: x } } } }", "services.shop.variants.a.endpoints"),
            ("services: { shop: { variants: {}, exposeAssignment: yes } }", "services.shop.exposeAssignment"),
            ("services: { shop: { variants: {}, salt: } }", "services.shop.salt"),
            ("services: { shop: { variants: {}, salt: true } }", "services.shop.salt"),
            ("services: { shop: { variant: {} } }", "services.shop.variant"),
            ("services: { shop: {} }", "services.shop"),
            ("services: { shop: { variants: {}, hashOn: [{ header: a, cookie: b }] } }", "services.shop.hashOn[0]"),
            ("services: { shop: { variants: {}, hashOn: [header] } }", "services.shop.hashOn[0]"),
        ];
        for (text, place) in cases {
            assert_eq!(read(text).unwrap_err().1, place, "{text}");
        }
    }
}
