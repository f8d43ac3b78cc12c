//! The start tags of a page of links.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::mem;

use html5gum::Tokenizer;
use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};

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
    Tokenizer::new_with_emitter(body, emitter).map(|tag| {
        let Ok(tag) = tag;
        tag
    })
}
