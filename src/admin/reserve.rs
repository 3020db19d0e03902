//! Descriptors that are kept back, so that whoever must act gets in when clients have used up all others.

use std::fs::File;
use std::io;

/// Descriptors that are kept back.
const DESCRIPTORS: usize = 16;
/// Descriptors that one connection may need: its own, and one for the file that it makes the process write.
const FOR_ONE: usize = 2;

/// Open files that nobody reads.
#[derive(Debug, Default)]
pub(super) struct Reserve(Vec<File>);

impl Reserve {
    /// Opens what is missing. What cannot be had now is tried again later.
    pub(super) fn fill(&mut self) {
        while self.0.len() < DESCRIPTORS {
            match File::open("/dev/null") {
                Ok(file) => self.0.push(file),
                Err(_) => return,
            }
        }
    }

    /// Gives up a part when this error says that there are no more descriptors; true when something was given up.
    pub(super) fn give_up_for(&mut self, error: &io::Error) -> bool {
        let is_short = matches!(
            error.raw_os_error().map(rustix::io::Errno::from_raw_os_error),
            Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE)
        );
        let before = self.0.len();
        if is_short {
            self.0.truncate(before.saturating_sub(FOR_ONE));
        }
        self.0.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_given_up_bit_by_bit_and_only_when_descriptors_are_short() {
        let mut reserve = Reserve::default();
        let short = io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
        assert!(!reserve.give_up_for(&short), "there is nothing to give");
        reserve.fill();
        assert!(!reserve.give_up_for(&io::ErrorKind::ConnectionAborted.into()));
        let times = (0..100).take_while(|_| reserve.give_up_for(&short)).count();
        assert_eq!(times, DESCRIPTORS / FOR_ONE);
        reserve.fill();
        assert_eq!(reserve.0.len(), DESCRIPTORS);
    }
}
