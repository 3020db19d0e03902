//! Strings and numbers of JSON, written without anything in between.

use crate::model::is_deceiving;

/// Appends a JSON string (RFC 8259) of at most `max` bytes of `text`, whatever its bytes are.
///
/// Besides what JSON demands, all characters that could deceive someone who reads the log in a terminal or an
/// editor are escaped (see [`is_deceiving`]). Bytes that are not UTF-8 become U+FFFD.
pub(super) fn push_string(to: &mut Vec<u8>, text: &[u8], max: usize) {
    let text = &text[..text.len().min(max)];
    to.push(b'"');
    if is_all_plain(text) {
        to.extend_from_slice(text);
    } else {
        push_escaped(to, text);
    }
    to.push(b'"');
}

/// Appends a decimal number.
pub(super) fn push_number(to: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    to.extend_from_slice(&digits[at..]);
}

/// Looks at every byte, because without a way out in between the compiler does so many at a time.
fn is_all_plain(text: &[u8]) -> bool {
    text.iter().fold(true, |all, byte| all & is_plain(*byte))
}

/// ASCII that stands for itself inside of a JSON string.
fn is_plain(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\'
}

fn push_escaped(to: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => to.extend_from_slice(b"\\\""),
                '\\' => to.extend_from_slice(b"\\\\"),
                deceiving if is_deceiving(deceiving) => push_unicode_escape(to, deceiving),
                harmless => to.extend_from_slice(harmless.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            to.extend_from_slice(b"\\ufffd");
        }
    }
}

fn push_unicode_escape(to: &mut Vec<u8>, character: char) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for unit in character.encode_utf16(&mut [0; 2]) {
        let digit = |shift: u32| HEX[usize::from(*unit >> shift & 0xf)];
        to.extend_from_slice(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(text: &[u8], max: usize) -> String {
        let mut to = Vec::new();
        push_string(&mut to, text, max);
        String::from_utf8(to).unwrap()
    }

    #[test]
    fn strings_are_escaped() {
        for (text, json) in [
            ("/shop", r#""/shop""#),
            (r#"a"b\c"#, r#""a\"b\\c""#),
            ("é日", "\"é日\""),
            ("\r\n\0\x1b[31m\x7f\u{9b}", r#""\u000d\u000a\u0000\u001b[31m\u007f\u009b""#),
            ("\u{202e}evil\u{2066}\u{feff}\u{2028}", r#""\u202eevil\u2066\ufeff\u2028""#),
            ("\u{e0041}", r#""\udb40\udc41""#),
        ] {
            assert_eq!(written(text.as_bytes(), 100), json);
        }
        assert_eq!(written(b"a\xff\xfeb", 100), r#""a\ufffd\ufffdb""#);
        assert_eq!(written("日日".as_bytes(), 4), "\"日\\ufffd\"");
    }

    #[test]
    fn numbers_are_decimal() {
        for number in [0, 7, 10, 1_234, u64::MAX] {
            let mut to = Vec::new();
            push_number(&mut to, number);
            assert_eq!(to, number.to_string().as_bytes());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_make_one_json_string(text in proptest::collection::vec(any::<u8>(), 0..200), max in 0usize..200) {
            let json = written(&text, max);
            let parsed: String = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(parsed, String::from_utf8_lossy(&text[..text.len().min(max)]));
            prop_assert!(!json.chars().any(is_deceiving));
        }
    }
}
