//! The start tags of a page of links.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::mem;

use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Reader, Tokenizer};

/// The value of an attribute, its entities decoded.
pub(super) fn attribute<'a>(tag: &'a HtmlTag, key: &str) -> Option<Cow<'a, str>> {
    tag.attributes.get(key.as_bytes()).map(|value| String::from_utf8_lossy(value))
}

/// A start tag of a page.
#[derive(Debug, Default)]
pub(super) struct HtmlTag {
    pub name: Vec<u8>,
    /// Of several values of an attribute, the first.
    attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The attribute whose value comes next.
    open: Option<Vec<u8>>,
}

/// The tags `a` and `base` of a page. Its text and its faults, of which every byte may be one, are passed over.
pub(super) fn tags(body: &[u8]) -> impl Iterator<Item = HtmlTag> {
    let mut current = HtmlTag::default();
    let emitter = CallbackEmitter::new(move |event: CallbackEvent<'_>, _: html5gum::Span<()>| {
        match event {
            CallbackEvent::OpenStartTag { name } => {
                current = HtmlTag { name: name.to_owned(), ..HtmlTag::default() };
            }
            CallbackEvent::AttributeName { name } => {
                let is_new = !current.attributes.contains_key(name);
                current.open = is_new.then(|| name.to_owned());
                current.attributes.entry(name.to_owned()).or_default();
            }
            CallbackEvent::AttributeValue { value } => {
                let open = current.open.take().and_then(|name| current.attributes.get_mut(&name));
                open.into_iter().for_each(|known| known.extend_from_slice(value));
            }
            CallbackEvent::CloseStartTag { .. } => {
                return Some(mem::take(&mut current)).filter(|tag| matches!(&*tag.name, b"a" | b"base"));
            }
            _ => {}
        }
        None
    });
    Tokenizer::new_with_emitter(PageReader::new(body), emitter).map(|tag| {
        let Ok(tag) = tag;
        tag
    })
}

/// Reads a page without the white space behind quoted values, which means nothing there.
///
/// html5gum 0.9 goes from an attribute to the next one behind white space by calling itself, and a tag of so many attributes
/// that the stack does not hold the calls would end the process.
struct PageReader<'a> {
    rest: &'a [u8],
    is_behind_quote: bool,
}

impl<'a> PageReader<'a> {
    fn new(body: &'a [u8]) -> Self {
        Self { rest: body, is_behind_quote: false }
    }
}

impl Reader for PageReader<'_> {
    type Error = Infallible;

    fn read_byte(&mut self) -> Result<Option<u8>, Infallible> {
        if mem::take(&mut self.is_behind_quote) {
            self.rest = self.rest.trim_ascii_start();
        }
        Ok(self.rest.split_off_first().copied())
    }

    fn try_read_string(&mut self, text: &[u8], case_sensitive: bool) -> Result<bool, Infallible> {
        let Some((next, rest)) = self.rest.split_at_checked(text.len()) else { return Ok(false) };
        let is_next = if case_sensitive { next == text } else { next.eq_ignore_ascii_case(text) };
        if is_next {
            (self.rest, self.is_behind_quote) = (rest, false);
        }
        Ok(is_next)
    }

    fn read_until<'b>(
        &'b mut self,
        needle: &[u8],
        _: &'b mut [u8; 4],
    ) -> Result<Option<&'b [u8]>, Infallible> {
        let next = self.rest.iter().position(|byte| needle.contains(byte)).unwrap_or(self.rest.len());
        let (chunk, rest) = self.rest.split_at(next.max(1).min(self.rest.len()));
        self.rest = rest;
        self.is_behind_quote = chunk == b"\"" && needle.contains(&b'"');
        Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_of_many_attributes_takes_no_more_stack_than_one_of_two() {
        for between in [" ", "\n\t ", "", "/", " b ", " b=c ", " b='' "] {
            let body = format!("<a href=\"x\"{}><a href='y'>", format!("{between}a=\"\"").repeat(200_000));
            let found: Vec<HtmlTag> = tags(body.as_bytes()).collect();
            let href = |tag: &HtmlTag| attribute(tag, "href").map(Cow::into_owned);
            assert_eq!(
                found.iter().map(href).collect::<Vec<_>>(),
                [Some("x".into()), Some("y".into())],
                "{between:?}"
            );
        }
    }

    #[test]
    fn white_space_counts_where_it_means_something() {
        let names = |body: &str| -> Vec<String> {
            tags(body.as_bytes()).map(|tag| format!("{:?}", attribute(&tag, "href"))).collect()
        };
        assert_eq!(
            names("\"< a href=x>\" <a\thref = \"a b\" ><p title=\" <a href=x> \" ><A HREF='c\"  d'>"),
            ["Some(\"a b\")", "Some(\"c\\\"  d\")",]
        );
        assert_eq!(
            names("<!DOCTYPE a PUBLIC \"b\" \"c\" ><!-- \" <a> --><a href=\"&quot; &#x41;\"x >"),
            ["Some(\"\\\" A\")"]
        );
    }
}
