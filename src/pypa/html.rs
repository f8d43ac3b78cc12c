//! The links of a page in HTML, one by one: a tree of its elements takes twenty times the page's size.
//!
//! <https://html.spec.whatwg.org/multipage/parsing.html#tokenization>

use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Span, Tokenizer};

/// An element that matters on a project's page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tag {
    /// `<base>`: the URL that links are relative to.
    Base {
        /// The attribute `href`.
        href: Option<String>,
    },
    /// `<a>`
    Link(Link),
}

/// The attributes of a link that say something of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Link {
    pub href: Option<String>,
    /// `data-core-metadata`
    pub core_metadata: Option<String>,
    /// `data-dist-info-metadata`, its older name.
    pub dist_info_metadata: Option<String>,
    /// `data-requires-python`
    pub requires_python: Option<String>,
    /// `data-yanked`
    pub yanked: Option<String>,
}

/// The elements of a page that matter, in their order.
pub(super) fn tags(page: &str) -> impl Iterator<Item = Tag> + '_ {
    let mut state = OpenTag::default();
    let mut emitter = CallbackEmitter::new(move |event: CallbackEvent<'_>, _: Span<()>| state.see(event));
    emitter.naively_switch_states(true);
    Tokenizer::new_with_emitter(page, emitter).filter_map(Result::ok)
}

/// The tag that is being read.
#[derive(Default)]
struct OpenTag {
    kind: Option<TagKind>,
    attributes: Link,
    /// The attribute whose value comes next.
    current: Vec<u8>,
}

#[derive(Clone, Copy)]
enum TagKind {
    Base,
    Link,
}

impl OpenTag {
    fn see(&mut self, event: CallbackEvent<'_>) -> Option<Tag> {
        match event {
            CallbackEvent::OpenStartTag { name } => {
                self.kind = match name {
                    b"a" => Some(TagKind::Link),
                    b"base" => Some(TagKind::Base),
                    _ => None,
                };
                self.attributes = Link::default();
            }
            CallbackEvent::AttributeName { name } => {
                self.current.clear();
                // Of an attribute that is there twice, the first counts.
                if let Some(attribute @ None) = self.attribute(name) {
                    *attribute = Some(String::new());
                    self.current.extend_from_slice(name);
                }
            }
            CallbackEvent::AttributeValue { value } => {
                let name = std::mem::take(&mut self.current);
                if let Some(attribute) = self.attribute(&name) {
                    *attribute = Some(String::from_utf8_lossy(value).into_owned());
                }
            }
            CallbackEvent::CloseStartTag { .. } => {
                let attributes = std::mem::take(&mut self.attributes);
                return Some(match self.kind.take()? {
                    TagKind::Base => Tag::Base { href: attributes.href },
                    TagKind::Link => Tag::Link(attributes),
                });
            }
            _ => {}
        }
        None
    }

    fn attribute(&mut self, name: &[u8]) -> Option<&mut Option<String>> {
        self.kind?;
        Some(match name {
            b"href" => &mut self.attributes.href,
            b"data-core-metadata" => &mut self.attributes.core_metadata,
            b"data-dist-info-metadata" => &mut self.attributes.dist_info_metadata,
            b"data-requires-python" => &mut self.attributes.requires_python,
            b"data-yanked" => &mut self.attributes.yanked,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_links_as_browsers_do() {
        let page = "<!DOCTYPE html><!-- <a href=no> --><base href='../files/'><A HREF=a.whl data-yanked>x</a>\
            <a href=\"b&amp;c.whl\" href=d data-requires-python=\"&gt;=3.8\" data-other='x' data-yanked='old &amp; bad'>\
            <script>'<a href=no>'</script><link href=no></a><a>";
        let mut found = tags(page);
        assert_eq!(found.next(), Some(Tag::Base { href: Some("../files/".into()) }));
        let (href, yanked) = (Some("a.whl".into()), Some(String::new()));
        assert_eq!(found.next(), Some(Tag::Link(Link { href, yanked, ..Link::default() })));
        let (href, yanked) = (Some("b&c.whl".into()), Some("old & bad".into()));
        let requires_python = Some(">=3.8".into());
        assert_eq!(found.next(), Some(Tag::Link(Link { href, yanked, requires_python, ..Link::default() })));
        assert_eq!(found.next(), Some(Tag::Link(Link::default())));
        assert_eq!(found.next(), None);
    }
}
