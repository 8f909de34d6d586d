//! Tells code from comments and strings, well enough for rules about text.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Rust,
    JavaScript,
}

/// A source text in two views of the same length and lines as the text, in chars.
pub(crate) struct Views {
    /// Without comments; each char of a string's content is `_`.
    pub(crate) code: String,
    /// Without comments.
    pub(crate) text: String,
}

impl Views {
    pub(crate) fn new(source: &str, language: Language) -> Self {
        let mut scan = Scan {
            chars: source.chars().collect(),
            at: 0,
            language,
            views: Self { code: String::new(), text: String::new() },
        };
        while scan.at < scan.chars.len() {
            scan.step();
        }
        scan.views
    }

    /// Counts the lines with code on them.
    pub(crate) fn code_lines(&self) -> usize {
        self.code.lines().filter(|line| !line.trim().is_empty()).count()
    }
}

struct Scan {
    chars: Vec<char>,
    at: usize,
    language: Language,
    views: Views,
}

impl Scan {
    /// Takes one thing: a comment, a string, or a char of code.
    fn step(&mut self) {
        match (self.language, self.chars[self.at]) {
            (_, '/') if self.peek(1) == Some('/') => {
                while self.at < self.chars.len() && self.chars[self.at] != '\n' {
                    self.blank();
                }
            }
            (_, '/') if self.peek(1) == Some('*') => self.block_comment(),
            (Language::JavaScript, '/') if self.regex_may_begin() => self.regex(),
            (Language::JavaScript, quote @ ('"' | '\'' | '`')) => self.string(quote),
            (Language::Rust, '"') => match self.raw_hashes() {
                Some(hashes) => self.raw_string(hashes),
                None => self.string('"'),
            },
            (Language::Rust, '\'') if self.is_char_literal() => self.string('\''),
            (Language::Rust | Language::JavaScript, _) => self.keep(),
        }
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn push(&mut self, code: fn(char) -> char, text: fn(char) -> char) {
        let Some(&c) = self.chars.get(self.at) else { return };
        let newline = c == '\n';
        self.views.code.push(if newline { c } else { code(c) });
        self.views.text.push(if newline { c } else { text(c) });
        self.at += 1;
    }

    fn keep(&mut self) {
        self.push(|c| c, |c| c);
    }

    fn blank(&mut self) {
        self.push(|_| ' ', |_| ' ');
    }

    fn fill(&mut self) {
        self.push(|_| '_', |c| c);
    }

    /// Rust's block comments nest.
    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.chars.len() {
            match (self.chars[self.at], self.peek(1)) {
                ('/', Some('*')) if depth == 0 || self.language == Language::Rust => {
                    depth += 1;
                    self.blank();
                }
                ('*', Some('/')) => {
                    depth -= 1;
                    self.blank();
                }
                _ => {}
            }
            self.blank();
            if depth == 0 {
                break;
            }
        }
    }

    fn string(&mut self, quote: char) {
        self.keep();
        while let Some(c) = self.peek(0) {
            match c {
                c if c == quote => {
                    self.keep();
                    return;
                }
                '\\' => {
                    self.fill();
                    self.fill();
                }
                '$' if quote == '`' && self.peek(1) == Some('{') => self.hole(),
                _ => self.fill(),
            }
        }
    }

    /// Takes `${…}` of a template, with whatever braces and strings are in it.
    fn hole(&mut self) {
        self.fill();
        let mut depth = 0;
        while let Some(c) = self.peek(0) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                '`' | '"' | '\'' => {
                    self.string(c);
                    continue;
                }
                _ => {}
            }
            self.fill();
            if depth == 0 {
                return;
            }
        }
    }

    /// Returns how many `#` stand between an `r` and the quote here, if this is a raw string.
    fn raw_hashes(&self) -> Option<usize> {
        let before = &self.chars[..self.at];
        let hashes = before.iter().rev().take_while(|c| **c == '#').count();
        let mut prefix = before.iter().rev().skip(hashes);
        if prefix.next() != Some(&'r') {
            return None;
        }
        let is_part = |c: &char| c.is_alphanumeric() || *c == '_';
        match prefix.next() {
            Some('b' | 'c') => (!prefix.next().is_some_and(is_part)).then_some(hashes),
            before => (!before.is_some_and(is_part)).then_some(hashes),
        }
    }

    fn raw_string(&mut self, hashes: usize) {
        self.keep();
        while let Some(c) = self.peek(0) {
            let closes = c == '"' && (1..=hashes).all(|ahead| self.peek(ahead) == Some('#'));
            if closes {
                (0..=hashes).for_each(|_| self.keep());
                return;
            }
            self.fill();
        }
    }

    /// A quote begins a char, not a lifetime, if it is closed after one char or an escape.
    fn is_char_literal(&self) -> bool {
        self.peek(1) == Some('\\') || self.peek(2) == Some('\'')
    }

    /// A slash begins a regular expression where no operand has just ended.
    fn regex_may_begin(&self) -> bool {
        let before = self.views.code.trim_end();
        let word: String = before.chars().rev().take_while(char::is_ascii_alphabetic).collect();
        let word: String = word.chars().rev().collect();
        before.is_empty()
            || before.ends_with(|c: char| "(,=:[!&|?{};+-*%<>~^".contains(c))
            || matches!(word.as_str(), "return" | "case" | "typeof" | "of" | "in")
    }

    fn regex(&mut self) {
        self.keep();
        let mut in_class = false;
        while let Some(c) = self.peek(0) {
            match c {
                '\n' => return,
                '/' if !in_class => {
                    self.keep();
                    return;
                }
                '\\' => self.fill(),
                '[' => in_class = true,
                ']' => in_class = false,
                _ => {}
            }
            self.fill();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares the code, but for the blanks that a comment leaves at the end.
    fn expect(source: &str, language: Language, expected: &str) {
        let views = Views::new(source, language);
        assert_eq!(views.code.trim_end(), expected, "{source}");
        assert_eq!(views.code.chars().count(), source.chars().count(), "{source}");
        assert_eq!(views.text.chars().count(), source.chars().count(), "{source}");
    }

    #[test]
    fn rust_comments_and_strings_are_no_code() {
        for (source, expected) in [
            ("a // b \"c", "a"),
            ("a /* b /* c */ d */ e", "a                   e"),
            ("f(\"{ // \\\" }\") }", "f(\"_________\") }"),
            ("r#\"a\"b\"# + br\"\\\" }", "r#\"___\"# + br\"_\" }"),
            ("var\"a\\\"b\"", "var\"____\""),
            ("'{' '\\'' b'}' &'a str", "'_' '__' b'_' &'a str"),
            ("<'a, 'b>() { x }", "<'a, 'b>() { x }"),
            ("\"a\nb\" c", "\"_\n_\" c"),
        ] {
            expect(source, Language::Rust, expected);
        }
    }

    #[test]
    fn javascript_has_templates_and_regular_expressions() {
        for (source, expected) in [
            ("'a' + \"}\" // b", "'_' + \"_\""),
            ("`a ${b({c: `}`})} {` }", "`__________`_`_____` }"),
            ("x = /[/{]\\/\"/; }", "x = /_______/; }"),
            ("a / b / c // d", "a / b / c"),
            ("return /{/g", "return /_/g"),
            ("/* a /* b */ c", "             c"),
        ] {
            expect(source, Language::JavaScript, expected);
        }
    }

    #[test]
    fn lines_of_code_have_code_on_them() {
        let source = "//! a\n\nfn a() { // b\n    \"x\n    y\"\n/* c\n\n d */\n}\n";
        assert_eq!(Views::new(source, Language::Rust).code_lines(), 4);
        let views = Views::new("a(\"b\") // c", Language::Rust);
        assert_eq!(views.text, "a(\"b\")     ");
    }
}
