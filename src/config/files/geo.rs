//! Where a client is, and the three sources that may say so.

use http::{HeaderMap, HeaderName};
use std::fmt;
use std::net::IpAddr;

use super::{Continent, Country, GeoMmdb, GeoTable};

/// What is known of a client's place. Cheap to copy; the city is borrowed from the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GeoFacts<'g> {
    /// The country.
    pub country: Option<Country>,
    /// The continent; it follows from the country where the source does not say it.
    pub continent: Option<Continent>,
    /// The subdivision (state, province), such as `US-CA`.
    pub subdivision: Option<Subdivision>,
    /// The city's English name.
    pub city: Option<&'g str>,
    /// The number of the autonomous system (the network's operator).
    pub asn: Option<u32>,
}

/// An ISO 3166-2 code: a country, a hyphen, and one to three letters or digits. Held in capitals.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subdivision {
    bytes: [u8; SUBDIVISION_BYTES_MAX],
    length: u8,
}

const SUBDIVISION_BYTES_MAX: usize = 6;

/// A source of places.
#[derive(Debug)]
pub enum Geo {
    /// A MaxMind DB file.
    Mmdb(Box<GeoMmdb>),
    /// A header with a country code, believed from trusted proxies only.
    Header(HeaderName),
    /// A CSV file of networks.
    Table(Box<GeoTable>),
}

impl Geo {
    /// What is known of the client at `ip`. Headers count only where the peer is a trusted proxy.
    pub fn facts(&self, ip: IpAddr, headers: &HeaderMap, peer_trusted: bool) -> GeoFacts<'_> {
        match self {
            Geo::Mmdb(database) => database.facts(ip),
            Geo::Table(table) => table.facts(ip),
            Geo::Header(name) if peer_trusted => only(headers, name).map(GeoFacts::from_header).unwrap_or_default(),
            Geo::Header(_) => GeoFacts::default(),
        }
    }
}

/// The value of a header that is there once. Twice is not believed: the first line may be the client's own, which
/// a proxy passed on before it added its line.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    lines.next().is_none().then_some(first.as_bytes())
}

impl GeoFacts<'_> {
    /// What a trusted proxy says: a country code. Anything else (`XX`, `T1`, empty) is an unknown place.
    pub fn from_header(value: &[u8]) -> GeoFacts<'static> {
        let country = Country::parse(value.trim_ascii());
        GeoFacts { country, continent: country.and_then(Country::continent), ..GeoFacts::default() }
    }
}

impl Subdivision {
    /// Reads a code in either case, such as `US-CA` or `gb-eng`.
    pub fn parse(text: &[u8]) -> Option<Subdivision> {
        let (country, rest) = text.split_at_checked(2)?;
        let (hyphen, division) = rest.split_at_checked(1)?;
        if hyphen != b"-" { None } else { Subdivision::of(Country::parse(country)?, division) }
    }

    /// The division of a country, such as `CA` of `US`.
    pub fn of(country: Country, division: &[u8]) -> Option<Subdivision> {
        if !(1..=3).contains(&division.len()) || !division.iter().all(u8::is_ascii_alphanumeric) {
            return None;
        }
        let mut bytes = [0; SUBDIVISION_BYTES_MAX];
        bytes[..2].copy_from_slice(country.as_str().as_bytes());
        bytes[2] = b'-';
        for (to, from) in bytes[3..].iter_mut().zip(division) {
            *to = from.to_ascii_uppercase();
        }
        Some(Subdivision { bytes, length: 3 + division.len() as u8 })
    }

    /// The code in capitals.
    pub fn as_str(&self) -> &str {
        self.bytes.get(..usize::from(self.length)).and_then(|code| std::str::from_utf8(code).ok()).unwrap_or_default()
    }

    /// The country it belongs to.
    pub fn country(&self) -> Option<Country> {
        Country::parse(&self.bytes[..2])
    }
}

impl fmt::Display for Subdivision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Subdivision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_the_country() {
        let facts = GeoFacts::from_header(b" no ");
        assert_eq!(facts.country, Country::parse(b"NO"));
        assert_eq!(facts.continent, Some(Continent::Europe));
        for unknown in [&b"XX"[..], b"T1", b"", b"Norway", b"NO, SE", b"\xff\xff"] {
            assert_eq!(GeoFacts::from_header(unknown), GeoFacts::default(), "{unknown:?}");
        }
    }

    #[test]
    fn a_header_counts_from_trusted_peers_only() {
        let geo = Geo::Header(HeaderName::from_static("cf-ipcountry"));
        let headers = HeaderMap::from_iter([(HeaderName::from_static("cf-ipcountry"), "SE".parse().unwrap())]);
        let ip = "192.0.2.1".parse().unwrap();
        assert_eq!(geo.facts(ip, &headers, true).country, Country::parse(b"SE"));
        assert_eq!(geo.facts(ip, &headers, false), GeoFacts::default());
        assert_eq!(geo.facts(ip, &HeaderMap::new(), true), GeoFacts::default());
        let mut twice = headers.clone();
        twice.append("cf-ipcountry", "NO".parse().unwrap());
        assert_eq!(geo.facts(ip, &twice, true), GeoFacts::default(), "one of them may be the client's own");
    }

    #[test]
    fn subdivisions_are_a_country_and_a_division() {
        for (text, code) in [("US-CA", "US-CA"), ("gb-eng", "GB-ENG"), ("AT-9", "AT-9"), ("no-03", "NO-03")] {
            assert_eq!(Subdivision::parse(text.as_bytes()).unwrap().as_str(), code);
        }
        for wrong in ["", "US", "US-", "USCA", "US-CALI", "XX-CA", "US-C!", "US_CA", "CA"] {
            assert_eq!(Subdivision::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
