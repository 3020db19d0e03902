//! A table of networks with their places, as CSV.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;
use std::collections::HashSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use super::csv::{self, Column, Columns};
use super::source::{self, Access, FileProblem};
use super::{Continent, Country, GeoFacts, Subdivision};
use crate::config::values::unmapped;

/// The most bytes of a geo table.
pub const GEO_TABLE_BYTES_MAX: usize = 512 << 20;

/// The most networks of a geo table.
pub const GEO_TABLE_ROWS_MAX: usize = 5_000_000;

/// Networks with their places; the longest prefix wins.
#[derive(Debug, Default)]
pub struct GeoTable {
    v4: PrefixMap<Ipv4Net, Row>,
    v6: PrefixMap<Ipv6Net, Row>,
}

#[derive(Debug)]
struct Row {
    country: Option<Country>,
    continent: Option<Continent>,
    subdivision: Option<Subdivision>,
    city: Option<Arc<str>>,
    asn: Option<u32>,
}

impl GeoTable {
    /// Reads a table from a file.
    ///
    /// # Errors
    /// The file cannot be read, may be written by everyone, or is not a table (see [`GeoTable::parse`]).
    pub fn load(path: &Path) -> Result<GeoTable, FileProblem> {
        GeoTable::parse(&source::read(path, GEO_TABLE_BYTES_MAX, Access::Public)?)
    }

    /// A header line that names the columns (`cidr` and `country`, and where known `continent`, `subdivision`,
    /// `city` and `asn`, in any order), then one network a line. Fields may be quoted as in RFC 4180; an empty
    /// field is unknown; blank lines and lines that begin with `#` are skipped.
    ///
    /// # Errors
    /// A column is unknown, missing or there twice, a value is not what its column holds, or a network is there
    /// twice.
    pub fn parse(bytes: &[u8]) -> Result<GeoTable, FileProblem> {
        let lines = source::text(bytes)?.lines().enumerate().map(|(at, line)| (at + 1, line));
        let mut lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let (at, header) = lines.next().ok_or_else(|| FileProblem::whole(csv::NO_HEADER))?;
        let columns = Columns::parse(header).map_err(|message| FileProblem::at(at, message))?;
        let mut table = GeoTable::default();
        let mut cities = HashSet::new();
        for (rows, (at, line)) in lines.enumerate() {
            if rows >= GEO_TABLE_ROWS_MAX {
                return Err(FileProblem::at(at, "is beyond the 5,000,000 networks that a geo table may have"));
            }
            table.add(&columns, line, &mut cities).map_err(|message| FileProblem::at(at, message))?;
        }
        Ok(table)
    }

    /// The place of the longest network that has this address.
    pub fn facts(&self, ip: IpAddr) -> GeoFacts<'_> {
        let row = match ip.to_canonical() {
            IpAddr::V4(ip) => self.v4.get_lpm(&ip.into()).map(|(_, row)| row),
            IpAddr::V6(ip) => self.v6.get_lpm(&ip.into()).map(|(_, row)| row),
        };
        row.map(Row::facts).unwrap_or_default()
    }

    /// How many networks there are.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether there is no network at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn add(&mut self, columns: &Columns, line: &str, cities: &mut HashSet<Arc<str>>) -> Result<(), String> {
        let fields = columns.split(line)?;
        let network = network(&fields[Column::Cidr])?;
        let row = Row::parse(&fields, cities)?;
        let replaced = match network {
            IpNet::V4(network) => self.v4.insert(network, row).is_some(),
            IpNet::V6(network) => self.v6.insert(network, row).is_some(),
        };
        if replaced { Err(format!("has the network {network} that an earlier line has already")) } else { Ok(()) }
    }
}

impl Row {
    fn parse(fields: &csv::Fields<'_>, cities: &mut HashSet<Arc<str>>) -> Result<Row, String> {
        let country = known(&fields[Column::Country], country)?;
        let continent = known(&fields[Column::Continent], continent)?;
        let subdivision = known(&fields[Column::Subdivision], |text| subdivision(text, country))?;
        let asn = known(&fields[Column::Asn], asn)?;
        let city = known(&fields[Column::City], |name| Ok(shared(name, cities)))?;
        Ok(Row { country, continent: continent.or(country.and_then(Country::continent)), subdivision, city, asn })
    }

    fn facts(&self) -> GeoFacts<'_> {
        GeoFacts {
            country: self.country,
            continent: self.continent,
            subdivision: self.subdivision,
            city: self.city.as_deref(),
            asn: self.asn,
        }
    }
}

fn known<T>(field: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if field.is_empty() { Ok(None) } else { parse(field).map(Some) }
}

/// A network as it is looked up: IPv4 where it is IPv4 in the clothes of IPv6.
fn network(text: &str) -> Result<IpNet, String> {
    let network: IpNet = match text.parse::<IpNet>() {
        Ok(network) => network,
        Err(_) => text
            .parse::<IpAddr>()
            .map(IpNet::from)
            .map_err(|_| format!("has `{text}` as cidr; write a network such as 192.0.2.0/24 or 2001:db8::/32"))?,
    };
    if network.trunc() != network {
        return Err(format!("has `{text}` as cidr, with bits beyond its prefix; did you mean {}?", network.trunc()));
    }
    Ok(unmapped(network))
}

fn country(text: &str) -> Result<Country, String> {
    Country::parse(text.as_bytes()).ok_or_else(|| {
        let hint = match text.to_ascii_uppercase().as_str() {
            "UK" => "; did you mean GB?",
            "EL" => "; did you mean GR?",
            _ => "; leave it empty where the country is unknown",
        };
        format!("has `{text}` as country, which is not an ISO 3166-1 code of two letters{hint}")
    })
}

fn continent(text: &str) -> Result<Continent, String> {
    Continent::parse(text.as_bytes())
        .ok_or_else(|| format!("has `{text}` as continent; the codes are AF, AN, AS, EU, NA, OC and SA"))
}

/// A whole code (`US-CA`), or the part after the hyphen of the row's country (`CA`).
fn subdivision(text: &str, country: Option<Country>) -> Result<Subdivision, String> {
    Subdivision::parse(text.as_bytes())
        .or_else(|| Subdivision::of(country?, text.as_bytes()))
        .ok_or_else(|| format!("has `{text}` as subdivision, which is not an ISO 3166-2 code such as US-CA"))
}

/// Digits, with or without `AS` in front.
fn asn(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("AS").unwrap_or(text);
    match digits.parse() {
        Ok(number) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(number),
        _ => Err(format!("has `{text}` as asn; write a number such as 2119")),
    }
}

/// One text for all the networks of a city.
fn shared(name: &str, cities: &mut HashSet<Arc<str>>) -> Arc<str> {
    if let Some(city) = cities.get(name) {
        return Arc::clone(city);
    }
    let city: Arc<str> = name.into();
    cities.insert(Arc::clone(&city));
    city
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(text: &str) -> GeoTable {
        GeoTable::parse(text.as_bytes()).unwrap()
    }

    fn at<'t>(table: &'t GeoTable, ip: &str) -> GeoFacts<'t> {
        table.facts(ip.parse().unwrap())
    }

    fn country_at(table: &GeoTable, ip: &str) -> Option<String> {
        at(table, ip).country.map(|country| country.to_string())
    }

    #[test]
    fn the_longest_prefix_wins() {
        let table = table(
            "cidr,country\n0.0.0.0/0,US\n10.0.0.0/8,NO\n10.1.0.0/16,SE\n10.1.2.3,DK\n2001:db8::/32,FI\n2001:db8:1::/48,IS\n",
        );
        for (ip, country) in [
            ("10.2.0.1", Some("NO")),
            ("10.1.0.1", Some("SE")),
            ("10.1.2.3", Some("DK")),
            ("10.1.2.4", Some("SE")),
            ("192.0.2.1", Some("US")),
            ("2001:db8::1", Some("FI")),
            ("2001:db8:1::1", Some("IS")),
            ("2001:db9::1", None),
            ("::ffff:10.1.2.3", Some("DK")),
        ] {
            assert_eq!(country_at(&table, ip).as_deref(), country, "{ip}");
        }
        assert_eq!(table.len(), 6);
    }

    #[test]
    fn columns_come_in_any_order_and_may_be_quoted() {
        let table = table(
            "\u{feff}asn, city ,cidr,country,subdivision,continent\r\n\
             # the capital\r\n\
             AS2119,Oslo,192.0.2.0/24,no,NO-03,\r\n\
             \r\n\
             ,\"Washington, \"\"D.C.\"\"\",198.51.100.0/24,US,DC,NA\r\n",
        );
        assert_eq!(
            at(&table, "192.0.2.9"),
            GeoFacts {
                country: Country::parse(b"NO"),
                continent: Some(Continent::Europe),
                subdivision: Subdivision::parse(b"NO-03"),
                city: Some("Oslo"),
                asn: Some(2119),
            }
        );
        let washington = at(&table, "198.51.100.1");
        assert_eq!((washington.city, washington.asn), (Some("Washington, \"D.C.\""), None));
        assert_eq!(washington.subdivision, Subdivision::parse(b"US-DC"));
    }

    #[test]
    fn the_continent_that_is_written_wins() {
        let table = table("cidr,country,continent\n192.0.2.0/24,TR,EU\n198.51.100.0/24,TR,\n203.0.113.0/24,,AS\n");
        assert_eq!(at(&table, "192.0.2.1").continent, Some(Continent::Europe));
        assert_eq!(at(&table, "198.51.100.1").continent, Some(Continent::Asia));
        assert_eq!(at(&table, "203.0.113.1"), GeoFacts { continent: Some(Continent::Asia), ..GeoFacts::default() });
    }

    #[test]
    fn a_mapped_network_is_an_ipv4_network() {
        let table = table("cidr,country\n::ffff:192.0.2.0/120,NO\n");
        assert_eq!(country_at(&table, "192.0.2.7").as_deref(), Some("NO"));
        assert_eq!(country_at(&table, "::ffff:192.0.2.7").as_deref(), Some("NO"));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, line, says) in [
            ("", None, "has no header line"),
            ("# only this\n\n", None, "has no header line"),
            ("10.0.0.0/8,NO\n", Some(1), "unknown column `10.0.0.0/8`"),
            ("cidr\n", Some(1), "no column `country`"),
            ("country\n", Some(1), "no column `cidr`"),
            ("cidr,country,county\n", Some(1), "unknown column `county`"),
            ("cidr,country,cidr\n", Some(1), "column `cidr` twice"),
            ("cidr,country\n10.0.0.0/8\n", Some(2), "1 field, but the header line has 2"),
            ("cidr,country\n10.0.0.0/8,NO,x\n", Some(2), "3 fields, but the header line has 2"),
            ("cidr,country\n\nten,NO\n", Some(3), "`ten` as cidr"),
            ("cidr,country\n10.0.0.0/33,NO\n", Some(2), "`10.0.0.0/33` as cidr"),
            ("cidr,country\n10.0.0.1/8,NO\n", Some(2), "did you mean 10.0.0.0/8?"),
            ("cidr,country\n10.0.0.0/8,UK\n", Some(2), "did you mean GB?"),
            ("cidr,country\n10.0.0.0/8,Norway\n", Some(2), "not an ISO 3166-1 code"),
            ("cidr,country,continent\n10.0.0.0/8,NO,Europe\n", Some(2), "`Europe` as continent"),
            ("cidr,country,subdivision\n10.0.0.0/8,NO,Oslo\n", Some(2), "`Oslo` as subdivision"),
            ("cidr,country,asn\n10.0.0.0/8,NO,+5\n", Some(2), "`+5` as asn"),
            ("cidr,country\n10.0.0.0/8,NO\n10.0.0.0/8,SE\n", Some(3), "network 10.0.0.0/8 that an earlier line"),
            ("cidr,country\n10.0.0.0/8,\"NO\n", Some(2), "quote that is not closed"),
            ("cidr,country\n10.0.0.0/8,\"NO\"x\n", Some(2), "text after a closing quote"),
        ] {
            let problem = GeoTable::parse(text.as_bytes()).unwrap_err();
            assert_eq!(problem.line, line, "{text:?}: {problem}");
            assert!(problem.message.contains(says), "{text:?}: {problem}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_table_or_a_problem(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = GeoTable::parse(&bytes);
        }

        #[test]
        fn any_rows_are_a_table_or_a_problem(rows in "(([0-9./:a-f]{0,12}|[\",A-Z]{0,3}),?){0,12}\n?") {
            let _ = GeoTable::parse(format!("cidr,country,city\n{rows}").as_bytes());
        }

        #[test]
        fn the_trie_agrees_with_a_scan(networks in proptest::collection::btree_set((any::<u32>(), 0u8..=32), 1..30), ip in any::<u32>()) {
            let codes = ["NO", "SE", "DK", "FI", "IS"];
            let networks: std::collections::BTreeSet<Ipv4Net> =
                networks.into_iter().map(|(address, bits)| Ipv4Net::new(address.into(), bits).unwrap().trunc()).collect();
            let rows: Vec<_> = networks.iter().zip(codes.iter().cycle()).collect();
            let text: String = rows.iter().map(|(network, code)| format!("{network},{code}\n")).collect();
            let ip = std::net::Ipv4Addr::from(ip);
            let expected = rows.iter().filter(|(network, _)| network.contains(&ip)).max_by_key(|(network, _)| network.prefix_len());
            let table = table(&format!("cidr,country\n{text}"));
            prop_assert_eq!(country_at(&table, &ip.to_string()), expected.map(|(_, code)| code.to_string()));
        }
    }
}
