use http::HeaderName;
use std::cell::RefCell;

use super::Malformed;
use crate::upstream::Fields;

/// A name that was seen before, as it was written.
struct Known {
    written: Box<[u8]>,
    name: HeaderName,
    fields: Fields,
}

/// How many names a thread remembers; a power of two.
const NAMES_KEPT: usize = 512;
/// Longer names are not remembered.
const NAME_BYTES_KEPT: usize = 32;
/// One in so many unknown names takes the place of a known one: whoever makes names up cannot drive out the usual ones.
const REPLACED_ONE_IN: u8 = 16;

thread_local! {
    static NAMES: RefCell<Vec<Option<Known>>> = RefCell::new((0..NAMES_KEPT).map(|_| None).collect());
}

/// The name of a header field as it is written in a message, and which of the fields it is that matter to a proxy.
///
/// Messages have the same few names again and again: they are looked up by how they are written, rather than brought
/// to lower case, checked and copied each time.
pub(crate) fn header_name(written: &[u8]) -> Result<(HeaderName, Fields), Malformed> {
    let Some(place) = place(written) else { return read(written) };
    NAMES.with_borrow_mut(|names| {
        if let Some(known) = &names[place]
            && *known.written == *written
        {
            return Ok((known.name.clone(), known.fields));
        }
        let (name, fields) = read(written)?;
        if names[place].is_none() || fastrand::u8(..REPLACED_ONE_IN) == 0 {
            names[place] = Some(Known { written: written.into(), name: name.clone(), fields });
        }
        Ok((name, fields))
    })
}

fn read(written: &[u8]) -> Result<(HeaderName, Fields), Malformed> {
    let name = HeaderName::from_bytes(written).map_err(|_| Malformed)?;
    let fields = Fields::named(name.as_str());
    Ok((name, fields))
}

fn place(written: &[u8]) -> Option<usize> {
    let (first, last) = match (written.first_chunk(), written.last_chunk()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => (written.iter().fold(0, |mixed, byte| mixed << 8 | u64::from(*byte)), 0),
    };
    // odd numbers without a pattern; the upper bits of a product depend on all of its lower ones
    let mixed = (first ^ last.rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ written.len() as u64;
    let place = (mixed.wrapping_mul(0xd6e8_feb8_6659_fd93) >> 48) as usize % NAMES_KEPT;
    (!written.is_empty() && written.len() <= NAME_BYTES_KEPT).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_same_however_often_and_in_whatever_company_it_is_read() {
        for round in 0..3 {
            for number in 0..2000 {
                let written = format!("X-Name-{number}");
                let (name, fields) = header_name(written.as_bytes()).unwrap();
                assert_eq!((name.as_str(), fields), (written.to_lowercase().as_str(), Fields::EXTENDED), "{round}");
            }
            let (name, fields) = header_name(b"Content-LENGTH").unwrap();
            assert_eq!((name, fields), (http::header::CONTENT_LENGTH, Fields::CONTENT_LENGTH));
        }
        assert!(header_name(b"").is_err() && header_name(b"a b").is_err());
        assert_eq!(header_name("x".repeat(200).as_bytes()).unwrap().0.as_str().len(), 200);
    }
}
