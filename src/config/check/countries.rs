//! Country and continent codes.

/// The continent codes of the usual geo databases.
pub(super) const CONTINENTS: [&str; 7] = ["AF", "AN", "AS", "EU", "NA", "OC", "SA"];

/// ISO 3166-1 alpha-2, and `XK` for Kosovo, `XX` and `T1` for unknown places and Tor, as databases and content
/// networks write them.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ \
    BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER \
    ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM \
    IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF \
    MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK \
    PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD \
    TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW XK XX T1";

/// What people write instead of the code.
const MEANT: [(&str, &str); 12] = [
    ("UK", "GB"),
    ("EN", "GB"),
    ("EL", "GR"),
    ("JA", "JP"),
    ("SU", "RU"),
    ("YU", "RS"),
    ("USA", "US"),
    ("GBR", "GB"),
    ("NOR", "NO"),
    ("DEU", "DE"),
    ("NORWAY", "NO"),
    ("GERMANY", "DE"),
];

pub(super) fn is_country(code: &str) -> bool {
    code.len() == 2 && COUNTRIES.split_ascii_whitespace().any(|country| country == code)
}

/// The code that a wrong one most likely stands for.
pub(super) fn meant(code: &str) -> Option<String> {
    let upper = code.to_ascii_uppercase();
    if is_country(&upper) {
        return Some(upper);
    }
    MEANT.iter().find(|(wrong, _)| *wrong == upper).map(|(_, right)| (*right).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_countries_of_the_standard_are_there() {
        assert_eq!(COUNTRIES.split_ascii_whitespace().count(), 249 + 3);
        assert_eq!(meant("UK").as_deref(), Some("GB"));
        assert_eq!(meant("no").as_deref(), Some("NO"));
        assert_eq!(meant("QQ"), None);
    }
}
