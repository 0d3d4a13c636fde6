//! The text of a file to a [`Model`], and where in the text each key stands.
//!
//! Finds as much as it can at once: every unknown key, every table in the wrong form and every
//! value of the wrong type. Each one found is taken out of the tree and the rest is read again.
//! Broken TOML ends the search at its first error, because what follows would be guesses.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::key::{self, Section};
use super::model::Model;
use super::problem::Finding;

/// Findings after which the search ends; keeps the message readable and the work bounded.
const FINDINGS_MAX: usize = 25;

/// What is said of a key that stands twice in its table, or of a table that does.
const DUPLICATE: &str = "duplicate key";

/// A file whose every key is known and of the right type.
pub(crate) struct Shape<'a> {
    pub(crate) model: Model,
    pub(crate) places: Places<'a>,
}

/// Reads `text`.
pub(crate) fn read(text: &str) -> Result<Shape<'_>, Vec<Finding>> {
    let root = match DeTable::parse(text) {
        Ok(root) => root,
        Err(error) => return Err(vec![syntax(text, &error)]),
    };
    let mut tree = root.clone();
    let mut findings = Vec::new();
    refuse_unknown(text, tree.get_mut(), &mut findings);
    loop {
        let deserializer = toml::de::Deserializer::from(tree.clone());
        let error = match Model::deserialize(deserializer) {
            Ok(model) if findings.is_empty() => {
                return Ok(Shape { model, places: Places { text, root: Some(root) } });
            }
            Ok(_) => return Err(findings),
            Err(error) => error,
        };
        let path = error.span().and_then(|span| path_at(tree.get_ref(), &span));
        findings.push(mistyped(text, &error, path.as_deref().unwrap_or_default()));
        let removed = path.is_some_and(|path| remove(tree.get_mut(), &path));
        if !removed || findings.len() >= FINDINGS_MAX {
            return Err(findings);
        }
    }
}

/// Where keys stand in a text, for findings about their values. Without a text (settings from a
/// command line) nothing has a place.
pub(crate) struct Places<'a> {
    text: &'a str,
    root: Option<Spanned<DeTable<'a>>>,
}

impl Places<'_> {
    /// No text.
    pub(crate) fn nowhere() -> Self {
        Self { text: "", root: None }
    }

    /// Line of the key at `path`, a table index written as a number (`lane.0.max`); of the nearest
    /// table around it when it is not written; of the file's start when that is missing too.
    pub(crate) fn line(&self, path: &str) -> Option<usize> {
        let mut offset = 0;
        let mut table = self.root.as_ref()?.get_ref();
        let mut steps = path.split('.').peekable();
        while let Some(step) = steps.next() {
            let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == step) else {
                break;
            };
            offset = key.span().start;
            let inner = match (value.get_ref(), steps.peek().and_then(|step| step.parse().ok())) {
                (DeValue::Array(array), Some(index)) => {
                    steps.next();
                    let index: usize = index;
                    let Some(element) = array.get(index) else { break };
                    offset = element.span().start;
                    element.get_ref()
                }
                (value, _) => value,
            };
            let DeValue::Table(inner) = inner else { break };
            table = inner;
        }
        Some(line_of(self.text, offset))
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    1 + memchr::memchr_iter(b'\n', before).count()
}

fn syntax(text: &str, error: &toml::de::Error) -> Finding {
    let offset = error.span().map_or(0, |span| span.start);
    let mut wrong = format!("not valid TOML: {}", error.message().trim().replace('\n', ", "));
    // The span of this one is the key's name.
    let name = error.span().filter(|_| error.message() == DUPLICATE).and_then(|at| text.get(at));
    if let Some(name) = name {
        wrong.push_str(&format!(" \"{}\"", name.trim_matches(['"', '\''])));
    }
    Finding {
        line: Some(line_of(text, offset)),
        key: String::new(),
        wrong,
        cure: "correct the line; texts and times stand in double quotes, tables begin with \
               [name] or [[name]], and each key is written once"
            .to_owned(),
    }
}

/// Takes out what the key table does not know, and tables written in the wrong form.
fn refuse_unknown(text: &str, root: &mut DeTable<'_>, findings: &mut Vec<Finding>) {
    let mut find = |offset, key: String, wrong: String, cure: String| {
        if findings.len() < FINDINGS_MAX {
            findings.push(Finding { line: Some(line_of(text, offset)), key, wrong, cure });
        }
    };
    retain(root, |name, value| {
        let offset = name.span().start;
        let Some(section) = key::section(name.get_ref()) else {
            return keep_known(name, "", &mut find);
        };
        match (value.get_mut(), section.many) {
            (DeValue::Table(table), false) => {
                retain(table, |name, _| keep_known(name, section.name, &mut find));
            }
            (DeValue::Array(array), true) => {
                for element in array.iter_mut() {
                    if let DeValue::Table(table) = element.get_mut() {
                        retain(table, |name, _| keep_known(name, section.name, &mut find));
                    }
                }
                if let Some(other) = array.iter().find(|element| !element.get_ref().is_table()) {
                    let (wrong, cure) = wrong_form(section);
                    find(other.span().start, section.name.to_owned(), wrong, cure);
                    return false;
                }
            }
            _ => {
                let (wrong, cure) = wrong_form(section);
                find(offset, section.name.to_owned(), wrong, cure);
                return false;
            }
        }
        true
    });
}

/// Takes out the entries that `keep` refuses; its names have their places, unlike those of the
/// map's own `retain`.
fn retain<'a>(
    table: &mut DeTable<'a>,
    mut keep: impl FnMut(&Spanned<Cow<'a, str>>, &mut Spanned<DeValue<'a>>) -> bool,
) {
    let mut refused = Vec::new();
    for (name, value) in table.iter_mut() {
        if !keep(name, value) {
            refused.push(name.clone());
        }
    }
    refused.iter().for_each(|name| drop(table.remove(name)));
}

fn keep_known(
    name: &Spanned<Cow<'_, str>>,
    section: &str,
    find: &mut impl FnMut(usize, String, String, String),
) -> bool {
    let written = name.get_ref().as_ref();
    if key::names_in(section).any(|known| known == written) {
        return true;
    }
    let path = if section.is_empty() { written.to_owned() } else { format!("{section}.{written}") };
    let elsewhere = || {
        key::KEYS
            .iter()
            .find(|key| key.path.split_once('.').map_or(key.path, |(_, name)| name) == written)
    };
    let cure = if let Some(nearest) = key::nearest(written, key::names_in(section)) {
        format!("did you mean \"{nearest}\"?")
    } else if let Some(key) = elsewhere() {
        match key.path.split_once('.').and_then(|(table, _)| key::section(table)) {
            Some(table) => format!("move it below {}", table.header()),
            None => "move it to the top of the file, above the first [table]".to_owned(),
        }
    } else {
        let known: Vec<&str> = key::names_in(section).collect();
        format!("remove it, or use one of: {}", known.join(", "))
    };
    find(name.span().start, path, "there is no such key".to_owned(), cure);
    false
}

fn wrong_form(section: &Section) -> (String, String) {
    let (wrong, cure) = if section.many {
        ("there can be many of this table", "write its header with two brackets")
    } else {
        ("this is one table", "write its header with one pair of brackets")
    };
    (wrong.to_owned(), format!("{cure}: {}", section.header()))
}

/// A value the model cannot take. Never repeats a password.
fn mistyped(text: &str, error: &toml::de::Error, path: &str) -> Finding {
    let key = dotted(path);
    let wrong = if key.ends_with(".password") {
        "not a string".to_owned()
    } else {
        plain_words(error.message())
    };
    let cure = match key::find(&key) {
        Some(key) => format!("write {}", key.valid),
        None => "see config/fairlane.toml for the form of every key".to_owned(),
    };
    let offset = error.span().map_or(0, |span| span.start);
    Finding { line: Some(line_of(text, offset)), key, wrong, cure }
}

/// Says the deserializer's sentence without Rust's type names.
fn plain_words(message: &str) -> String {
    let mut words = message.trim().replace('\n', ", ");
    for number in ["usize", "u64", "u32", "u16", "i64"] {
        words = words.replace(&format!("expected {number}"), "expected a whole number");
    }
    words
}

/// The path as the key table writes it: without indexes.
fn dotted(path: &str) -> String {
    let keys = path.split('.').filter(|step| step.parse::<usize>().is_err());
    keys.collect::<Vec<_>>().join(".")
}

/// Path (`lane.0.max`) of the innermost key whose name or value lies at `span`.
fn path_at(table: &DeTable<'_>, span: &Range<usize>) -> Option<String> {
    let covers = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    table.iter().find_map(|(key, value)| {
        let inner = match value.get_ref() {
            DeValue::Table(table) => path_at(table, span),
            DeValue::Array(array) => array.iter().enumerate().find_map(|(index, element)| {
                let path = path_at(element.get_ref().as_table()?, span)?;
                Some(format!("{index}.{path}"))
            }),
            _ => None,
        };
        let name = key.get_ref();
        match inner {
            Some(inner) => Some(format!("{name}.{inner}")),
            None if covers(key.span()) || covers(value.span()) => Some(name.to_string()),
            None => None,
        }
    })
}

/// Takes the key at `path` out of the tree; whether it was there.
fn remove(table: &mut DeTable<'_>, path: &str) -> bool {
    let Some((first, rest)) = path.split_once('.') else {
        let before = table.len();
        retain(table, |key, _| key.get_ref() != path);
        return table.len() < before;
    };
    let Some((_, value)) = table.iter_mut().find(|(key, _)| key.get_ref() == first) else {
        return false;
    };
    match value.get_mut() {
        DeValue::Table(inner) => remove(inner, rest),
        DeValue::Array(array) => {
            let Some((index, rest)) = rest.split_once('.') else { return false };
            let element = index.parse().ok().and_then(|index: usize| array.get_mut(index));
            match element.map(Spanned::get_mut) {
                Some(DeValue::Table(inner)) => remove(inner, rest),
                _ => false,
            }
        }
        _ => false,
    }
}
