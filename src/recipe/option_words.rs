//! The options of a line of a requirements file: words of a shell, as names and values.

use std::ops::Range;

/// The words of options on one line: the longest are the hashes of a release, of which it has one for each file.
pub(super) const MOST_WORDS: usize = 2048;

/// A word of a shell: its place in a line, and its text without quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub at: Range<usize>,
    pub text: String,
}

/// The reason why a text is not split into words, and the offset in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WordFault {
    /// A quote is not closed.
    Unclosed(usize),
    /// There are more than [`MOST_WORDS`].
    TooMany(usize),
}

/// The words of `text` within `range`, as Python's `shlex` splits them.
pub(super) fn words(text: &str, range: Range<usize>) -> Result<Vec<Word>, WordFault> {
    let mut words: Vec<Word> = Vec::new();
    let mut current: Option<Word> = None;
    let mut quote: Option<(char, usize)> = None;
    let mut chars = text[range.clone()].char_indices().map(|(at, c)| (range.start + at, c)).peekable();
    while let Some((at, c)) = chars.next() {
        if c.is_whitespace() && quote.is_none() {
            words.extend(current.take());
            continue;
        }
        if words.len() == MOST_WORDS {
            return Err(WordFault::TooMany(at));
        }
        let word = current.get_or_insert_with(|| Word { at: at..at, text: String::new() });
        let mut end = at + c.len_utf8();
        match (c, quote) {
            (closing, Some((opening, _))) if closing == opening => quote = None,
            ('"' | '\'', None) => quote = Some((c, at)),
            ('\\', None | Some(('"', _))) => {
                let is_escaped = |c: char| quote.is_none() || matches!(c, '"' | '\\');
                match chars.next_if(|(_, c)| is_escaped(*c)) {
                    Some((at, escaped)) => {
                        end = at + escaped.len_utf8();
                        word.text.push(escaped);
                    }
                    None => word.text.push(c),
                }
            }
            _ => word.text.push(c),
        }
        word.at.end = end;
    }
    words.extend(current);
    quote.map_or(Ok(words), |(_, at)| Err(WordFault::Unclosed(at)))
}

/// An option and its value.
pub(super) struct Given {
    pub name: Word,
    pub value: Option<Word>,
}

/// The options without a value.
const FLAGS: [&str; 5] = ["--require-hashes", "--pre", "--no-index", "--prefer-binary", "--no-deps"];

/// Splits options from their values: `--name=value`, `--name value`, `-n value`, `-nvalue`.
pub(super) fn pair_options(text: &str, words: Vec<Word>) -> Vec<Given> {
    let mut options: Vec<Given> = Vec::new();
    for word in words {
        let is_long = word.text.starts_with("--");
        let split = match word.text.find('=') {
            Some(equals) if is_long => Some((equals, equals + 1)),
            None if is_long => None,
            _ => word.text.char_indices().nth(2).map(|(at, _)| (at, at)),
        };
        let takes = |before: &Given| before.value.is_none() && !FLAGS.contains(&&*before.name.text);
        match (split, options.last_mut()) {
            (_, Some(before)) if !word.text.starts_with('-') && takes(before) => before.value = Some(word),
            (Some((name, value)), _) => options.push(cut(text, &word, name, value)),
            (None, _) => options.push(Given { name: word, value: None }),
        }
    }
    options
}

/// Cuts a word in which an option's name and value stand together.
fn cut(text: &str, word: &Word, name: usize, value: usize) -> Given {
    // Where the name is written without quotes, its place is as long as the name.
    let written = text[word.at.clone()].starts_with(&word.text[..value]);
    let (name_at, value_at) = match written {
        true => (word.at.start..word.at.start + name, word.at.start + value..word.at.end),
        false => (word.at.clone(), word.at.clone()),
    };
    Given {
        name: Word { at: name_at, text: word.text[..name].to_owned() },
        value: Some(Word { at: value_at, text: word.text[value..].to_owned() }),
    }
}
