//! YAML text as a tree in which every key and value knows its place. Never interprets: a scalar keeps the text that stands there.
//!
//! Anchors and aliases work (within a budget); tags, merge keys, several documents and non-scalar keys are problems.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_saphyr::granit_parser::{Event, Marker, Parser, ScalarStyle, Span};

use super::diagnostic::Problem;

/// Most nodes of a file, aliases counted as often as they are used.
const NODES_MAX: usize = 200_000;
/// Deepest nesting.
const DEPTH_MAX: usize = 64;

/// A value and its place.
#[derive(Clone, PartialEq, Debug)]
pub struct Node {
    /// Bytes of the text.
    pub span: Range<usize>,
    /// What stands there.
    pub kind: NodeKind,
}

/// What a value is.
#[derive(Clone, PartialEq, Debug)]
pub enum NodeKind {
    /// A scalar.
    Scalar {
        /// Its text.
        text: String,
        /// Whether it was written without quotes, so that `5` is a number and `~` is nothing.
        plain: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// A mapping, in file order.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Clone, PartialEq, Debug)]
pub struct Key {
    /// Its text.
    pub text: String,
    /// Bytes of the text.
    pub span: Range<usize>,
}

/// A step from a value to a part of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seg {
    /// Value of a key.
    Key(String),
    /// Element of a list.
    Index(usize),
    /// Element of a list by its `name`; an element without name if none has it.
    Named(String),
}

impl From<&str> for Seg {
    fn from(key: &str) -> Seg {
        Seg::Key(key.to_owned())
    }
}
impl From<usize> for Seg {
    fn from(index: usize) -> Seg {
        Seg::Index(index)
    }
}

impl Node {
    /// Whether it is `~`, `null` or nothing at all.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, NodeKind::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, value)| value)
    }
    /// The key itself and its value.
    pub fn entry(&self, key: &str) -> Option<&(Key, Node)> {
        match &self.kind {
            NodeKind::Map(entries) => entries.iter().find(|(k, _)| k.text == key),
            NodeKind::Scalar { .. } | NodeKind::List(_) => None,
        }
    }
    fn step(&self, seg: &Seg) -> Option<&Node> {
        match (seg, &self.kind) {
            (Seg::Key(key), NodeKind::Map(_)) => self.get(key),
            (Seg::Index(index), NodeKind::List(items)) => items.get(*index),
            (Seg::Named(name), NodeKind::List(items)) => {
                let named = |item: &&Node| matches!(item.get("name").map(|n| &n.kind), Some(NodeKind::Scalar { text, .. }) if text == name);
                items.iter().find(named).or_else(|| items.iter().find(|item| item.get("name").is_none()))
            }
            _ => None,
        }
    }
    /// Whether a part exists.
    pub fn has(&self, path: &[Seg]) -> bool {
        path.split_first().is_none_or(|(first, rest)| self.step(first).is_some_and(|node| node.has(rest)))
    }
    /// The place of a part; of the deepest part on the way that exists, if it does not.
    pub fn place(&self, path: &[Seg]) -> Range<usize> {
        let Some((first, rest)) = path.split_first() else { return self.span.clone() };
        match self.step(first) {
            Some(node) if node.span.is_empty() => self.key_place(path),
            Some(node) => node.place(rest),
            None => self.span.clone(),
        }
    }
    /// The place of the key that a path ends with; of the value it belongs to, if there is none.
    pub fn key_place(&self, path: &[Seg]) -> Range<usize> {
        let Some((last, before)) = path.split_last() else { return self.span.clone() };
        let mut node = self;
        for seg in before {
            match node.step(seg) {
                Some(next) => node = next,
                None => return node.span.clone(),
            }
        }
        match last {
            Seg::Key(key) => node.entry(key).map_or_else(|| node.span.clone(), |(key, _)| key.span.clone()),
            Seg::Index(_) | Seg::Named(_) => {
                node.step(last).map_or_else(|| node.span.clone(), |item| item.span.clone())
            }
        }
    }
    fn size(&self) -> usize {
        1 + match &self.kind {
            NodeKind::Scalar { .. } => 0,
            NodeKind::List(items) => items.iter().map(Node::size).sum(),
            NodeKind::Map(entries) => entries.iter().map(|(_, v)| v.size()).sum(),
        }
    }
}

/// Reads one document.
///
/// # Errors
/// The first thing that is not YAML as we use it; keys used twice are all reported.
pub fn parse(text: &str) -> Result<Node, Vec<Problem>> {
    let mut reader = Reader {
        text,
        starts: text.char_indices().map(|(byte, _)| byte).chain([text.len()]).collect(),
        parser: Parser::new_from_str(text),
        anchors: BTreeMap::new(),
        nodes: 0,
        problems: Vec::new(),
    };
    let node = reader.document().map_err(|problem| vec![problem])?;
    if reader.problems.is_empty() { Ok(node) } else { Err(reader.problems) }
}

struct Reader<'t> {
    text: &'t str,
    starts: Vec<usize>,
    parser: Parser<'t, serde_saphyr::granit_parser::StrInput<'t>>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    problems: Vec<Problem>,
}

impl<'t> Reader<'t> {
    fn byte(&self, marker: &Marker) -> usize {
        marker.byte_offset().unwrap_or_else(|| self.starts.get(marker.index()).copied().unwrap_or(self.text.len()))
    }
    fn range(&self, span: &Span) -> Range<usize> {
        let (from, to) = (self.byte(&span.start), self.byte(&span.end));
        // A block collection ends where the next token begins; what is reported is the collection without trailing space.
        let end = from + self.text.get(from..to).unwrap_or("").trim_end().len();
        from..end
    }
    fn next(&mut self) -> Result<(Event<'t>, Span), Problem> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let at = self.byte(error.marker());
                let said = format!("not valid YAML: {}", error.info());
                Err(Problem::new(at..at, said)
                    .label("the reader stopped here")
                    .hint("check indentation, quotes and brackets before this place"))
            }
            None => Err(Problem::new(self.text.len()..self.text.len(), "the text ends in the middle")),
        }
    }
    fn document(&mut self) -> Result<Node, Problem> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                Event::StreamEnd => break,
                event if root.is_none() => root = Some(self.node(event, span, 0)?),
                _ => {
                    let at = self.range(&span);
                    return Err(Problem::new(at, "a second document in one file")
                        .hint("put each scenario into a file of its own"));
                }
            }
        }
        root.ok_or_else(|| Problem::new(0..0, "the file is empty").hint("start with `name:` and `why:`"))
    }
    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Problem> {
        let at = self.range(&span);
        self.nodes += 1;
        if depth > DEPTH_MAX || self.nodes > NODES_MAX {
            return Err(Problem::new(at, "too deep or too large").hint("a scenario is a page, not a program"));
        }
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.no_tag(tag.is_some(), &at)?;
                let plain = style == ScalarStyle::Plain;
                (Node { span: at, kind: NodeKind::Scalar { text: text.into_owned(), plain } }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.no_tag(tag.is_some(), &at)?;
                let mut items = Vec::new();
                let end = loop {
                    let (event, span) = self.next()?;
                    if event == Event::SequenceEnd {
                        break self.byte(&span.end);
                    }
                    items.push(self.node(event, span, depth + 1)?);
                };
                let end = items.last().map_or(end, |last: &Node| self.close(last.span.end, end));
                (Node { span: at.start..end.max(at.end), kind: NodeKind::List(items) }, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.no_tag(tag.is_some(), &at)?;
                let (entries, end) = self.mapping(depth)?;
                let end = entries.last().map_or(end, |(_, last)| self.close(last.span.end, end));
                (Node { span: at.start..end.max(at.end), kind: NodeKind::Map(entries) }, anchor)
            }
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id) else {
                    return Err(Problem::new(at, "an alias of something that is not complete"));
                };
                self.nodes += node.size();
                let mut node = node.clone();
                if self.nodes > NODES_MAX {
                    return Err(Problem::new(at, "too large after aliases").hint("a scenario is a page, not a program"));
                }
                node.span = at;
                (node, 0)
            }
            _ => return Err(Problem::new(at, "not a value")),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }
    /// Where a collection ends: behind its closing bracket, or with its last member.
    fn close(&self, last: usize, end: usize) -> usize {
        match self.text.get(last..end) {
            Some(tail) if tail.trim_end().ends_with(['}', ']']) => last + tail.trim_end().len(),
            _ => last,
        }
    }
    fn mapping(&mut self, depth: usize) -> Result<(Vec<(Key, Node)>, usize), Problem> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok((entries, self.byte(&span.end))),
                Event::Scalar(text, ..) => Key { text: text.into_owned(), span: self.range(&span) },
                _ => {
                    return Err(
                        Problem::new(self.range(&span), "a key that is not a word").hint("write keys as plain words")
                    );
                }
            };
            let (event, span) = self.next()?;
            let mut value = self.node(event, span, depth + 1)?;
            if value.is_null() && value.span.is_empty() {
                value.span = key.span.end..key.span.end;
            }
            if let Some((first, _)) = entries.iter().find(|(k, _)| k.text == key.text) {
                let line = self.text[..first.span.start].matches('\n').count() + 1;
                self.problems.push(
                    Problem::new(key.span, format!("key `{}` used twice", key.text))
                        .label("used before in the same mapping")
                        .hint(format!("keep one of the two; the first is in line {line}")),
                );
                continue;
            }
            entries.push((key, value));
        }
    }
    fn no_tag(&self, tagged: bool, at: &Range<usize>) -> Result<(), Problem> {
        match tagged {
            true => Err(Problem::new(at.clone(), "tags have no meaning here").hint("remove the `!…`")),
            false => Ok(()),
        }
    }
}
