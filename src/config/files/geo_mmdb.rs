//! A MaxMind DB file that the operator supplies. Ringway ships none.

use maxminddb::{LookupResult, PathElement, Reader, path};
use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use super::source::{self, Access, FileProblem};
use super::{Continent, Country, GeoFacts, Subdivision};

/// The most bytes of a database, which is held in memory as a whole.
pub const GEO_MMDB_BYTES_MAX: usize = 1 << 30;

/// A database of places: Country, City, Enterprise or ASN, of MaxMind or in its shape, also with the flat fields
/// (`country_code`) of other makers.
pub struct GeoMmdb {
    reader: Reader<Vec<u8>>,
}

impl GeoMmdb {
    /// Reads a database from a file.
    ///
    /// # Errors
    /// The file cannot be read, may be written by everyone, is larger than 1 GiB, or is not a MaxMind DB.
    pub fn load(path: &Path) -> Result<GeoMmdb, FileProblem> {
        GeoMmdb::parse(source::read(path, GEO_MMDB_BYTES_MAX, Access::Public)?)
    }

    /// Takes the bytes of a database.
    ///
    /// # Errors
    /// They are not a MaxMind DB.
    pub fn parse(bytes: Vec<u8>) -> Result<GeoMmdb, FileProblem> {
        let reader = Reader::from_source(bytes)
            .map_err(|error| FileProblem::whole(format!("is not a MaxMind DB file: {error}")))?;
        Ok(GeoMmdb { reader })
    }

    /// What the database knows of an address. What it does not know, or has in another shape, is unknown.
    pub fn facts(&self, ip: IpAddr) -> GeoFacts<'_> {
        match self.reader.lookup(ip.to_canonical()) {
            Ok(record) if record.has_data() => facts_of(&Record(record)),
            Ok(_) | Err(_) => GeoFacts::default(),
        }
    }

    /// The database's own name for what it is, such as `GeoLite2-City`.
    pub fn kind(&self) -> &str {
        &self.reader.metadata().database_type
    }
}

impl fmt::Debug for GeoMmdb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GeoMmdb").field("kind", &self.kind()).finish_non_exhaustive()
    }
}

struct Record<'d>(LookupResult<'d, Vec<u8>>);

impl<'d> Record<'d> {
    fn text(&self, path: &[PathElement<'_>]) -> Option<&'d str> {
        self.0.decode_path(path).ok().flatten()
    }

    fn number(&self, path: &[PathElement<'_>]) -> Option<u32> {
        self.0.decode_path(path).ok().flatten()
    }
}

fn facts_of<'d>(record: &Record<'d>) -> GeoFacts<'d> {
    let country = record
        .text(&path!["country", "iso_code"])
        .or_else(|| record.text(&path!["country_code"]))
        .or_else(|| record.text(&path!["country"]))
        .and_then(|code| Country::parse(code.as_bytes()));
    let continent = record
        .text(&path!["continent", "code"])
        .or_else(|| record.text(&path!["continent_code"]))
        .and_then(|code| Continent::parse(code.as_bytes()));
    let division = record.text(&path!["subdivisions", 0, "iso_code"]);
    let city = record.text(&path!["city", "names", "en"]).or_else(|| record.text(&path!["city"]));
    GeoFacts {
        country,
        continent: continent.or_else(|| country.and_then(Country::continent)),
        subdivision: division.zip(country).and_then(|(code, country)| Subdivision::of(country, code.as_bytes())),
        city,
        asn: record.number(&path!["autonomous_system_number"]),
    }
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "the integration tests use it too")]
#[path = "../../../tests/support/mmdb_writer.rs"]
mod mmdb_writer;

#[cfg(test)]
mod tests {
    use super::mmdb_writer::{
        Value::{self, List, Map, Text, U32},
        mmdb,
    };
    use super::*;
    use proptest::prelude::*;

    fn city_record(
        country: &'static str,
        continent: &'static str,
        division: &'static str,
        city: &'static str,
    ) -> Value {
        Map(vec![
            ("city", Map(vec![("names", Map(vec![("de", Text("anders")), ("en", Text(city))]))])),
            ("continent", Map(vec![("code", Text(continent))])),
            ("country", Map(vec![("iso_code", Text(country))])),
            ("subdivisions", List(vec![Map(vec![("iso_code", Text(division))]), Map(vec![("iso_code", Text("XX"))])])),
        ])
    }

    fn city_database() -> Vec<u8> {
        mmdb(
            "Test-City",
            &[
                ("192.0.2.0/24", city_record("US", "NA", "CA", "San Francisco")),
                ("2001:db8::/32", city_record("NO", "EU", "03", "Oslo")),
            ],
        )
    }

    fn at<'d>(database: &'d GeoMmdb, ip: &str) -> GeoFacts<'d> {
        database.facts(ip.parse().unwrap())
    }

    #[test]
    fn a_city_database_tells_all_but_the_network() {
        let database = GeoMmdb::parse(city_database()).unwrap();
        let san_francisco = GeoFacts {
            country: Country::parse(b"US"),
            continent: Some(Continent::NorthAmerica),
            subdivision: Subdivision::parse(b"US-CA"),
            city: Some("San Francisco"),
            asn: None,
        };
        assert_eq!(at(&database, "192.0.2.255"), san_francisco);
        assert_eq!(at(&database, "::ffff:192.0.2.1"), san_francisco);
        assert_eq!(at(&database, "2001:db8::7").subdivision, Subdivision::parse(b"NO-03"));
        assert_eq!(at(&database, "198.51.100.1"), GeoFacts::default());
        assert_eq!(database.kind(), "Test-City");
    }

    #[test]
    fn country_and_network_databases_tell_what_they_have() {
        let database = GeoMmdb::parse(mmdb(
            "Test-Mixed",
            &[
                ("192.0.2.0/24", Map(vec![("country", Map(vec![("iso_code", Text("JP"))]))])),
                ("198.51.100.0/24", Map(vec![("autonomous_system_number", U32(2119))])),
                ("203.0.113.0/25", Map(vec![("country_code", Text("SE"))])),
                ("203.0.113.128/25", Map(vec![("country", Text("DK")), ("city", Text("Aarhus"))])),
                ("10.0.0.0/8", Map(vec![("country", List(vec![U32(7)])), ("city", U32(1))])),
            ],
        ))
        .unwrap();
        let asia = GeoFacts { country: Country::parse(b"JP"), continent: Some(Continent::Asia), ..GeoFacts::default() };
        assert_eq!(at(&database, "192.0.2.1"), asia);
        assert_eq!(at(&database, "198.51.100.1"), GeoFacts { asn: Some(2119), ..GeoFacts::default() });
        assert_eq!(at(&database, "203.0.113.1").country, Country::parse(b"SE"));
        assert_eq!(at(&database, "203.0.113.200").city, Some("Aarhus"));
        assert_eq!(at(&database, "10.0.0.1"), GeoFacts::default(), "another shape is unknown");
    }

    #[test]
    fn what_is_no_database_is_refused() {
        for bytes in [&b""[..], b"cidr,country\n", b"\xab\xcd\xefMaxMind.com"] {
            let problem = GeoMmdb::parse(bytes.to_vec()).unwrap_err();
            assert!(problem.message.starts_with("is not a MaxMind DB file"), "{problem}");
        }
    }

    proptest! {
        #[test]
        fn a_damaged_database_never_panics(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20), cut in any::<prop::sample::Index>(), is_cut: bool) {
            let mut bytes = city_database();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if is_cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            if let Ok(database) = GeoMmdb::parse(bytes) {
                for ip in ["192.0.2.1", "2001:db8::1", "::"] {
                    let _ = at(&database, ip);
                }
            }
        }
    }
}
