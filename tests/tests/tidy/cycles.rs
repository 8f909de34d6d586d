//! Finds cycles among the imports of a crate's files.
//!
//! A file imports another one by `use` or by a path that begins with `crate`, `super` or `self`. An
//! import of a name that the other file only re-exports counts as an import of the file that
//! defines it. A `mod` declaration is no import, and test code does not count.
use std::collections::{BTreeMap, BTreeSet};

use super::Violation;
use super::scan::{Language, Views};

/// The folders of source files that must be free of cycles.
pub(crate) const CRATES: [&str; 2] = ["chat-proto/src/", "chat-state/src/"];

/// The number of re-exports to follow for one name.
const REEXPORTS_MAX: usize = 8;

/// The segments of a module path, without `crate`.
type Path = Vec<String>;

/// Checks the files of one crate, each given as its path below `root` and its text.
pub(crate) fn check(root: &str, files: &BTreeMap<String, String>) -> Vec<Violation> {
    let mut imports = imports(files);
    let mut found = Vec::new();
    while let Some(cycle) = next_cycle(&mut imports) {
        let names: Vec<&str> = cycle.iter().chain(cycle.first()).map(String::as_str).collect();
        let rule = format!("imports form a cycle: {}", names.join(" → "));
        found.push(Violation::new(&format!("{root}{}", cycle[0]), 0, rule));
        imports.retain(|file, _| !cycle.contains(file));
    }
    found
}

/// Returns which files each file imports.
fn imports(files: &BTreeMap<String, String>) -> BTreeMap<String, BTreeSet<String>> {
    let mut modules = BTreeMap::new();
    let mut tests = Vec::new();
    for (file, text) in files {
        let path = module_path(file);
        let mut module = Module::parse(file, text);
        tests.extend(module.tests.drain(..).map(|name| joined(&path, &name)));
        modules.insert(path, module);
    }
    modules.retain(|path, _| !tests.iter().any(|test| path.starts_with(test)));
    let targets = |path: &Path, module: &Module| {
        let files = module.paths.iter().map(|used| resolve(&modules, path, used));
        files.filter(|file| *file != module.file).collect()
    };
    modules.iter().map(|(path, module)| (module.file.clone(), targets(path, module))).collect()
}

fn module_path(file: &str) -> Path {
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let mut path: Path = stem.split('/').map(str::to_owned).collect();
    if path.last().is_some_and(|last| last == "mod" || last == "lib") {
        path.pop();
    }
    path
}

fn joined(path: &[String], name: &str) -> Path {
    path.iter().cloned().chain([name.to_owned()]).collect()
}

/// Returns the file in which `used`, a path in the module `from`, is defined.
fn resolve(modules: &BTreeMap<Path, Module>, from: &[String], used: &[String]) -> String {
    let mut module: Path = from.to_vec();
    let mut rest: Path = used.to_vec();
    let mut reexports = 0;
    while !rest.is_empty() {
        let segment = rest.remove(0);
        match segment.as_str() {
            "crate" => module.clear(),
            "self" => {}
            "super" => drop(module.pop()),
            name if modules.contains_key(&joined(&module, name)) => module.push(segment),
            name => {
                let source = modules.get(&module).and_then(|here| here.names.get(name));
                let Some(source) = source.filter(|_| reexports < REEXPORTS_MAX) else { break };
                reexports += 1;
                rest = source.iter().cloned().chain(rest).collect();
            }
        }
    }
    // A module in the middle of a file belongs to that file.
    while !modules.contains_key(&module) && !module.is_empty() {
        module.pop();
    }
    modules.get(&module).map_or_else(String::new, |module| module.file.clone())
}

/// Removes the files that are in no cycle, and returns one of the cycles that are left.
fn next_cycle(imports: &mut BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    loop {
        let left: BTreeSet<String> = imports.keys().cloned().collect();
        imports.values_mut().for_each(|targets| targets.retain(|target| left.contains(target)));
        let before = imports.len();
        imports.retain(|_, targets| !targets.is_empty());
        if imports.len() == before {
            break;
        }
    }
    let mut chain = vec![imports.keys().next()?.clone()];
    loop {
        let next = imports[chain.last()?].first()?.clone();
        if let Some(begin) = chain.iter().position(|file| *file == next) {
            return Some(chain.split_off(begin));
        }
        chain.push(next);
    }
}

/// What a file imports and declares.
struct Module {
    file: String,
    /// All paths that the file uses.
    paths: Vec<Path>,
    /// The names that `use` brings into the module, with their paths.
    names: BTreeMap<String, Path>,
    /// The modules that exist for tests only.
    tests: Vec<String>,
    /// While parsing: the depths of braces at which the surrounding inline modules begin.
    inline: Vec<usize>,
}

impl Module {
    fn parse(file: &str, text: &str) -> Self {
        let code = Views::new(text, Language::Rust).code;
        let tokens = tokens(&code);
        let mut module = Self {
            file: file.to_owned(),
            paths: vec![],
            names: BTreeMap::new(),
            tests: vec![],
            inline: vec![],
        };
        let (mut at, mut depth) = (0, 0);
        while at < tokens.len() {
            match tokens[at..] {
                ["mod", _, "{", ..] => module.inline.push(depth),
                ["{", ..] => depth += 1,
                ["}", ..] => {
                    depth -= 1;
                    module.inline.pop_if(|begin| *begin == depth);
                }
                _ => {}
            }
            at = if tokens[at..].starts_with(&["#", "[", "cfg", "(", "test", ")", "]"]) {
                module.skip_test_item(&tokens, at + 7)
            } else if tokens[at] == "use" {
                module.use_tree(&tokens, at + 1, &[])
            } else if is_path_begin(&tokens, at) {
                let end = path_end(&tokens, at);
                module.push(segments(&tokens[at..end]));
                end
            } else {
                at + 1
            };
        }
        module
    }

    /// Adds a path. In an inline module, `super` may still mean this file.
    fn push(&mut self, mut path: Path) {
        let supers = path.iter().take_while(|segment| *segment == "super").count();
        path.drain(..supers.min(self.inline.len()));
        self.paths.push(path);
    }

    /// Skips the item that begins at `at`, and returns where it ends.
    fn skip_test_item(&mut self, tokens: &[&str], at: usize) -> usize {
        if let ["mod", name, ";", ..] = &tokens[at..] {
            self.tests.push((*name).to_owned());
        }
        let mut depth = 0;
        for (n, token) in tokens.iter().enumerate().skip(at) {
            match *token {
                "{" => depth += 1,
                "}" if depth == 1 => return n + 1,
                "}" => depth -= 1,
                ";" if depth == 0 => return n + 1,
                _ => {}
            }
        }
        tokens.len()
    }

    /// Reads one tree of a `use` declaration, and returns where it ends.
    fn use_tree(&mut self, tokens: &[&str], at: usize, prefix: &[String]) -> usize {
        let end = path_end(tokens, at);
        let own = segments(&tokens[at..end]);
        let mut path: Path = prefix.iter().cloned().chain(own).collect();
        let mut at = end;
        match tokens.get(at..at + 2) {
            Some(["::", "{"]) | Some(["{", _]) => {
                at += if tokens[at] == "::" { 2 } else { 1 };
                while tokens.get(at).is_some_and(|token| *token != "}") {
                    at = self.use_tree(tokens, at, &path);
                    at += usize::from(tokens.get(at) == Some(&","));
                }
                return at + 1;
            }
            Some(["::", "*"]) => at += 2,
            _ => {}
        }
        let renamed = (tokens.get(at) == Some(&"as")).then(|| tokens[at + 1].to_owned());
        at += if renamed.is_some() { 2 } else { 0 };
        // `a::{self}` names `a` itself.
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        if let Some(name) = renamed.or_else(|| path.last().cloned()) {
            self.names.insert(name, path.clone());
        }
        self.push(path);
        at
    }
}

fn is_path_begin(tokens: &[&str], at: usize) -> bool {
    let is_first = at == 0 || tokens[at - 1] != "::";
    let is_rooted = matches!(tokens[at], "crate" | "super" | "self");
    is_first && is_rooted && tokens.get(at + 1) == Some(&"::")
}

/// Returns where the path ends that begins at `at`, before a `::` that begins a list or a glob.
fn path_end(tokens: &[&str], at: usize) -> usize {
    let is_name = |at: usize| tokens.get(at).is_some_and(|token| is_word(token));
    let mut end = at;
    while is_name(end) {
        end += 1;
        if tokens.get(end) != Some(&"::") || !is_name(end + 1) {
            break;
        }
        end += 1;
    }
    end
}

fn segments(tokens: &[&str]) -> Path {
    tokens.iter().filter(|token| **token != "::").map(|token| (*token).to_owned()).collect()
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Splits code into words, `::` and single characters.
fn tokens(code: &str) -> Vec<&str> {
    let mut all = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let len = match rest {
            _ if is_part(first) => rest.find(|c| !is_part(c)).unwrap_or(rest.len()),
            _ if rest.starts_with("::") => 2,
            _ => first.len_utf8(),
        };
        all.push(&rest[..len]);
        rest = rest[len..].trim_start();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(root: &str, files: &[(&str, &str)]) -> Vec<String> {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        check(root, &files.collect()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn imports_that_point_downwards_are_fine() {
        let files = [
            ("lib.rs", "mod a;\nmod b;\npub use a::A;\nmod part;"),
            ("a.rs", "use crate::b::{self, B};\nuse crate::part::Part;\npub struct A(B);"),
            ("b.rs", "pub struct B;\nfn f() { self.a::<u8>(); super_(); }"),
            ("part/mod.rs", "mod leaf;\npub use self::leaf::Part;\nuse super::b;"),
            ("part/leaf.rs", "pub struct Part;"),
        ];
        assert_eq!(found("chat-state/src/", &files), [""; 0]);
    }

    #[test]
    fn a_cycle_is_named() {
        for import in [
            "use crate::a::A;",
            "use super::{a::A as Z, x};",
            "use super::a;",
            "use crate::A;",
            "fn f() -> crate::a::A {}",
            "pub(crate) use crate::a::*;",
        ] {
            let files = [
                ("lib.rs", "mod a;\nmod b;\nmod c;\npub use a::A;"),
                ("a.rs", "use crate::b::B;\npub struct A;"),
                ("b.rs", "use crate::c::C;\npub struct B;"),
                ("c.rs", import),
            ];
            assert_eq!(
                found("chat-proto/src/", &files),
                ["chat-proto/src/a.rs: imports form a cycle: a.rs → b.rs → c.rs → a.rs"],
                "{import}"
            );
        }
    }

    #[test]
    fn an_item_of_a_parent_counts_and_a_reexport_of_a_parent_does_not() {
        let files = |parent: &'static str| {
            [
                ("lib.rs", "mod part;"),
                ("part/mod.rs", parent),
                ("part/leaf.rs", "use super::Part;\npub struct Leaf;"),
                ("part/types.rs", "pub struct Part;"),
            ]
        };
        let reexports = "mod leaf;\nmod types;\nuse self::leaf::Leaf;\nuse self::types::Part;";
        assert_eq!(found("chat-state/src/", &files(reexports)), [""; 0]);
        let defines = "mod leaf;\nuse self::leaf::Leaf;\npub struct Part;";
        assert_eq!(found("chat-state/src/", &files(defines)).len(), 1);
    }

    #[test]
    fn each_cycle_is_reported() {
        let files = [
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "use crate::a::A;"),
            ("c.rs", "use crate::d::D;\nuse crate::a::A;"),
            ("d.rs", "use crate::c::C;"),
            ("lib.rs", ""),
        ];
        assert_eq!(found("chat-state/src/", &files).len(), 2);
    }

    #[test]
    fn tests_comments_and_strings_do_not_count() {
        let files = [
            ("lib.rs", "mod a;\nmod b;"),
            (
                "a.rs",
                "mod inner { use super::*; fn f() {} }\n\
                 #[cfg(test)]\nmod tests { use crate::b::B; }\n#[cfg(test)]\nmod more;\n\
                 // use crate::b::B;\nconst X: &str = \"use crate::b::B;\";",
            ),
            ("a/more.rs", "use crate::b::B;"),
            ("b.rs", "use crate::a::A;"),
        ];
        assert_eq!(found("chat-state/src/", &files), [""; 0]);
    }
}
