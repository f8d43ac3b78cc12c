//! The texts that a maintainer script holds.
//!
//! <https://www.debian.org/doc/debian-policy/ch-maintainerscripts.html>

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
        }
    }
}
