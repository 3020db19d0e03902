//! W3C Trace Context, level 1: the field `traceparent`.

/// Where a caller says that it is in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The trace; never 0.
    pub trace: u128,
    /// The caller's span; never 0.
    pub span: u64,
    /// The lowest bit: there are spans of this trace.
    pub flags: u8,
}

impl Remote {
    /// Reads the value of a `traceparent`; `None` for what is not valid (§3.2.2). Of later versions, the part that is known.
    pub fn read(text: &[u8]) -> Option<Remote> {
        let has_shape = text.len() >= 55 && text[2] == b'-' && text[35] == b'-' && text[52] == b'-';
        if !has_shape || (text.len() > 55 && (&text[..2] == b"00" || text[55] != b'-')) {
            return None;
        }
        let (version, flags) = (read_hex(&text[..2])?, read_hex(&text[53..55])? as u8);
        let (trace, span) = (read_hex(&text[3..35])?, read_hex(&text[36..52])? as u64);
        (version != 0xff && trace != 0 && span != 0).then_some(Remote { trace, span, flags })
    }

    /// There are spans of this trace.
    pub fn is_sampled(self) -> bool {
        self.flags & 1 == 1
    }
}

/// The value of a `traceparent`.
pub fn traceparent(trace: u128, span: u64, flags: u8) -> [u8; 55] {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    write_hex(&trace.to_be_bytes(), &mut text[3..35]);
    write_hex(&span.to_be_bytes(), &mut text[36..52]);
    write_hex(&[flags], &mut text[53..55]);
    text
}

/// At most 32 digits; capitals are none here.
fn read_hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

fn write_hex(bytes: &[u8], to: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, pair) in bytes.iter().zip(to.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_not_valid_is_nothing() {
        let valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let remote = Remote { trace: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, span: 0x00f0_67aa_0ba9_02b7, flags: 1 };
        assert_eq!(Remote::read(valid.as_bytes()), Some(remote));
        assert_eq!(traceparent(remote.trace, remote.span, 1), valid.as_bytes());
        let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03-more";
        assert_eq!(Remote::read(later.as_bytes()), Some(Remote { flags: 3, ..remote }));
        for text in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "00 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(Remote::read(text.as_bytes()), None, "{text}");
        }
    }
}
