//! The TOML file.
use std::path::Path;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::error::nearest;
use super::options::Setting;
use super::{ConfigError, Given, Origin};

/// Reads the file's text; `path` is for the messages.
pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<Given>, ConfigError> {
    let place = Place { path, text };
    let root = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        ConfigError::Syntax { origin: place.at(at), error: error.message().to_owned() }
    })?;
    let mut found = Vec::new();
    for (key, value) in root.get_ref() {
        match (key.get_ref().as_ref(), value.get_ref()) {
            (LIMITS, DeValue::Table(limits)) => {
                for (key, value) in limits {
                    found.push((key.span().start, place.read(Table::Limits, key, value)));
                }
            }
            _ => found.push((key.span().start, place.read(Table::Root, key, value))),
        }
    }
    // The first mistake in the file is the one to tell.
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, given)| given).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Table {
    Root,
    Limits,
}

struct Place<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Place<'_> {
    fn at(&self, offset: usize) -> Origin {
        let before = self.text.get(..offset).unwrap_or(self.text);
        Origin::File { path: self.path.to_owned(), line: before.matches('\n').count() + 1 }
    }

    fn read(
        &self,
        table: Table,
        key: &Spanned<impl AsRef<str>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Given, ConfigError> {
        let name = key.get_ref().as_ref();
        let origin = self.at(key.span().start);
        let setting = match table {
            Table::Root => Setting::option(name),
            Table::Limits => Setting::limit(name),
        };
        let Some(setting) = setting else {
            let key = match table {
                Table::Root => name.to_owned(),
                Table::Limits => format!("{LIMITS}.{name}"),
            };
            return Err(ConfigError::UnknownKey { origin, key, hint: hint(table, name) });
        };
        let source = self.text.get(value.span()).unwrap_or_default();
        match texts(value.get_ref(), setting) {
            Ok(values) => Ok(Given { setting, values, origin }),
            Err(allowed) => Err(ConfigError::Invalid {
                origin,
                key: setting.key(),
                value: source.to_owned(),
                allowed: allowed.to_owned(),
            }),
        }
    }
}

/// Spells a value as the other sources would give it. An error says what is allowed.
fn texts(value: &DeValue<'_>, setting: Setting) -> Result<Vec<String>, &'static str> {
    match value {
        DeValue::Array(items) if setting.takes_many() => {
            items.iter().map(|item| scalar(item.get_ref()).ok_or("a list of texts")).collect()
        }
        value => Ok(vec![scalar(value).ok_or("one value: a text or a number")?]),
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(integer(number)),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// Numbers may be hexadecimal, octal or binary.
fn integer(number: &DeInteger<'_>) -> String {
    i128::from_str_radix(number.as_str(), number.radix())
        .map_or_else(|_| number.as_str().to_owned(), |number| number.to_string())
}

fn hint(table: Table, name: &str) -> Option<String> {
    let elsewhere = match table {
        Table::Root => Setting::limit(name).map(|_| "under [limits]"),
        Table::Limits => Setting::option(name).map(|_| "above [limits]"),
    };
    if let Some(place) = elsewhere {
        return Some(format!("it belongs {place}"));
    }
    let names = Setting::all().filter(|setting| match setting {
        Setting::Option(_) => table == Table::Root,
        Setting::Limit(_) => table == Table::Limits,
    });
    let tables = (table == Table::Root).then_some(LIMITS);
    nearest(name, names.map(Setting::name).chain(tables))
        .map(|meant| format!("did you mean `{meant}`?"))
}

const LIMITS: &str = "limits";
