//! Texts of others in log lines and answers.
use std::fmt::{self, Write};

/// Shows a text in one line: control characters, line separators and those that turn the direction
/// of writing are escaped as `\u{…}`.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<T>(pub T);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut plain_from = 0;
        for (at, c) in text.char_indices().filter(|(_, c)| deceives(*c)) {
            self.0.write_str(&text[plain_from..at])?;
            write!(self.0, "{}", c.escape_unicode())?;
            plain_from = at + c.len_utf8();
        }
        self.0.write_str(&text[plain_from..])
    }
}

/// Whether a character changes what is around it: `Bidi_Control` of
/// [UAX #9](https://www.unicode.org/reports/tr9/), line ends, and what terminals obey.
fn deceives(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_change_the_line_is_escaped() {
        for (text, shown) in [
            ("Ada é 😀", "Ada é 😀"),
            ("a\nb\u{1b}[31m\r\0", "a\\u{a}b\\u{1b}[31m\\u{d}\\u{0}"),
            ("\u{202e}x\u{2066}\u{200f}\u{61c}", "\\u{202e}x\\u{2066}\\u{200f}\\u{61c}"),
            ("\u{85}\u{2028}\u{9b}", "\\u{85}\\u{2028}\\u{9b}"),
        ] {
            assert_eq!(Escaped(text).to_string(), shown);
        }
    }
}
