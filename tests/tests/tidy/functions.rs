//! Finds functions by matching braces in code without comments and strings.
use super::scan::{Language, Views};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// The line where it begins, from 1.
    pub(crate) line: usize,
    /// Lines from its name to its last brace. In JavaScript, where functions are made of
    /// functions, without those inside.
    pub(crate) lines: usize,
}

pub(crate) fn functions(views: &Views, language: Language) -> Vec<Function> {
    let code = Code::new(&views.code);
    match language {
        Language::Rust => code.rust(),
        Language::JavaScript => code.javascript(),
    }
}

struct Code {
    chars: Vec<char>,
    /// The line of each char, from 1.
    lines: Vec<usize>,
}

impl Code {
    fn new(code: &str) -> Self {
        let chars: Vec<char> = code.chars().collect();
        let mut line = 1;
        let lines = chars.iter().map(|c| {
            let here = line;
            line += usize::from(*c == '\n');
            here
        });
        Self { lines: lines.collect(), chars }
    }

    fn rust(&self) -> Vec<Function> {
        let mut found = Vec::new();
        for at in 0..self.chars.len() {
            let before = at.checked_sub(1).map(|at| self.chars[at]);
            if !self.chars[at..].starts_with(&['f', 'n', ' ']) || before.is_some_and(is_part) {
                continue;
            }
            let name: String = self.chars[at + 3..].iter().take_while(|c| is_part(**c)).collect();
            // A function type (`fn (`) has no name, a declaration no body.
            let Some(open) = self.body(at).filter(|_| !name.is_empty()) else { continue };
            let (line, last) = (self.lines[at], self.lines[self.closing(open)]);
            found.push(Function { name, line, lines: last - line + 1 });
        }
        found
    }

    /// Returns where the body of the function begins whose head is here.
    fn body(&self, head: usize) -> Option<usize> {
        let mut depth = 0_i32;
        for (at, c) in self.chars.iter().enumerate().skip(head) {
            match c {
                '(' | '[' => depth += 1,
                ')' | ']' => depth -= 1,
                '{' if depth == 0 => return Some(at),
                ';' if depth == 0 => return None,
                _ => {}
            }
        }
        None
    }

    /// Returns the brace that closes this one, or the end if none does.
    fn closing(&self, open: usize) -> usize {
        let mut depth = 0_i32;
        for (at, c) in self.chars.iter().enumerate().skip(open) {
            depth += match c {
                '{' => 1,
                '}' => -1,
                _ => 0,
            };
            if depth == 0 {
                return at;
            }
        }
        self.chars.len() - 1
    }

    fn javascript(&self) -> Vec<Function> {
        let braces = (0..self.chars.len()).filter(|at| self.chars[*at] == '{');
        let spans: Vec<(String, usize, usize)> = braces
            .filter_map(|open| {
                let (name, head) = self.javascript_head(open)?;
                Some((name, self.lines[head], self.lines[self.closing(open)]))
            })
            .collect();
        let inside = |(first, last): (usize, usize)| {
            let inner = spans.iter().filter(|(_, from, to)| *from > first && *to < last);
            let outermost = inner.clone().filter(|(_, from, to)| {
                !inner.clone().any(|(_, f, t)| (f, t) != (from, to) && f <= from && t >= to)
            });
            outermost.map(|(_, from, to)| to - from + 1).sum::<usize>()
        };
        let own = |first: usize, last: usize| (last - first + 1) - inside((first, last));
        spans
            .iter()
            .map(|(name, first, last)| {
                let lines = own(*first, *last);
                Function { name: name.clone(), line: *first, lines }
            })
            .collect()
    }

    /// Returns the name, and where it stands, of the function whose body begins here.
    fn javascript_head(&self, open: usize) -> Option<(String, usize)> {
        let before = self.back_over_space(open)?;
        if self.chars[before] == '>' && before > 0 && self.chars[before - 1] == '=' {
            return Some(("=>".to_owned(), before));
        }
        if self.chars[before] != ')' {
            return None;
        }
        let mut depth = 0_i32;
        let paren = (0..=before).rev().find(|at| {
            depth += match self.chars[*at] {
                ')' => 1,
                '(' => -1,
                _ => 0,
            };
            depth == 0
        })?;
        let end = self.back_over_space(paren)?;
        let start = (0..=end).rev().take_while(|at| is_part(self.chars[*at])).last()?;
        let name: String = self.chars[start..=end].iter().collect();
        let control = ["if", "for", "while", "switch", "catch", "with", "await"];
        (!control.contains(&name.as_str())).then_some((name, start))
    }

    fn back_over_space(&self, from: usize) -> Option<usize> {
        (0..from).rev().find(|at| !self.chars[*at].is_whitespace())
    }
}

fn is_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source: &str, language: Language) -> Vec<(String, usize, usize)> {
        functions(&Views::new(source, language), language)
            .into_iter()
            .map(|function| (function.name, function.line, function.lines))
            .collect()
    }

    fn expected(list: &[(&str, usize, usize)]) -> Vec<(String, usize, usize)> {
        list.iter().map(|(name, line, lines)| ((*name).to_owned(), *line, *lines)).collect()
    }

    #[test]
    fn rust_functions_end_at_their_own_brace() {
        let source = "\
fn one() {}
trait T {
    fn declared(&self) -> [u8; 4];
    fn given(&self, f: fn(u8) -> u8) -> [u8; { 2 + 2 }]
    where
        Self: Sized,
    {
        let x = '{'; // }
        if x == \"}\" { fn inner() {
        } }
    }
}
const F: fn (u8) = off;
mod tests {
    async fn last() {
    }
}
";
        let list = [("one", 1, 1), ("given", 4, 8), ("inner", 9, 2), ("last", 15, 2)];
        assert_eq!(found(source, Language::Rust), expected(&list));
    }

    #[test]
    fn javascript_functions_are_counted_without_those_inside() {
        let source = "\
function outer(a, b = f(1)) {
  if (a) {
    return () => {
      b();
    };
  }
  class C {
    method() {
      for (;;) { }
    }
  }
}
const o = { x: 1 };
";
        let list = [("outer", 1, 6), ("=>", 3, 3), ("method", 8, 3)];
        assert_eq!(found(source, Language::JavaScript), expected(&list));
    }
}
