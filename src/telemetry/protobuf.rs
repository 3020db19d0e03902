//! Messages of protobuf, as far as telemetry writes and reads any: the wire format alone, without descriptions of types.
//!
//! Scrapers and receivers of traces take a handful of messages of which a few fields are written. That is less than a
//! library with generated code would bring along, and nothing is copied twice on the way of a request.

/// A message on its way to bytes.
#[derive(Debug, Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

/// How a value is written, in the lowest bits of its key.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED_32: u64 = 5;

impl Message {
    fn key(&mut self, field: u64, wire: u64) {
        push_varint(&mut self.0, (field << 3) | wire);
    }

    /// `uint64`, `int64` of numbers that are not negative, `bool` and enums.
    pub(crate) fn unsigned(&mut self, field: u64, value: u64) {
        self.key(field, VARINT);
        push_varint(&mut self.0, value);
    }

    /// `sint32` and `sint64`: zigzag, so that small negative numbers stay short.
    pub(crate) fn signed(&mut self, field: u64, value: i64) {
        self.unsigned(field, ((value << 1) ^ (value >> 63)) as u64);
    }

    pub(crate) fn double(&mut self, field: u64, value: f64) {
        self.fixed64(field, value.to_bits());
    }

    pub(crate) fn fixed64(&mut self, field: u64, value: u64) {
        self.key(field, FIXED_64);
        self.0.extend(value.to_le_bytes());
    }

    pub(crate) fn fixed32(&mut self, field: u64, value: u32) {
        self.key(field, FIXED_32);
        self.0.extend(value.to_le_bytes());
    }

    pub(crate) fn text(&mut self, field: u64, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    pub(crate) fn message(&mut self, field: u64, message: &Message) {
        self.bytes(field, &message.0);
    }

    pub(crate) fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.begin(field, bytes.len());
        self.0.extend(bytes);
    }

    /// The key and the length of a message or text whose bytes the caller writes next.
    pub(crate) fn begin(&mut self, field: u64, length: usize) {
        self.key(field, LENGTH);
        push_varint(&mut self.0, length as u64);
    }
}

/// Bytes that a field of a message or text takes, for field numbers below 16.
pub(crate) fn length_of(bytes: usize) -> usize {
    1 + varint_length(bytes as u64) + bytes
}

/// Bytes that a number takes.
pub(crate) fn varint_length(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Seven bits a byte, the lowest first; all but the last one have the highest bit set.
pub(crate) fn push_varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push((value as u8) | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// A value of a message that somebody else wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'m> {
    Number(u64),
    Bytes(&'m [u8]),
}

/// The fields of a message, up to the first that is not well formed.
pub(crate) fn fields(mut message: &[u8]) -> impl Iterator<Item = (u64, Value<'_>)> {
    std::iter::from_fn(move || {
        let key = take_varint(&mut message)?;
        let value = match key & 7 {
            VARINT => Value::Number(take_varint(&mut message)?),
            FIXED_64 => Value::Number(u64::from_le_bytes(take(&mut message, 8)?.try_into().ok()?)),
            FIXED_32 => Value::Number(u32::from_le_bytes(take(&mut message, 4)?.try_into().ok()?).into()),
            LENGTH => {
                let length = usize::try_from(take_varint(&mut message)?).ok()?;
                Value::Bytes(take(&mut message, length)?)
            }
            _ => return None,
        };
        Some((key >> 3, value))
    })
}

fn take<'m>(message: &mut &'m [u8], length: usize) -> Option<&'m [u8]> {
    let (taken, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some(taken)
}

fn take_varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *take(message, 1)?.first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_written_as_the_specification_of_protobuf_shows() {
        let mut message = Message::default();
        message.unsigned(1, 150);
        message.text(2, "testing");
        message.signed(3, -1);
        message.double(4, 1.0);
        message.fixed32(5, 7);
        let expected = [
            &[0x08, 0x96, 0x01][..],
            &[0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67],
            &[0x18, 0x01],
            &[0x21, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f],
            &[0x2d, 7, 0, 0, 0],
        ];
        assert_eq!(message.0, expected.concat());
        let read: Vec<_> = fields(&message.0).collect();
        let expected = [
            (1, Value::Number(150)),
            (2, Value::Bytes(b"testing")),
            (3, Value::Number(1)),
            (4, Value::Number(1.0_f64.to_bits())),
            (5, Value::Number(7)),
        ];
        assert_eq!(read, expected);
    }

    proptest! {
        #[test]
        fn lengths_are_known_before_they_are_written(value in any::<u64>(), shift in 0..64_u32, text in ".{0,300}") {
            let (value, mut bytes) = (value >> shift, Vec::new());
            push_varint(&mut bytes, value);
            prop_assert_eq!(bytes.len(), varint_length(value));
            let mut message = Message::default();
            message.text(2, &text);
            prop_assert_eq!(message.0.len(), length_of(text.len()));
        }

        #[test]
        fn whatever_others_write_is_read_to_its_end_or_its_first_fault(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(fields(&bytes).count() <= bytes.len());
        }
    }
}
