//! Maintainer scripts, read for what they say literally. Nothing is run, and nothing is guessed: a
//! command with a word only the shell could know is passed over.
//!
//! <https://www.debian.org/doc/debian-policy/ch-maintainerscripts.html>

/// The commands of a script whose words are all literal, in order. `$DPKG_ROOT`, empty in the image, is
/// dropped from words that begin with it.
pub fn literal_commands(script: &str) -> Vec<Vec<String>> {
    let joined = without_heredocs(script).replace("\\\n", " ");
    joined.lines().flat_map(commands_of_line).collect()
}

/// The text that `cat > FILE << WORD` writes to the file `path`; `None` when the script does not.
pub fn heredoc(script: &str, path: &str) -> Option<String> {
    let mut lines = script.lines();
    while let Some(line) = lines.next() {
        let Some((_, end)) = heredoc_word(line) else { continue };
        let strips_tabs = line.contains("<<-");
        let body = lines.by_ref().take_while(|line| line.trim_start_matches('\t') != end);
        let strip =
            |line: &str| if strips_tabs { line.trim_start_matches('\t').to_owned() } else { line.to_owned() };
        let body: String = body.map(|line| strip(line) + "\n").collect();
        let command = line.split("<<").next().unwrap_or("");
        if command.split_once('>').is_some_and(|(_, file)| literal(file.trim()).as_deref() == Some(path)) {
            return Some(body);
        }
    }
    None
}

/// The command before `<<`, and the word that ends the text.
fn heredoc_word(line: &str) -> Option<(&str, String)> {
    let (command, rest) = line.split_once("<<")?;
    let word = rest.trim_start_matches('-').split([' ', ';', '|', ')']).find(|word| !word.is_empty())?;
    let word = word.trim_matches(['\'', '"', '\\']);
    (!word.is_empty() && !command.trim_start().starts_with('#')).then(|| (command, word.to_owned()))
}

fn without_heredocs(script: &str) -> String {
    let mut text = String::new();
    let mut lines = script.lines();
    while let Some(line) = lines.next() {
        text.push_str(line);
        text.push('\n');
        if let Some((_, end)) = heredoc_word(line) {
            lines.by_ref().take_while(|line| line.trim_start_matches('\t') != end).for_each(drop);
        }
    }
    text
}

/// The literal commands of a line, parted by `;`, `&&`, `||` and `|`.
fn commands_of_line(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut words, mut is_literal) = (Vec::new(), Vec::new(), true);
    let mut finish = |words: &mut Vec<String>, is_literal: &mut bool| {
        const KEYWORDS: [&str; 6] = ["if", "then", "elif", "else", "do", "!"];
        let command = std::mem::take(words).into_iter();
        let command: Vec<String> =
            command.skip_while(|word: &String| KEYWORDS.contains(&word.as_str())).collect();
        if std::mem::replace(is_literal, true) && !command.is_empty() {
            commands.push(command);
        }
    };
    for word in words_of_line(line) {
        match word.as_str() {
            ";" | "&&" | "||" | "|" | "&" => finish(&mut words, &mut is_literal),
            word => match literal(word) {
                Some(word) => words.push(word),
                None => is_literal = false,
            },
        }
    }
    finish(&mut words, &mut is_literal);
    commands
}

/// The words of a line with their quotes; a comment ends them.
fn words_of_line(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), _) => {
                word.push(c);
                if c == open {
                    quote = None;
                }
            }
            (None, '#') if word.is_empty() => break,
            (None, ' ' | '\t') => words.extend((!word.is_empty()).then(|| std::mem::take(&mut word))),
            (None, ';' | '&' | '|') => {
                let is_operator = word.chars().all(|before| before == c);
                if !is_operator {
                    words.push(std::mem::take(&mut word));
                }
                word.push(c);
            }
            (None, _) => {
                if matches!(word.as_str(), ";" | "&&" | "||" | "|" | "&") {
                    words.push(std::mem::take(&mut word));
                }
                if c == '\'' || c == '"' {
                    quote = Some(c);
                }
                word.push(c);
            }
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

/// The value of a word, `None` when the shell would expand it.
fn literal(word: &str) -> Option<String> {
    let mut value = String::new();
    let mut quote = None;
    let word = word.replace("${DPKG_ROOT}", "").replace("$DPKG_ROOT", "");
    for c in word.chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some('\''), _) => value.push(c),
            (None, '\'' | '"') => quote = Some(c),
            (_, '$' | '`' | '\\') | (None, '*' | '?' | '(' | ')' | '<' | '>' | '{' | '}') => return None,
            _ => value.push(c),
        }
    }
    quote.is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_literal_commands_over_lines_quotes_and_operators() {
        let script = "#! /bin/sh\nset -e\nif [ \"$1\" = configure ]; then\n\tupdate-alternatives --install /usr/bin/awk \\\n\
                      \t\tawk '/usr/bin/mawk' 5 || true # why\n  install \"$DPKG_ROOT/a b\" \"$2\"; copy \"$DPKG_ROOT/a b\" x\nfi\n\
                      cat <<EOF\ncopy these words\nEOF\nlast\n";
        let commands = literal_commands(script);
        let expected: [&[&str]; 6] = [
            &["set", "-e"],
            &["update-alternatives", "--install", "/usr/bin/awk", "awk", "/usr/bin/mawk", "5"],
            &["true"],
            &["copy", "/a b", "x"],
            &["fi"],
            &["last"],
        ];
        assert_eq!(commands, expected);
    }

    #[test]
    fn finds_the_text_written_to_a_file() {
        let script = "cat <<EOF\nusage\nEOF\n  cat > /etc/a.conf <<EOF\n# one\n\ntwo\nEOF\n\
                      cat > \"$DPKG_ROOT/etc/b\" <<-'END'\n\t[x]\n\tEND\n";
        assert_eq!(heredoc(script, "/etc/a.conf").as_deref(), Some("# one\n\ntwo\n"));
        assert_eq!(heredoc(script, "/etc/b").as_deref(), Some("[x]\n"));
        assert_eq!(heredoc(script, "/etc/c"), None);
    }

    #[test]
    fn a_damaged_script_says_nothing() {
        for script in ["", "'unclosed", "cat > /etc/a <<", "a \\", "cat > /etc/a <<EOF\nno end"] {
            assert_eq!(heredoc(script, "/etc/zzz"), None);
            assert!(literal_commands(script).len() <= 1, "{script}");
        }
    }
}
