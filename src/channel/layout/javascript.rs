//! The text of `lib/layout.js`, from what is declared in `layout.rs`.

use super::words::{BitField, Passed};

/// A declaration as JavaScript has it.
#[derive(Clone)]
pub enum Part {
    /// A frozen object: name, comment and value of each entry.
    Table {
        name: String,
        docs: Vec<&'static str>,
        entries: Vec<(String, Vec<String>, u32)>,
    },
    Constant {
        name: &'static str,
        docs: Vec<&'static str>,
        value: String,
    },
    Function {
        name: String,
        docs: Vec<&'static str>,
        parameters: Vec<String>,
        body: Vec<String>,
    },
}

/// A constant as JavaScript writes it.
pub trait Literal {
    fn literal(self) -> String;
}

impl Literal for i32 {
    fn literal(self) -> String {
        self.to_string()
    }
}

impl Literal for u32 {
    fn literal(self) -> String {
        if self > i32::MAX as u32 { format!("{self:#x}") } else { self.to_string() }
    }
}

impl Literal for usize {
    fn literal(self) -> String {
        self.to_string()
    }
}

impl Literal for u64 {
    fn literal(self) -> String {
        format!("{self:#x}n")
    }
}

/// `PeerEnd` → `PEER_END`
pub fn screaming(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(c.to_ascii_uppercase());
    }
    text
}

/// `request_flag` → `RequestFlag`
pub fn pascal(name: &str) -> String {
    let capital = |word: &str| {
        let (first, rest) = word.split_at(1.min(word.len()));
        first.to_ascii_uppercase() + &rest.to_ascii_lowercase()
    };
    name.split('_').map(capital).collect()
}

/// `BODY_LENGTH` → `bodyLength`
pub fn camel(name: &str) -> String {
    let name = pascal(name);
    let (first, rest) = name.split_at(1.min(name.len()));
    first.to_ascii_lowercase() + rest
}

/// The comment of an event, with the names of its arguments.
pub fn event_docs(docs: &[&str], fields: &[Vec<String>]) -> Vec<String> {
    let words = fields.concat();
    let arguments = (!words.is_empty()).then(|| format!(" Arguments: {}.", words.join(", ")));
    docs.iter().map(|line| line.to_string()).chain(arguments).collect()
}

/// The function that calls the receiver of an event with the words of its header.
pub fn deliver_function(words: &[&str]) -> Vec<Part> {
    let words = (1..words.len()).map(|index| format!("  words[at + {index}],"));
    vec![
        Part::Constant {
            name: "EVENT_WORDS",
            docs: vec![" Words of the header of an event."],
            value: (words.len() + 1).to_string(),
        },
        Part::Function {
            name: "deliver".into(),
            docs: vec![" Calls the receiver of the event whose header begins at `at`."],
            parameters: ["receivers", "words", "at"].map(String::from).into(),
            body: ["return receivers[words[at]](".into()]
                .into_iter()
                .chain(words)
                .chain([");".into()])
                .collect(),
        },
    ]
}

/// The function that reads a number out of flags.
pub fn bit_field_function(name: &str, docs: Vec<&'static str>, field: BitField) -> Part {
    Part::Function {
        name: format!("{}Of", camel(name)),
        docs,
        parameters: vec!["flags".into()],
        body: vec![format!("return (flags >>> {}) & {:#x};", field.shift, field.max())],
    }
}

/// The function that writes the arguments of a call.
pub fn put_function(name: &str, docs: Vec<&'static str>, fields: &[Passed]) -> Part {
    let parameters = fields.iter().flat_map(|field| field.parameters.clone());
    let words = fields.iter().flat_map(|field| &field.words);
    Part::Function {
        name: format!("put{name}"),
        docs,
        parameters: ["callArgs".into()].into_iter().chain(parameters).collect(),
        body: words.enumerate().map(|(index, word)| format!("callArgs[{index}] = {word};")).collect(),
    }
}

impl Part {
    #[cfg(test)]
    fn name(&self) -> &str {
        match self {
            Part::Table { name, .. } | Part::Function { name, .. } => name,
            Part::Constant { name, .. } => name,
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Part::Table { name, docs, entries } => {
                write_docs(out, "", docs);
                out.push_str(&format!("const {name} = Object.freeze({{\n"));
                for (name, docs, value) in entries {
                    write_docs(out, "  ", docs);
                    out.push_str(&format!("  {name}: {value},\n"));
                }
                out.push_str("});\n");
            }
            Part::Constant { name, docs, value } => {
                write_docs(out, "", docs);
                out.push_str(&format!("const {name} = {value};\n"));
            }
            Part::Function { name, docs, parameters, body } => {
                write_docs(out, "", docs);
                out.push_str(&format!("function {name}({}) {{\n", parameters.join(", ")));
                body.iter().for_each(|line| out.push_str(&format!("  {line}\n")));
                out.push_str("}\n");
            }
        }
    }
}

/// Writes the lines of a Rust comment as one of JavaScript, without the brackets of links.
fn write_docs(out: &mut String, indent: &str, docs: &[impl AsRef<str>]) {
    let line = |line: &str| line.replace("[`", "`").replace("`]", "`");
    match docs {
        [] => {}
        [one] => out.push_str(&format!("{indent}/**{} */\n", line(one.as_ref()))),
        lines => {
            out.push_str(&format!("{indent}/**\n"));
            lines.iter().for_each(|each| out.push_str(&format!("{indent} *{}\n", line(each.as_ref()))));
            out.push_str(&format!("{indent} */\n"));
        }
    }
}

#[cfg(test)]
const HEAD: &str = "\
'use strict';
// The numbers by which the two sides of the addon understand each other. Generated from
// src/channel/layout.rs: change them there, and run `UPDATE=1 cargo test --no-default-features layout`.

";

/// The text of the file, with the number that identifies the layout.
#[cfg(test)]
pub fn text(parts: &[Part]) -> String {
    let mut text = String::from(HEAD);
    for part in parts {
        part.write(&mut text);
        text.push('\n');
    }
    let number = number_of(parts);
    text.push_str("/** Of all that is above; the addon has the same, if it is of the same build. */\n");
    text.push_str(&format!("const LAYOUT = {number};\n\nmodule.exports = {{\n"));
    for name in parts.iter().map(Part::name).chain(["LAYOUT"]) {
        text.push_str(&format!("  {name},\n"));
    }
    text.push_str("};\n");
    text
}

/// A hash (FNV-1a) of the JavaScript code of the parts, without its comments, in 31 bits.
pub fn number_of(parts: &[Part]) -> u32 {
    let mut code = String::new();
    parts.iter().for_each(|part| part.write(&mut code));
    let is_code = |line: &&str| !line.trim_start().starts_with(['/', '*']);
    let bytes = code.lines().filter(is_code).flat_map(str::bytes);
    bytes.fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)) >> 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_javascript_writes_them() {
        assert_eq!(screaming("PeerEnd"), "PEER_END");
        assert_eq!(
            (pascal("request_flag"), camel("BODY_LENGTH")),
            ("RequestFlag".into(), "bodyLength".into())
        );
    }

    #[test]
    fn the_number_is_that_of_the_code() {
        let constant = |docs: Vec<&'static str>, value: &str| {
            number_of(&[Part::Constant { name: "A", docs, value: value.into() }])
        };
        assert_eq!(constant(vec![" One."], "1"), constant(vec![" Another", " comment."], "1"));
        assert_ne!(constant(vec![], "1"), constant(vec![], "2"));
    }
}
