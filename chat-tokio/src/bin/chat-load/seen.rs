//! Which messages of one sender have come to one member.

/// The last number, and which of the 32 before it have come: enough to tell a repeated message
/// from one that only comes late.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    last: u32,
    /// Bit `n`: the number `last - n` has come.
    recent: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    New,
    /// A greater number had come before.
    OutOfOrder,
    Repeated,
}

impl Seen {
    /// Takes a number, which counts from 1. What is older than the window counts as repeated.
    pub(crate) fn take(&mut self, number: u32) -> Arrival {
        if number > self.last {
            let ahead = number - self.last;
            self.recent = self.recent.checked_shl(ahead).unwrap_or(0) | 1;
            self.last = number;
            return Arrival::New;
        }
        let bit = 1_u32.checked_shl(self.last - number).unwrap_or(0);
        if bit == 0 || self.recent & bit != 0 {
            return Arrival::Repeated;
        }
        self.recent |= bit;
        Arrival::OutOfOrder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_is_not_repeated() {
        use Arrival::{New, OutOfOrder, Repeated};
        let mut seen = Seen::default();
        for (number, expected) in [
            (1, New),
            (1, Repeated),
            (3, New),
            (2, OutOfOrder),
            (2, Repeated),
            (3, Repeated),
            (40, New),
            (9, OutOfOrder),
            (9, Repeated),
            (8, Repeated),
            (1000, New),
            (999, OutOfOrder),
            (1001, New),
            (1000, Repeated),
        ] {
            assert_eq!(seen.take(number), expected, "{number}");
        }
    }
}
