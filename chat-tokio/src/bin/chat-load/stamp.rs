//! What chat-load writes into the content of a message: who sent it, its number and when.
//!
//! The form is fixed, so that whoever receives it needs no JSON: a mark and 32 digits.

/// A name never begins with it, and neither a guest's id nor a log's epoch contains it: the first
/// mark of a frame is that of the content.
const MARK: u8 = b'~';

/// Bytes of a stamp: the mark, sender (8 digits), number (8), time in nanoseconds (16).
pub(crate) const STAMP_BYTES: usize = 33;

/// The last number that a stamp has room for.
pub(crate) const NUMBER_MAX: u32 = 99_999_999;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The sender, counted through all rooms.
    pub(crate) sender: u32,
    /// Counts the sender's messages from 1.
    pub(crate) number: u32,
    /// Nanoseconds on the clock of this process.
    pub(crate) sent_ns: u64,
}

impl Stamp {
    /// Finds the stamp of a frame.
    pub(crate) fn find(payload: &[u8]) -> Option<Self> {
        let at = memchr::memchr(MARK, payload)?;
        let bytes = payload.get(at + 1..at + STAMP_BYTES)?;
        let (sender, rest) = bytes.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (high, rest) = rest.split_first_chunk()?;
        let (low, _) = rest.split_first_chunk()?;
        Some(Self {
            sender: eight_digits(*sender)?,
            number: eight_digits(*number)?,
            sent_ns: u64::from(eight_digits(*high)?) * 100_000_000 + u64::from(eight_digits(*low)?),
        })
    }

    /// Writes the stamp into `bytes`, which has [`STAMP_BYTES`].
    pub(crate) fn write(self, bytes: &mut [u8]) {
        bytes[0] = MARK;
        write_digits(&mut bytes[1..9], self.sender.into());
        write_digits(&mut bytes[9..17], self.number.into());
        write_digits(&mut bytes[17..STAMP_BYTES], self.sent_ns);
    }
}

/// Fills `bytes` with a number, with zeros before it.
pub(crate) fn write_digits(bytes: &mut [u8], mut value: u64) {
    for byte in bytes.iter_mut().rev() {
        *byte = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Reads eight digits at once: pairs, then fours, then all of them.
fn eight_digits(bytes: [u8; 8]) -> Option<u32> {
    let value = u64::from_le_bytes(bytes);
    let high_nibbles = value & 0xf0f0_f0f0_f0f0_f0f0;
    let beyond_nine = value.wrapping_add(0x0606_0606_0606_0606) & 0xf0f0_f0f0_f0f0_f0f0;
    if high_nibbles != 0x3030_3030_3030_3030 || beyond_nine != 0x3030_3030_3030_3030 {
        return None;
    }
    let digits = value & 0x0f0f_0f0f_0f0f_0f0f;
    let pairs = (digits.wrapping_mul(10) + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100) + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours.wrapping_mul(10_000) + (fours >> 32)) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_found_again() {
        for (sender, number, sent_ns) in
            [(0, 1, 0), (12_345_678, NUMBER_MAX, 9_999_999_999_999_999), (7, 90, 1_000_000_001)]
        {
            let stamp = Stamp { sender, number, sent_ns };
            let mut bytes = [0; STAMP_BYTES];
            stamp.write(&mut bytes);
            let text = format!("{{\"content\":\"{}xyz\"}}", String::from_utf8_lossy(&bytes));
            assert_eq!(Stamp::find(text.as_bytes()), Some(stamp), "{text}");
        }
    }

    #[test]
    fn what_is_no_stamp_is_none() {
        let digits = "12345678".repeat(4);
        assert!(Stamp::find(format!("~{digits}").as_bytes()).is_some());
        assert_eq!(Stamp::find(format!("~{}", &digits[1..]).as_bytes()), None);
        assert_eq!(Stamp::find(digits.as_bytes()), None);
        for wrong in [b'/', b':', b'a', b'@', b' ', 0xb5] {
            for at in 1..STAMP_BYTES {
                let mut bytes = format!("~{digits}").into_bytes();
                bytes[at] = wrong;
                assert_eq!(Stamp::find(&bytes), None, "{wrong} at {at}");
            }
        }
    }
}
