//! Patterns of the shell: `*`, `?`, `[…]`; a backslash takes the meaning of the sign behind it.
//!
//! <https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html#tag_19_14>

/// `text` as a pattern that matches nothing else.
pub fn escape(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if "*?[]\\".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

/// Returns whether the pattern can match more than one text.
pub fn is_wild(pattern: &str) -> bool {
    let mut signs = pattern.chars();
    while let Some(c) = signs.next() {
        match c {
            '*' | '?' | '[' => return true,
            '\\' => drop(signs.next()),
            _ => {}
        }
    }
    false
}

/// Returns whether the pattern matches the whole of `text`.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.chars().collect::<Vec<_>>(), text.chars().collect::<Vec<_>>());
    let (mut at, mut passed) = (0, 0);
    // Where the last star stands, and how much of the text it has taken: only the last one need give back.
    let mut star = None;
    while passed < text.len() {
        if pattern.get(at) == Some(&'*') {
            star = Some((at, passed));
            at += 1;
        } else if let Some(length) = matches_one(&pattern[at..], text[passed]) {
            at += length;
            passed += 1;
        } else if let Some((place, taken)) = star {
            star = Some((place, taken + 1));
            (at, passed) = (place + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

/// The length of the pattern's first element where it matches `c`.
fn matches_one(pattern: &[char], c: char) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['\\', quoted, ..] => (*quoted == c).then_some(2),
        ['[', ..] => match set(pattern, c) {
            Some((contains, length)) => contains.then_some(length),
            None => (c == '[').then_some(1),
        },
        [first, ..] => (*first == c).then_some(1),
        [] => None,
    }
}

/// Returns whether the set at the beginning of the pattern contains `c`, and the length of the set.
fn set(pattern: &[char], c: char) -> Option<(bool, usize)> {
    let negated = matches!(pattern.get(1), Some('!' | '^'));
    let start = 1 + usize::from(negated);
    let mut at = start;
    let mut contains = false;
    loop {
        match pattern[at..] {
            [']', ..] if at > start => return Some((contains != negated, at + 1)),
            ['[', ':', ..] => {
                let length = pattern[at..].iter().position(|c| *c == ']')?;
                let name: String = pattern[at + 2..at + length].iter().filter(|c| **c != ':').collect();
                contains |= is_of_class(&name, c);
                at += length + 1;
            }
            ['\\', quoted, ..] => {
                contains |= quoted == c;
                at += 2;
            }
            [low, '-', high, ..] if high != ']' => {
                contains |= (low..=high).contains(&c);
                at += 3;
            }
            [one, ..] => {
                contains |= one == c;
                at += 1;
            }
            [] => return None,
        }
    }
}

fn is_of_class(name: &str, c: char) -> bool {
    match name {
        "alnum" => c.is_ascii_alphanumeric(),
        "alpha" => c.is_ascii_alphabetic(),
        "blank" => c == ' ' || c == '\t',
        "digit" => c.is_ascii_digit(),
        "lower" => c.is_ascii_lowercase(),
        "punct" => c.is_ascii_punctuation(),
        "space" => c.is_ascii_whitespace(),
        "upper" => c.is_ascii_uppercase(),
        "xdigit" => c.is_ascii_hexdigit(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_the_shell_says() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("a*c", "abbc", true),
            ("a*b*c", "axbxbxc", true),
            ("a*c", "abcd", false),
            ("?b", "ab", true),
            ("?", "", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]", "]", true),
            ("[[:digit:]]*", "9a", true),
            ("[", "[", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("*", "", true),
            ("[a", "a", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
        assert!(matches(&escape("a*[\\b]"), "a*[\\b]"));
        assert!(is_wild("a*") && !is_wild("a\\*") && !is_wild("a"));
    }

    #[test]
    fn many_stars_cost_no_more_than_the_lengths_say() {
        let text = "a".repeat(20_000);
        assert!(!matches(&format!("{}b", "*a".repeat(50)), &text));
    }
}
