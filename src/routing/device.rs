//! The platform of a client, from what browsers say of themselves.

use http::{HeaderMap, header};

use crate::config::schema::Platform;

const SEC_CH_UA_PLATFORM: &str = "sec-ch-ua-platform";

/// The most bytes of a `User-Agent` that are looked at.
pub const USER_AGENT_BYTES_MAX: usize = 512;

/// The platform that a request says it comes from: `Sec-CH-UA-Platform` where the browser sends a name that is
/// known, else `User-Agent`. Robots, televisions, ChromeOS and what says nothing are [`Platform::Other`].
///
/// An iPad that asks for desktop pages says it is a Mac, and cannot be told from one.
pub fn platform(headers: &HeaderMap) -> Platform {
    let hint = headers.get(SEC_CH_UA_PLATFORM).and_then(|value| from_hint(value.as_bytes()));
    hint.unwrap_or_else(|| {
        headers.get(header::USER_AGENT).map_or(Platform::Other, |value| from_agent(value.as_bytes()))
    })
}

/// The platform of a client hint, a string in quotes (User-Agent Client Hints); `None` where it is not a name that
/// is known.
fn from_hint(value: &[u8]) -> Option<Platform> {
    match value.trim_ascii() {
        b"\"iOS\"" => Some(Platform::Ios),
        b"\"Android\"" => Some(Platform::Android),
        b"\"Windows\"" => Some(Platform::Windows),
        b"\"macOS\"" => Some(Platform::Macos),
        b"\"Linux\"" => Some(Platform::Linux),
        b"\"Chrome OS\"" | b"\"Chromium OS\"" => Some(Platform::Other),
        _ => None,
    }
}

/// Words of a `User-Agent`, the first that it has deciding. The order matters: iPhones say "like Mac OS X", Android
/// says "Linux", Windows Phone says both "Android" and "iPhone", and televisions and ChromeOS say "Linux" or "X11".
const WORDS: [(&[u8], Platform); 20] = [
    (b"Windows Phone", Platform::Other),
    (b"Tizen", Platform::Other),
    (b"Web0S", Platform::Other),
    (b"SmartTV", Platform::Other),
    (b"KAIOS", Platform::Other),
    (b"OpenHarmony", Platform::Other),
    (b"CrOS", Platform::Other),
    (b"facebookexternalhit", Platform::Other),
    (b"Slurp", Platform::Other),
    (b"Mediapartners-Google", Platform::Other),
    (b"iPhone", Platform::Ios),
    (b"iPad", Platform::Ios),
    (b"iPod", Platform::Ios),
    (b"Windows", Platform::Windows),
    (b"Android", Platform::Android),
    (b"Macintosh", Platform::Macos),
    (b"Mac OS X", Platform::Macos),
    (b"macOS", Platform::Macos),
    (b"X11", Platform::Linux),
    (b"Linux", Platform::Linux),
];

/// Parts of a word, in any case, that make its bearer a robot.
const ROBOTS: [&[u8]; 3] = [b"bot", b"spider", b"crawl"];

/// Bytes with which a word or a robot begins, so that the others cost one look.
const BEGINS_WORD: [bool; 256] = {
    let mut table = [false; 256];
    let mut at = 0;
    while at < WORDS.len() {
        table[WORDS[at].0[0] as usize] = true;
        at += 1;
    }
    at = 0;
    while at < ROBOTS.len() {
        table[ROBOTS[at][0] as usize] = true;
        table[ROBOTS[at][0].to_ascii_uppercase() as usize] = true;
        at += 1;
    }
    table
};

/// One pass that keeps the word that comes first in [`WORDS`], not in the text.
fn from_agent(agent: &[u8]) -> Platform {
    let agent = &agent[..agent.len().min(USER_AGENT_BYTES_MAX)];
    let mut best = WORDS.len();
    for at in (0..agent.len()).filter(|at| BEGINS_WORD[usize::from(agent[*at])]) {
        if is_robot(agent, at) {
            return Platform::Other;
        }
        if let Some(rank) = WORDS[..best].iter().position(|(word, _)| agent[at..].starts_with(word)) {
            best = rank;
        }
    }
    WORDS.get(best).map_or(Platform::Other, |(_, platform)| *platform)
}

/// Whether a robot's word begins here. The phones of CUBOT are no robots.
fn is_robot(agent: &[u8], at: usize) -> bool {
    let begins = |word: &&[u8]| agent[at..].get(..word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word));
    let is_phone = at >= 2 && agent[at - 2..at].eq_ignore_ascii_case(b"cu");
    !is_phone && ROBOTS.iter().any(begins)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    fn of_agent(agent: &str) -> Platform {
        platform(&HeaderMap::from_iter([(header::USER_AGENT, agent.parse().unwrap())]))
    }

    #[test]
    fn user_agents_of_the_world() {
        use Platform::{Android, Ios, Linux, Macos, Other, Windows};
        for (agent, expected) in [
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Mobile/15E148 Safari/604.1",
                Ios,
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/122.0.6261.89 Mobile/15E148 Safari/604.1",
                Ios,
            ),
            (
                "Mozilla/5.0 (iPad; CPU OS 12_5_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/12.1.2 Mobile/15E148 Safari/604.1",
                Ios,
            ),
            (
                "Mozilla/5.0 (iPod touch; CPU iPhone OS 12_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
                Ios,
            ),
            ("Shop/4.2 (iPhone; iOS 17.0; Scale/3.00)", Ios),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15",
                Macos,
            ),
            ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:124.0) Gecko/20100101 Firefox/124.0", Macos),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0.0.0 Mobile Safari/537.36",
                Android,
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; SM-X710) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/24.0 Chrome/117.0.0.0 Safari/537.36",
                Android,
            ),
            ("Mozilla/5.0 (Android 14; Mobile; rv:124.0) Gecko/124.0 Firefox/124.0", Android),
            (
                "Mozilla/5.0 (Linux; Android 9; CUBOT_X18_Plus) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/88.0.4324.152 Mobile Safari/537.36",
                Android,
            ),
            ("Dalvik/2.1.0 (Linux; U; Android 13; Pixel 7 Build/TQ3A.230901.001)", Android),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0.0.0 Safari/537.36 Edg/122.0.2365.92",
                Windows,
            ),
            ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:124.0) Gecko/20100101 Firefox/124.0", Windows),
            ("Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2; Trident/6.0)", Windows),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0.0.0 Safari/537.36",
                Linux,
            ),
            ("Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:124.0) Gecko/20100101 Firefox/124.0", Linux),
            (
                "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0.0.0 Safari/537.36",
                Other,
            ),
            (
                "Mozilla/5.0 (Windows Phone 10.0; Android 6.0.1; Microsoft; Lumia 950) AppleWebKit/537.36 (KHTML, like Gecko, like iPhone) Chrome/52.0 Mobile Safari/537.36 Edge/15.15254",
                Other,
            ),
            (
                "Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) AppleWebKit/537.36 (KHTML, like Gecko) 76.0.3809.146/6.0 TV Safari/537.36",
                Other,
            ),
            (
                "Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/87.0.4280.88 Safari/537.36 WebAppManager",
                Other,
            ),
            ("Mozilla/5.0 (Mobile; Nokia 2720 Flip; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5.2", Other),
            (
                "Mozilla/5.0 (Phone; OpenHarmony 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.0.0 Safari/537.36 ArkWeb/4.1.6.1 Mobile",
                Other,
            ),
            ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", Other),
            (
                "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0.6261.94 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
                Other,
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 14_7_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/14.1.2 Mobile/15E148 Safari/604.1 (compatible; AdsBot-Google-Mobile; +http://www.google.com/mobile/adsbot.html)",
                Other,
            ),
            ("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", Other),
            ("Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)", Other),
            ("Mozilla/5.0 (compatible; Yahoo! Slurp; http://help.yahoo.com/help/us/ysearch/slurp)", Other),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.1.1 Safari/605.1.15 (Applebot/0.1; +http://www.apple.com/go/applebot)",
                Other,
            ),
            ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", Other),
            ("SomeCrawler/1.0 (Linux)", Other),
            ("curl/8.5.0", Other),
            ("okhttp/4.12.0", Other),
            ("Shop/4.2 CFNetwork/1494.0.7 Darwin/23.4.0", Other),
            ("kube-probe/1.29", Other),
            ("", Other),
        ] {
            assert_eq!(of_agent(agent), expected, "{agent}");
        }
    }

    #[test]
    fn the_hint_counts_before_the_agent() {
        let windows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)";
        for (hint, expected) in [
            ("\"Android\"", Platform::Android),
            ("\"iOS\"", Platform::Ios),
            ("\"macOS\"", Platform::Macos),
            ("\"Linux\"", Platform::Linux),
            ("\"Windows\"", Platform::Windows),
            ("\"Chrome OS\"", Platform::Other),
            ("\"Chromium OS\"", Platform::Other),
            (" \"Android\" ", Platform::Android),
            ("\"Unknown\"", Platform::Windows),
            ("\"\"", Platform::Windows),
            ("Android", Platform::Windows),
            ("", Platform::Windows),
        ] {
            let headers = HeaderMap::from_iter([
                (HeaderName::from_static(SEC_CH_UA_PLATFORM), hint.parse().unwrap()),
                (header::USER_AGENT, windows.parse().unwrap()),
            ]);
            assert_eq!(platform(&headers), expected, "{hint}");
        }
        assert_eq!(platform(&HeaderMap::new()), Platform::Other);
    }

    #[test]
    fn a_long_agent_is_looked_at_in_part() {
        assert_eq!(of_agent(&format!("{} iPhone", "x".repeat(USER_AGENT_BYTES_MAX))), Platform::Other);
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_agent(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = from_agent(&bytes);
            let _ = from_hint(&bytes);
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let _ = platform(&HeaderMap::from_iter([(header::USER_AGENT, value)]));
            }
        }
    }
}
