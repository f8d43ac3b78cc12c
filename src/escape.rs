//! Text from outside as people read it: on one line, without what drives a terminal or a runner of CI.
//!
//! Names in images, wheels, indexes and recipes are of somebody else's choosing. JSON, SARIF, SVG and HTML have escapes
//! of their own; everything else that is printed passes here.

use std::borrow::Cow;

/// The beginning of commands that the runners of GitHub, Azure and TeamCity obey, some anywhere in a line.
///
/// <https://github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs>
pub const MARKS: [&str; 3] = ["##[", "##vso[", "##teamcity["];

/// The beginning of commands that GitHub's runner obeys at the start of a line, behind white space too.
const COMMAND: &str = "::";

/// `text` on one line: everything that a terminal obeys or does not show is escaped as in Rust (`\n`, `\u{1b}`), and no
/// mark of a runner's command is left whole.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_visible) && !MARKS.iter().any(|mark| text.contains(mark)) {
        return Cow::Borrowed(text);
    }
    let mut shown = text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        if is_visible(c) {
            shown.push(c)
        } else {
            shown.extend(visible(c))
        }
        shown
    });
    for mark in MARKS {
        shown = shown.replace(mark, &mark.replacen("##", "#\\u{23}", 1));
    }
    Cow::Owned(shown)
}

/// `text` as a line of its own: [`escaped`], and no command of GitHub's runner.
pub fn line(text: &str) -> String {
    let shown = escaped(text);
    let command = shown.trim_start();
    match command.strip_prefix(COMMAND) {
        Some(rest) => format!("{}\\u{{3a}}:{rest}", &shown[..shown.len() - command.len()]),
        None => shown.into_owned(),
    }
}

/// The same JSON with such characters escaped as JSON has it: they stand in strings only.
pub fn json(document: &str) -> String {
    let mut shown = String::with_capacity(document.len());
    for c in document.chars() {
        match is_visible(c) || c == '\n' {
            true => shown.push(c),
            false => shown.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}"))),
        }
    }
    MARKS.iter().fold(shown, |shown, mark| shown.replace(mark, &mark.replacen("##", "#\\u0023", 1)))
}

/// The escape of a character: `\n`, `\u{202e}`.
fn visible(c: char) -> impl Iterator<Item = char> {
    c.escape_default()
}

/// Returns whether a terminal shows `c` where it stands, and as itself: false for controls, for characters that change
/// the direction of text, that end lines, or that have no width.
///
/// The ranges are Unicode's categories Cc, Cf, Zl and Zp, and Default_Ignorable_Code_Point:
/// <https://www.unicode.org/reports/tr44/#General_Category_Values>
pub fn is_visible(c: char) -> bool {
    !matches!(c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}'
        | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}'
        | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(line(text), expected);
        assert_eq!(line(&line(text)), expected, "escaping twice");
    }

    #[test]
    fn what_people_write_stays() {
        for text in ["", "a  b", "dünn/ß.so", "日本語", "e\u{301}", "a::b", "C:\\n", "# [x]", "😀"] {
            check(text, text);
            assert!(matches!(escaped(text), Cow::Borrowed(_)), "{text}");
        }
    }

    #[test]
    fn nothing_that_a_terminal_obeys_or_hides_is_left() {
        check("a\x1b]0;x\x07b", "a\\u{1b}]0;x\\u{7}b");
        check("a\nb\r\tc\0\x7f", "a\\nb\\r\\tc\\u{0}\\u{7f}");
        check("\u{9b}31m\u{85}", "\\u{9b}31m\\u{85}");
        check("\u{202e}gpj\u{2066}\u{200f}\u{61c}", "\\u{202e}gpj\\u{2066}\\u{200f}\\u{61c}");
        check("a\u{2028}b\u{2029}c", "a\\u{2028}b\\u{2029}c");
        check("a\u{200b}\u{200d}\u{feff}\u{2060}\u{ad}b", "a\\u{200b}\\u{200d}\\u{feff}\\u{2060}\\u{ad}b");
        check("\u{e0041}\u{fe0f}\u{3164}", "\\u{e0041}\\u{fe0f}\\u{3164}");
    }

    #[test]
    fn no_line_is_a_command_of_a_runner() {
        check("::stop-commands::x", "\\u{3a}:stop-commands::x");
        check(" \u{3000}::error::x", " \u{3000}\\u{3a}:error::x");
        check("a\n::error::x", "a\\n::error::x");
        check("see ##[error]x", "see #\\u{23}[error]x");
        check("##vso[task.setvariable]", "#\\u{23}vso[task.setvariable]");
        check("##teamcity[message]", "#\\u{23}teamcity[message]");
        check("###[x", "##\\u{23}[x");
    }

    #[test]
    fn json_means_the_same_with_everything_escaped() {
        for text in ["a\u{9b}31m\u{7f}", "\u{202e}##[error]", "\u{e0041}##vso[x]", "\n\t\"\\", "plain"] {
            let document = serde_json::to_string_pretty(&[text]).unwrap();
            let shown = json(&document);
            assert!(shown.chars().all(|c| is_visible(c) || c == '\n') && !shown.contains("##"), "{shown}");
            assert_eq!(serde_json::from_str::<[String; 1]>(&shown).unwrap(), [text]);
        }
    }

    /// The standard library knows Unicode's categories, and escapes a few more: combining marks and what is unassigned.
    #[test]
    fn whatever_the_standard_library_shows_in_a_text_is_shown() {
        let is_shown = |c: char| format!("{:?}", format!("x{c}")).len() == 3 + c.len_utf8();
        let hidden = |c: &char| is_shown(*c) && !is_visible(*c);
        let unexpected: Vec<char> = ('\0'..=char::MAX).filter(hidden).collect();
        let is_ignorable = |c: &char| {
            matches!(c, '\u{34f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
                | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0100}'..='\u{e01ef}'
                | '\u{600}'..='\u{605}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
                | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}')
        };
        assert!(unexpected.iter().all(is_ignorable), "{unexpected:?}");
    }
}
