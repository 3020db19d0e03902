//! Texts that people read: those of strangers made safe to be shown, in a terminal, a log, or the annotations of a
//! build, and numbers as people write them.

use std::borrow::Cow;

/// Characters that are not shown as themselves, or that change how their neighbours are shown: C0 and C1 controls
/// (ANSI sequences, line breaks), separators of lines, bidirectional and invisible formatting (CVE-2021-42574).
pub fn is_deceiving(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text on one line, in which deceiving characters are escapes: `\n`, `\u{202e}`.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_deceiving) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    text.chars().for_each(|character| push_printable(&mut shown, character));
    Cow::Owned(shown)
}

/// Appends a character, or its escape.
pub fn push_printable(to: &mut String, character: char) {
    match character {
        '\t' | '\r' | '\n' => to.extend(character.escape_default()),
        deceiving if is_deceiving(deceiving) => to.extend(deceiving.escape_unicode()),
        harmless => to.push(harmless),
    }
}

/// A count with commas between groups of three digits: `1,234,567`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share of 1 in percent, exact to a bucket: `95 %`, `33.3333 %`, `0.0001 %`.
pub fn percent(share: f64) -> String {
    let text = format!("{:.4}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_deceives_is_shown_as_an_escape() {
        for (text, shown) in [
            ("it's `fine`: é 日 \\n", "it's `fine`: é 日 \\n"),
            ("a\r\n\tb", "a\\r\\n\\tb"),
            ("\u{1b}[2J\u{7f}\u{9b}", "\\u{1b}[2J\\u{7f}\\u{9b}"),
            ("\u{202e}x\u{2066}\u{feff}\u{2028}\u{e0041}", "\\u{202e}x\\u{2066}\\u{feff}\\u{2028}\\u{e0041}"),
        ] {
            assert_eq!(printable(text), shown);
            assert!(!printable(text).chars().any(is_deceiving));
        }
        assert!(matches!(printable("plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn counts_are_grouped_by_three() {
        for (count, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(count), text);
        }
    }

    #[test]
    fn shares_are_exact_to_a_bucket() {
        for (share, text) in
            [(1.0, "100 %"), (0.95, "95 %"), (1.0 / 3.0, "33.3333 %"), (1e-6, "0.0001 %"), (0.0, "0 %")]
        {
            assert_eq!(percent(share), text);
        }
    }
}
