//! Countries and continents, as two letters each.

use std::fmt;

/// An ISO 3166-1 alpha-2 code that is assigned, or `XK` (Kosovo, which geo databases use), such as `NO`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

/// A continent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Continent {
    /// `AF`.
    Africa,
    /// `AN`.
    Antarctica,
    /// `AS`.
    Asia,
    /// `EU`.
    Europe,
    /// `NA`.
    NorthAmerica,
    /// `OC`.
    Oceania,
    /// `SA`.
    SouthAmerica,
}

impl Country {
    /// Reads a code in either case; `None` where no country has it.
    pub const fn parse(text: &[u8]) -> Option<Country> {
        let [first, second] = *text else { return None };
        let code = [first.to_ascii_uppercase(), second.to_ascii_uppercase()];
        match slot(code) {
            Some(slot) if CONTINENTS[slot].is_some() => Some(Country(code)),
            _ => None,
        }
    }

    /// The code in capitals.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The continent that geo databases put the country on.
    pub fn continent(self) -> Option<Continent> {
        slot(self.0).and_then(|slot| CONTINENTS[slot])
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Continent {
    /// Reads a code in either case.
    pub fn parse(text: &[u8]) -> Option<Continent> {
        let [first, second] = *text else { return None };
        Some(match &[first.to_ascii_uppercase(), second.to_ascii_uppercase()] {
            b"AF" => Continent::Africa,
            b"AN" => Continent::Antarctica,
            b"AS" => Continent::Asia,
            b"EU" => Continent::Europe,
            b"NA" => Continent::NorthAmerica,
            b"OC" => Continent::Oceania,
            b"SA" => Continent::SouthAmerica,
            _ => return None,
        })
    }

    /// The code in capitals.
    pub fn as_str(self) -> &'static str {
        match self {
            Continent::Africa => "AF",
            Continent::Antarctica => "AN",
            Continent::Asia => "AS",
            Continent::Europe => "EU",
            Continent::NorthAmerica => "NA",
            Continent::Oceania => "OC",
            Continent::SouthAmerica => "SA",
        }
    }
}

impl fmt::Display for Continent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Countries by continent, divided as GeoNames does it (and with it the common geo databases): Cyprus and Russia
/// in Europe, Turkey and the Caucasus in Asia, Timor-Leste in Oceania.
const BY_CONTINENT: [(Continent, &str); 7] = [
    (
        Continent::Africa,
        "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR LS LY MA MG ML MR MU MW MZ \
         NA NE NG RE RW SC SD SH SL SN SO SS ST SZ TD TG TN TZ UG YT ZA ZM ZW",
    ),
    (Continent::Antarctica, "AQ BV GS HM TF"),
    (
        Continent::Asia,
        "AE AF AM AZ BD BH BN BT CC CN CX GE HK ID IL IN IO IQ IR JO JP KG KH KP KR KW KZ LA LB LK MM MN MO MV MY \
         NP OM PH PK PS QA SA SG SY TH TJ TM TR TW UZ VN YE",
    ),
    (
        Continent::Europe,
        "AD AL AT AX BA BE BG BY CH CY CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE LI LT LU LV MC MD \
         ME MK MT NL NO PL PT RO RS RU SE SI SJ SK SM UA VA XK",
    ),
    (
        Continent::NorthAmerica,
        "AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS MX NI PA PM PR SV SX \
         TC TT US VC VG VI",
    ),
    (Continent::Oceania, "AS AU CK FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TL TO TV UM VU WF WS"),
    (Continent::SouthAmerica, "AR BO BR CL CO EC FK GF GY PE PY SR UY VE"),
];

const LETTERS: usize = 26;

/// The continent of each pair of letters, so that a look-up is one load.
const CONTINENTS: [Option<Continent>; LETTERS * LETTERS] = by_letters();

const fn by_letters() -> [Option<Continent>; LETTERS * LETTERS] {
    let mut table = [None; LETTERS * LETTERS];
    let mut row = 0;
    while row < BY_CONTINENT.len() {
        let (continent, codes) = BY_CONTINENT[row];
        let codes = codes.as_bytes();
        let mut at = 0;
        while at + 1 < codes.len() {
            if let Some(slot) = slot([codes[at], codes[at + 1]]) {
                table[slot] = Some(continent);
            }
            at += 3;
        }
        row += 1;
    }
    table
}

const fn slot(code: [u8; 2]) -> Option<usize> {
    if !code[0].is_ascii_uppercase() || !code[1].is_ascii_uppercase() {
        return None;
    }
    Some((code[0] - b'A') as usize * LETTERS + (code[1] - b'A') as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ISO 3166-1 alpha-2, as Debian's `iso-codes` has it.
    const ISO_3166: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ \
        BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER \
        ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM \
        IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF \
        MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK \
        PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD \
        TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

    #[test]
    fn every_country_is_on_exactly_one_continent() {
        let mut known: Vec<&str> = BY_CONTINENT.iter().flat_map(|(_, codes)| codes.split_whitespace()).collect();
        known.sort_unstable();
        let mut expected: Vec<&str> = ISO_3166.split_whitespace().collect();
        assert_eq!(expected.len(), 249);
        expected.push("XK");
        expected.sort_unstable();
        assert_eq!(known, expected);
        assert_eq!(CONTINENTS.iter().flatten().count(), 250);
    }

    #[test]
    fn codes_are_read_in_either_case() {
        assert_eq!(Country::parse(b"no").map(|country| country.to_string()), Some("NO".to_owned()));
        for wrong in [&b""[..], b"N", b"NOR", b"XX", b"T1", b"UK", b"\xc3\xb8", b"1A"] {
            assert_eq!(Country::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn continents_follow_from_countries() {
        for (country, continent) in
            [("NO", "EU"), ("JP", "AS"), ("US", "NA"), ("BR", "SA"), ("NA", "AF"), ("AQ", "AN"), ("AS", "OC")]
        {
            let found = Country::parse(country.as_bytes()).and_then(Country::continent);
            assert_eq!(found.map(Continent::as_str), Some(continent), "{country}");
            assert_eq!(Continent::parse(continent.to_lowercase().as_bytes()), found);
        }
    }
}
