//! Latencies of one span of time, packed.

/// Packs latencies of successful and other answered requests: for each bucket that grew, the distance from the
/// one before (times two, plus one for the others), then the count, both as LEB128. About two bytes a bucket.
pub(super) fn pack(
    success: impl Iterator<Item = (usize, u64)>,
    others: impl Iterator<Item = (usize, u64)>,
) -> Box<[u8]> {
    let mut entries: Vec<(u64, u64)> = success.map(|(bucket, count)| (bucket as u64 * 2, count)).collect();
    entries.extend(others.map(|(bucket, count)| (bucket as u64 * 2 + 1, count)));
    entries.sort_unstable();
    let mut packed = Vec::with_capacity(entries.len() * 2);
    let mut last = 0;
    for (key, count) in entries {
        push_leb128(&mut packed, key - last);
        push_leb128(&mut packed, count);
        last = key;
    }
    packed.into_boxed_slice()
}

/// Calls `each` with bucket, whether its requests succeeded, and count.
pub(super) fn unpack(packed: &[u8], mut each: impl FnMut(usize, bool, u64)) {
    let mut bytes = packed.iter();
    let mut key = 0;
    while !bytes.as_slice().is_empty() {
        key += read_leb128(&mut bytes);
        let count = read_leb128(&mut bytes);
        each((key / 2) as usize, key % 2 == 0, count);
    }
}

fn push_leb128(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn read_leb128(bytes: &mut std::slice::Iter<'_, u8>) -> u64 {
    let mut value = 0;
    for (at, byte) in bytes.by_ref().enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}
