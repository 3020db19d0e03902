use bytes::Bytes;

/// The bytes of a head that was parsed: one copy, of which every value is a part. So the buffer that it was read into
/// can be used again, and no value asks for memory of its own.
pub(crate) struct HeadText {
    bytes: Bytes,
    /// Where the bytes stood that the parser was given.
    start: usize,
}

impl HeadText {
    /// Copies a head.
    pub(crate) fn of(head: &[u8]) -> HeadText {
        HeadText { bytes: Bytes::copy_from_slice(head), start: head.as_ptr() as usize }
    }

    /// The same part of the copy as `part` is of the head. What is empty may stand anywhere.
    pub(crate) fn part(&self, part: &[u8]) -> Bytes {
        let at = (part.as_ptr() as usize).wrapping_sub(self.start).min(self.bytes.len());
        self.bytes.slice(at..at + part.len())
    }
}
