//! Words as a POSIX shell splits them, with the `$'..'` that browsers paste.

use std::iter::Peekable;
use std::str::Chars;

/// The most bytes of a line.
const LINE_BYTES_MAX: usize = 256 * 1024;

/// The words of a command, and what was passed over.
pub(crate) fn split(text: &str) -> Result<(Vec<String>, Vec<String>), String> {
    if text.len() > LINE_BYTES_MAX {
        return Err("the line is longer than 256 KiB".to_owned());
    }
    let (mut words, mut notes) = (Vec::new(), Vec::new());
    let mut word: Option<String> = None;
    let mut has_variable = false;
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '\'' => quoted_plainly(&mut rest, word.get_or_insert_default())?,
            '"' => has_variable |= quoted(&mut rest, word.get_or_insert_default())?,
            '$' if rest.peek() == Some(&'\'') => {
                rest.next();
                quoted_in_c(&mut rest, word.get_or_insert_default())?;
            }
            '\\' => match rest.next() {
                Some('\n') | None => {}
                Some('\r') if rest.peek() == Some(&'\n') => {
                    rest.next();
                }
                Some(escaped) => word.get_or_insert_default().push(escaped),
            },
            '|' | ';' | '<' | '>' | '&' => {
                // `2>file`: the number belongs to what is passed over
                word = word.filter(|word| !(next == '>' && word.chars().all(|c| c.is_ascii_digit())));
                notes.push(format!("what follows `{next}` is passed over"));
                break;
            }
            '\n' if !words.is_empty() || word.is_some() => break,
            next if next.is_whitespace() => words.extend(word.take()),
            next => {
                has_variable |= next == '`' || (next == '$' && rest.peek().is_some_and(|c| is_variable_start(*c)));
                word.get_or_insert_default().push(next);
            }
        }
    }
    words.extend(word);
    if has_variable {
        notes.push("variables and substitutions of the shell stand for themselves".to_owned());
    }
    Ok((words, notes))
}

const NOT_CLOSED: &str = "a quote is not closed";

fn is_variable_start(next: char) -> bool {
    next.is_ascii_alphabetic() || matches!(next, '_' | '{' | '(')
}

fn quoted_plainly(rest: &mut Peekable<Chars<'_>>, word: &mut String) -> Result<(), String> {
    loop {
        match rest.next().ok_or(NOT_CLOSED)? {
            '\'' => return Ok(()),
            next => word.push(next),
        }
    }
}

/// True when there is a variable or a substitution in it.
fn quoted(rest: &mut Peekable<Chars<'_>>, word: &mut String) -> Result<bool, String> {
    let mut has_variable = false;
    loop {
        match rest.next().ok_or(NOT_CLOSED)? {
            '"' => return Ok(has_variable),
            '\\' => match rest.next().ok_or(NOT_CLOSED)? {
                '\n' => {}
                escaped @ ('"' | '\\' | '$' | '`') => word.push(escaped),
                other => word.extend(['\\', other]),
            },
            next => {
                has_variable |= next == '`' || (next == '$' && rest.peek().is_some_and(|c| is_variable_start(*c)));
                word.push(next);
            }
        }
    }
}

/// `$'..'` with the escapes of C.
fn quoted_in_c(rest: &mut Peekable<Chars<'_>>, word: &mut String) -> Result<(), String> {
    loop {
        match rest.next().ok_or(NOT_CLOSED)? {
            '\'' => return Ok(()),
            '\\' => match rest.next().ok_or(NOT_CLOSED)? {
                'n' => word.push('\n'),
                't' => word.push('\t'),
                'r' => word.push('\r'),
                'x' => word.extend(hexadecimal(rest, 2)),
                'u' => word.extend(hexadecimal(rest, 4)),
                'U' => word.extend(hexadecimal(rest, 8)),
                other => word.push(other),
            },
            next => word.push(next),
        }
    }
}

fn hexadecimal(rest: &mut Peekable<Chars<'_>>, digits_max: usize) -> Option<char> {
    let mut number = 0;
    for _ in 0..digits_max {
        let Some(digit) = rest.peek().and_then(|c| c.to_digit(16)) else { break };
        number = number * 16 + digit;
        rest.next();
    }
    char::from_u32(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        for (text, expected) in [
            ("a  b\tc", &["a", "b", "c"][..]),
            ("'a b' \"c d\" e\\ f", &["a b", "c d", "e f"]),
            ("a'b'\"c\"d", &["abcd"]),
            ("'' \"\"", &["", ""]),
            ("\"a\\\"b\\n\"", &["a\"b\\n"]),
            ("$'a\\n\\x41\\u4f60\\''", &["a\nA你'"]),
            ("a \\\n b", &["a", "b"]),
            ("a \\\r\n b", &["a", "b"]),
            ("\n a\nb", &["a"]),
            ("a 2>/dev/null", &["a"]),
            ("a $5", &["a", "$5"]),
        ] {
            assert_eq!(split(text).unwrap().0, expected, "{text}");
        }
    }

    #[test]
    fn variables_stand_for_themselves_and_this_is_said() {
        let (words, notes) = split("a \"Bearer $TOKEN\"").unwrap();
        assert_eq!(words, ["a", "Bearer $TOKEN"]);
        assert_eq!(notes.len(), 1);
        assert!(split("a '$TOKEN'").unwrap().1.is_empty());
    }
}
