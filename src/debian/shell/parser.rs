//! The grammar of the shell: lists, pipelines, commands and words.
//!
//! Commands are in words, as `$(…)`, and words in commands: one file.

use std::cell::OnceCell;
use std::rc::Rc;

use super::lexer::{Awaited, Lexer, is_name, is_word_end};
use super::syntax::{
    AndOr, CommandKind, Join, LONGEST_SCRIPT, List, ParameterChange, ParameterOperator, PartKind, Pipeline,
    Redirection, RedirectionTarget, ShellCommand, ShellWord, SyntaxError, SyntaxFault, WordPart,
};

/// The commands of a script.
pub fn parse(script: &str) -> Result<List, SyntaxError> {
    if script.len() > LONGEST_SCRIPT {
        return Err(SyntaxError { line: 1, fault: SyntaxFault::TooLong });
    }
    parse_nested(script, 1, 0)
}

fn parse_nested(text: &str, line: usize, depth: usize) -> Result<List, SyntaxError> {
    let mut lexer = Lexer::new(text, line, depth);
    let list = list(&mut lexer)?;
    match lexer.rest() {
        "" => Ok(list),
        _ => Err(lexer.fault(SyntaxFault::Missing("end of the commands"))),
    }
}

/// The commands up to `end`, which is passed.
fn list_until(lexer: &mut Lexer<'_>, end: &'static str) -> Result<List, SyntaxError> {
    let list = list(lexer)?;
    let ends = if end == ")" { lexer.take(end) } else { lexer.take_reserved(end) };
    if ends { Ok(list) } else { Err(lexer.fault(SyntaxFault::Missing(end))) }
}

/// The commands up to what cannot begin one.
fn list(lexer: &mut Lexer<'_>) -> Result<List, SyntaxError> {
    const ENDS: [&str; 8] = ["then", "elif", "else", "fi", "do", "done", "esac", "}"];
    let mut list = List::new();
    loop {
        skip_lines(lexer)?;
        let ends = lexer.rest().is_empty() || lexer.rest().starts_with([')', ';', '&', '|']);
        if ends || ENDS.contains(&lexer.peek_name()) {
            return Ok(list);
        }
        list.push(and_or(lexer)?);
        lexer.skip_blanks();
        let separated = !lexer.rest().starts_with(";;") && (lexer.take(";") || lexer.take("&"));
        if !separated && lexer.peek() != Some('\n') {
            return Ok(list);
        }
    }
}

/// Passes blanks and ends of lines, with the here-documents that begin there.
fn skip_lines(lexer: &mut Lexer<'_>) -> Result<(), SyntaxError> {
    loop {
        lexer.skip_blanks();
        if !lexer.take("\n") {
            return Ok(());
        }
        for awaited in std::mem::take(&mut lexer.awaited) {
            let line = lexer.line();
            let text = lexer.take_document(&awaited);
            let word = match awaited.expands {
                true => document(&text, line, lexer.depth())?,
                false => ShellWord(vec![WordPart { kind: PartKind::Text(text), quoted: true }]),
            };
            let _ = awaited.place.set(word);
        }
    }
}

fn and_or(lexer: &mut Lexer<'_>) -> Result<AndOr, SyntaxError> {
    let first = pipeline(lexer)?;
    let mut rest = Vec::new();
    loop {
        lexer.skip_blanks();
        let join = match () {
            () if lexer.take("&&") => Join::And,
            () if lexer.take("||") => Join::Or,
            () => return Ok(AndOr { first, rest }),
        };
        skip_lines(lexer)?;
        rest.push((join, pipeline(lexer)?));
    }
}

fn pipeline(lexer: &mut Lexer<'_>) -> Result<Pipeline, SyntaxError> {
    let mut negated = false;
    lexer.skip_blanks();
    while lexer.take_reserved("!") {
        negated = !negated;
        lexer.skip_blanks();
    }
    let mut commands = vec![lexer.nested(command)?];
    loop {
        lexer.skip_blanks();
        if lexer.rest().starts_with("||") || !lexer.take("|") {
            return Ok(Pipeline { negated, commands });
        }
        skip_lines(lexer)?;
        commands.push(lexer.nested(command)?);
    }
}

fn command(lexer: &mut Lexer<'_>) -> Result<ShellCommand, SyntaxError> {
    lexer.skip_blanks();
    let (start, line) = (lexer.position(), lexer.line());
    let mut redirections = Vec::new();
    let kind = match compound(lexer)? {
        Some(kind) => {
            while let Some(redirection) = redirection(lexer)? {
                redirections.push(redirection);
            }
            kind
        }
        None => simple(lexer, &mut redirections)?,
    };
    Ok(ShellCommand { kind, redirections, line, text: lexer.since(start) })
}

fn compound(lexer: &mut Lexer<'_>) -> Result<Option<CommandKind>, SyntaxError> {
    if lexer.take("(") {
        return Ok(Some(CommandKind::Subshell(list_until(lexer, ")")?)));
    }
    let name = lexer.peek_name();
    let kind = match name {
        "{" | "if" | "for" | "case" | "while" | "until" => {
            lexer.take(name);
            match name {
                "{" => CommandKind::Group(list_until(lexer, "}")?),
                "if" => conditional(lexer)?,
                "for" => repetition(lexer)?,
                "case" => choice(lexer)?,
                _ => {
                    let condition = list_until(lexer, "do")?;
                    let body = list_until(lexer, "done")?;
                    CommandKind::While { until: name == "until", condition, body }
                }
            }
        }
        _ => return function(lexer),
    };
    Ok(Some(kind))
}

fn conditional(lexer: &mut Lexer<'_>) -> Result<CommandKind, SyntaxError> {
    let mut branches = Vec::new();
    loop {
        let condition = list_until(lexer, "then")?;
        branches.push((condition, list(lexer)?));
        if lexer.take_reserved("elif") {
            continue;
        }
        let otherwise = if lexer.take_reserved("else") { list(lexer)? } else { List::new() };
        lexer.require("fi")?;
        return Ok(CommandKind::If { branches, otherwise });
    }
}

fn repetition(lexer: &mut Lexer<'_>) -> Result<CommandKind, SyntaxError> {
    lexer.skip_blanks();
    let name = lexer.peek_name();
    if !is_name(name) {
        return Err(lexer.fault(SyntaxFault::Parameter));
    }
    lexer.take(name);
    skip_lines(lexer)?;
    let words = if lexer.take_reserved("in") { Some(words(lexer)?) } else { None };
    lexer.skip_blanks();
    lexer.take(";");
    skip_lines(lexer)?;
    lexer.require("do")?;
    Ok(CommandKind::For { name: name.to_owned(), words, body: list_until(lexer, "done")? })
}

/// The words up to the end of the line or command.
fn words(lexer: &mut Lexer<'_>) -> Result<Vec<ShellWord>, SyntaxError> {
    let mut words = Vec::new();
    loop {
        lexer.skip_blanks();
        if lexer.peek().is_none_or(is_word_end) {
            return Ok(words);
        }
        words.push(word(lexer)?);
    }
}

fn choice(lexer: &mut Lexer<'_>) -> Result<CommandKind, SyntaxError> {
    lexer.skip_blanks();
    let compared = word(lexer)?;
    skip_lines(lexer)?;
    lexer.require("in")?;
    let mut arms = Vec::new();
    loop {
        skip_lines(lexer)?;
        if lexer.take_reserved("esac") {
            return Ok(CommandKind::Case { word: compared, arms });
        }
        let patterns = patterns(lexer)?;
        let body = list(lexer)?;
        arms.push((patterns, body));
        skip_lines(lexer)?;
        if !lexer.take(";;") && lexer.peek_name() != "esac" {
            return Err(lexer.fault(SyntaxFault::Missing(";;")));
        }
    }
}

fn patterns(lexer: &mut Lexer<'_>) -> Result<Vec<ShellWord>, SyntaxError> {
    lexer.take("(");
    let mut patterns = Vec::new();
    loop {
        lexer.skip_blanks();
        patterns.push(word(lexer)?);
        lexer.skip_blanks();
        if lexer.take(")") {
            return Ok(patterns);
        }
        if !lexer.take("|") {
            return Err(lexer.fault(SyntaxFault::Missing(")")));
        }
    }
}

/// A function's definition, if one comes next.
fn function(lexer: &mut Lexer<'_>) -> Result<Option<CommandKind>, SyntaxError> {
    let name = lexer.peek_name();
    let behind = lexer.rest()[name.len()..].trim_start_matches([' ', '\t']);
    if name.is_empty() || name.contains('=') || !behind.starts_with('(') {
        return Ok(None);
    }
    lexer.take(name);
    lexer.skip_blanks();
    lexer.take("(");
    lexer.skip_blanks();
    if !lexer.take(")") {
        return Err(lexer.fault(SyntaxFault::Missing(")")));
    }
    skip_lines(lexer)?;
    let body = Rc::new(lexer.nested(command)?);
    Ok(Some(CommandKind::Function { name: name.to_owned(), body }))
}

fn simple(lexer: &mut Lexer<'_>, redirections: &mut Vec<Redirection>) -> Result<CommandKind, SyntaxError> {
    let (mut assignments, mut words) = (Vec::new(), Vec::new());
    loop {
        lexer.skip_blanks();
        if let Some(redirection) = redirection(lexer)? {
            redirections.push(redirection);
            continue;
        }
        if lexer.peek().is_none_or(is_word_end) {
            return Ok(CommandKind::Simple { assignments, words });
        }
        let name = lexer.rest().split('=').next().unwrap_or_default();
        if words.is_empty() && is_name(name) && lexer.rest().len() > name.len() {
            lexer.take(name);
            lexer.take("=");
            assignments.push((name.to_owned(), word(lexer)?));
        } else {
            words.push(word(lexer)?);
        }
    }
}

/// A redirection, if one comes next.
fn redirection(lexer: &mut Lexer<'_>) -> Result<Option<Redirection>, SyntaxError> {
    lexer.skip_blanks();
    let digits = lexer.rest().len() - lexer.rest().trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number = &lexer.rest()[..digits];
    let behind = &lexer.rest()[digits..];
    if !behind.starts_with(['<', '>']) {
        return Ok(None);
    }
    let default = u32::from(behind.starts_with('>'));
    let descriptor = if number.is_empty() { default } else { number.parse().unwrap_or(u32::MAX) };
    lexer.take(number);
    let target = match () {
        () if lexer.take("<<-") => RedirectionTarget::Here(here_document(lexer, true)?),
        () if lexer.take("<<") => RedirectionTarget::Here(here_document(lexer, false)?),
        () if lexer.take(">>") => RedirectionTarget::Append(target(lexer)?),
        () if lexer.take(">&") || lexer.take("<&") => RedirectionTarget::Duplicate(target(lexer)?),
        () if lexer.take(">|") || lexer.take(">") => RedirectionTarget::Write(target(lexer)?),
        () => {
            lexer.take("<");
            RedirectionTarget::Read(target(lexer)?)
        }
    };
    Ok(Some(Redirection { descriptor, target }))
}

fn target(lexer: &mut Lexer<'_>) -> Result<ShellWord, SyntaxError> {
    lexer.skip_blanks();
    let word = word(lexer)?;
    if word.0.is_empty() { Err(lexer.fault(SyntaxFault::Redirection)) } else { Ok(word) }
}

/// Awaits a here-document, whose end is the word that comes next.
fn here_document(lexer: &mut Lexer<'_>, strips_tabs: bool) -> Result<Rc<OnceCell<ShellWord>>, SyntaxError> {
    let word = target(lexer)?;
    let mut end = String::new();
    for part in &word.0 {
        let PartKind::Text(text) = &part.kind else { return Err(lexer.fault(SyntaxFault::Redirection)) };
        end.push_str(text);
    }
    let place = Rc::new(OnceCell::new());
    let expands = word.0.iter().all(|part| !part.quoted);
    lexer.awaited.push(Awaited { end, strips_tabs, expands, place: Rc::clone(&place) });
    Ok(place)
}

/// The word that comes next; empty where none does.
fn word(lexer: &mut Lexer<'_>) -> Result<ShellWord, SyntaxError> {
    let mut word = ShellWord::default();
    while let Some(c) = lexer.peek().filter(|c| !is_word_end(*c)) {
        part(lexer, c, &mut word)?;
    }
    Ok(word)
}

/// A word up to the `}` that closes a `${`.
fn word_in_braces(lexer: &mut Lexer<'_>, quoted: bool) -> Result<ShellWord, SyntaxError> {
    let mut word = ShellWord::default();
    loop {
        match lexer.peek().ok_or_else(|| lexer.fault(SyntaxFault::Missing("}")))? {
            '}' => {
                lexer.next();
                return Ok(word);
            }
            c if c.is_ascii_whitespace() || is_word_end(c) => {
                lexer.next();
                word.push_text(&c.to_string(), quoted);
            }
            '"' if quoted => {
                lexer.next();
            }
            c => part(lexer, c, &mut word)?,
        }
    }
}

fn part(lexer: &mut Lexer<'_>, first: char, word: &mut ShellWord) -> Result<(), SyntaxError> {
    match first {
        '\'' => {
            lexer.next();
            let text = lexer.take_until('\'')?;
            word.push_quoted(text);
        }
        '"' => {
            lexer.next();
            quoted(lexer, word, Some('"'))?;
        }
        '\\' => {
            lexer.next();
            match lexer.next() {
                Some('\n') => {}
                Some(c) => word.push_text(&c.to_string(), true),
                None => word.push_text("\\", true),
            }
        }
        '$' | '`' => expansion(lexer, false, word)?,
        _ => {
            let text = lexer.take_while(|c| !is_word_end(c) && !"'\"\\$`}".contains(c));
            match text {
                "" => {
                    lexer.next();
                    word.push_text(&first.to_string(), false);
                }
                text => word.push_text(text, false),
            }
        }
    }
    Ok(())
}

/// The content of double quotes up to `end`, or to the end of the text.
fn quoted(lexer: &mut Lexer<'_>, word: &mut ShellWord, end: Option<char>) -> Result<(), SyntaxError> {
    if lexer.peek() == end {
        word.push_quoted("");
    }
    loop {
        let text = lexer.take_while(|c| Some(c) != end && !"\\$`".contains(c));
        word.push_text(text, true);
        match lexer.peek() {
            None if end.is_none() => return Ok(()),
            None => return Err(lexer.fault(SyntaxFault::OpenQuote)),
            Some('\\') => {
                lexer.next();
                match lexer.next() {
                    Some('\n') => {}
                    Some(c) if "$`\\".contains(c) || Some(c) == end => word.push_text(&c.to_string(), true),
                    Some(c) => word.push_text(&format!("\\{c}"), true),
                    None => word.push_text("\\", true),
                }
            }
            Some('$' | '`') => expansion(lexer, true, word)?,
            Some(_) => {
                lexer.next();
                return Ok(());
            }
        }
    }
}

/// The text of a here-document whose word was not quoted.
fn document(text: &str, line: usize, depth: usize) -> Result<ShellWord, SyntaxError> {
    let mut word = ShellWord::default();
    let mut lexer = Lexer::new(text, line, depth);
    quoted(&mut lexer, &mut word, None)?;
    Ok(word)
}

fn expansion(lexer: &mut Lexer<'_>, quoted: bool, word: &mut ShellWord) -> Result<(), SyntaxError> {
    let kind = match lexer.next() {
        Some('`') => PartKind::Output(backquoted(lexer)?),
        _ if lexer.rest().starts_with("((") => arithmetic(lexer)?,
        _ if lexer.take("(") => PartKind::Output(lexer.nested(|lexer| list_until(lexer, ")"))?),
        _ if lexer.take("{") => lexer.nested(|lexer| in_braces(lexer, quoted))?,
        _ => match name(lexer) {
            "" => {
                word.push_text("$", quoted);
                return Ok(());
            }
            name => PartKind::Parameter { name: name.to_owned(), change: None },
        },
    };
    word.0.push(WordPart { kind, quoted });
    Ok(())
}

/// The name of a variable, the number of an argument, or a sign such as `?`.
fn name<'a>(lexer: &mut Lexer<'a>) -> &'a str {
    let rest = lexer.rest();
    let length = match rest.chars().next() {
        Some(c) if c.is_ascii_digit() || "@*#?-$!".contains(c) => 1,
        _ => rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len()),
    };
    let name = &rest[..length];
    lexer.take(name);
    name
}

fn in_braces(lexer: &mut Lexer<'_>, quoted: bool) -> Result<PartKind, SyntaxError> {
    let is_length = lexer.rest().starts_with('#') && !lexer.rest().starts_with("#}");
    if is_length {
        lexer.next();
    }
    let name = name(lexer).to_owned();
    if name.is_empty() {
        return Err(lexer.fault(SyntaxFault::Parameter));
    }
    if lexer.take("}") {
        let change = is_length.then(|| ParameterChange {
            operator: ParameterOperator::Length,
            or_empty: false,
            word: ShellWord::default(),
        });
        return Ok(PartKind::Parameter { name, change });
    }
    let or_empty = lexer.take(":");
    let operator = operator(lexer).ok_or_else(|| lexer.fault(SyntaxFault::Parameter))?;
    let is_pattern = matches!(operator, ParameterOperator::Suffix { .. } | ParameterOperator::Prefix { .. });
    let word = word_in_braces(lexer, quoted && !is_pattern)?;
    Ok(PartKind::Parameter { name, change: Some(ParameterChange { operator, or_empty, word }) })
}

fn operator(lexer: &mut Lexer<'_>) -> Option<ParameterOperator> {
    const OPERATORS: [(&str, ParameterOperator); 8] = [
        ("%%", ParameterOperator::Suffix { longest: true }),
        ("%", ParameterOperator::Suffix { longest: false }),
        ("##", ParameterOperator::Prefix { longest: true }),
        ("#", ParameterOperator::Prefix { longest: false }),
        ("-", ParameterOperator::Default),
        ("=", ParameterOperator::Assign),
        ("?", ParameterOperator::Require),
        ("+", ParameterOperator::Alternative),
    ];
    OPERATORS.into_iter().find(|(text, _)| lexer.take(text)).map(|(_, operator)| operator)
}

/// Passes `((…))`.
fn arithmetic(lexer: &mut Lexer<'_>) -> Result<PartKind, SyntaxError> {
    let mut open = 0;
    while let Some(c) = lexer.next() {
        match c {
            '(' => open += 1,
            ')' if open == 1 => return Ok(PartKind::Arithmetic),
            ')' => open -= 1,
            _ => {}
        }
    }
    Err(lexer.fault(SyntaxFault::Missing("))")))
}

/// The commands between backquotes, within which backslashes quote.
fn backquoted(lexer: &mut Lexer<'_>) -> Result<List, SyntaxError> {
    let line = lexer.line();
    let mut text = String::new();
    loop {
        match lexer.next().ok_or_else(|| lexer.fault(SyntaxFault::OpenQuote))? {
            '`' => break,
            '\\' => match lexer.next() {
                Some(c) if "`\\$".contains(c) => text.push(c),
                Some(c) => text.extend(['\\', c]),
                None => {}
            },
            c => text.push(c),
        }
    }
    let depth = lexer.depth() + 1;
    lexer.nested(|_| parse_nested(&text, line, depth))
}

impl ShellWord {
    /// Adds text in quotes, which makes a word even where it is empty.
    fn push_quoted(&mut self, text: &str) {
        match text {
            "" => self.0.push(WordPart { kind: PartKind::Text(String::new()), quoted: true }),
            text => self.push_text(text, true),
        }
    }

    /// Adds text, to the part before it where that is of the same kind.
    fn push_text(&mut self, text: &str, is_quoted: bool) {
        if text.is_empty() {
            return;
        }
        if let Some(WordPart { kind: PartKind::Text(before), quoted }) = self.0.last_mut()
            && *quoted == is_quoted
        {
            before.push_str(text);
            return;
        }
        self.0.push(WordPart { kind: PartKind::Text(text.to_owned()), quoted: is_quoted });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The commands of a list in a compact form, to be compared.
    fn shape(list: &List) -> String {
        let parts: Vec<String> = list.iter().map(and_or_shape).collect();
        parts.join("; ")
    }

    fn and_or_shape(and_or: &AndOr) -> String {
        let mut text = pipeline_shape(&and_or.first);
        for (join, pipeline) in &and_or.rest {
            let sign = if *join == Join::And { "&&" } else { "||" };
            text += &format!(" {sign} {}", pipeline_shape(pipeline));
        }
        text
    }

    fn pipeline_shape(pipeline: &Pipeline) -> String {
        let commands: Vec<String> = pipeline.commands.iter().map(command_shape).collect();
        format!("{}{}", if pipeline.negated { "!" } else { "" }, commands.join(" | "))
    }

    fn command_shape(command: &ShellCommand) -> String {
        let kind = match &command.kind {
            CommandKind::Simple { assignments, words } => {
                let assigned = assignments.iter().map(|(name, word)| format!("{name}={}", word_shape(word)));
                assigned.chain(words.iter().map(word_shape)).collect::<Vec<_>>().join(" ")
            }
            CommandKind::Group(list) => format!("{{{}}}", shape(list)),
            CommandKind::Subshell(list) => format!("({})", shape(list)),
            CommandKind::If { branches, otherwise } => {
                let branches: Vec<String> =
                    branches.iter().map(|(when, then)| format!("{}?{}", shape(when), shape(then))).collect();
                format!("if[{}:{}]", branches.join(":"), shape(otherwise))
            }
            CommandKind::For { name, words, body } => {
                let words = words.iter().flatten().map(word_shape).collect::<Vec<_>>().join(" ");
                format!("for {name}[{words}]{{{}}}", shape(body))
            }
            CommandKind::While { until, condition, body } => {
                format!("{}[{}]{{{}}}", if *until { "until" } else { "while" }, shape(condition), shape(body))
            }
            CommandKind::Case { word, arms } => {
                let arm = |(patterns, body): &(Vec<ShellWord>, List)| {
                    let patterns: Vec<String> = patterns.iter().map(word_shape).collect();
                    format!("{}>{}", patterns.join("|"), shape(body))
                };
                let arms: Vec<String> = arms.iter().map(arm).collect();
                format!("case {}[{}]", word_shape(word), arms.join(";"))
            }
            CommandKind::Function { name, body } => format!("{name}(){}", command_shape(body)),
        };
        let redirections = command.redirections.iter().map(|redirection| {
            let (sign, word) = match &redirection.target {
                RedirectionTarget::Read(word) => ("<", word_shape(word)),
                RedirectionTarget::Write(word) => (">", word_shape(word)),
                RedirectionTarget::Append(word) => (">>", word_shape(word)),
                RedirectionTarget::Duplicate(word) => (">&", word_shape(word)),
                RedirectionTarget::Here(place) => ("<<", place.get().map(word_shape).unwrap_or_default()),
            };
            format!(" {}{sign}{word}", redirection.descriptor)
        });
        kind + &redirections.collect::<String>()
    }

    fn word_shape(word: &ShellWord) -> String {
        let part = |part: &WordPart| {
            let text = match &part.kind {
                PartKind::Text(text) => text.clone(),
                PartKind::Parameter { name, change: None } => format!("${name}"),
                PartKind::Parameter { name, change: Some(change) } => {
                    format!("${{{name} {:?} {}}}", change.operator, word_shape(&change.word))
                }
                PartKind::Output(list) => format!("$({})", shape(list)),
                PartKind::Arithmetic => "$(())".into(),
            };
            if part.quoted { format!("'{text}'") } else { text }
        };
        word.0.iter().map(part).collect()
    }

    fn check(script: &str, expected: &str) {
        assert_eq!(parse(script).map(|list| shape(&list)).as_deref(), Ok(expected), "{script}");
    }

    #[test]
    fn commands_are_read_as_the_shell_reads_them() {
        check("#! /bin/sh\nset -e # stop\n\nA=1 B=$A make \\\n  x;y & z", "set -e; A=1 B=$A make x; y; z");
        check("a && ! b || c | d", "a && !b || c | d");
        check("if a; then b; elif c\nthen d; else e; fi >f", "if[a?b:c?d:e] 1>f");
        check("for x in a \"b c\"; do\n echo $x\ndone", "for x[a 'b c']{echo $x}");
        check("for x do echo; done", "for x[]{echo}");
        check("while read l; do :; done < f", "while[read l]{:} 0<f");
        check("case \"$1\" in\n a|b) x;;\n (*) y\n esac", "case '$1'[a|b>x;*>y]");
        check("case x in a) ;; esac", "case x[a>]");
        check("f() { a; }\ng () (b)\nf", "f(){a}; g()(b); f");
        check("a >/dev/null 2>&1 <b >>c", "a 1>/dev/null 2>&1 0<b 1>>c");
    }

    #[test]
    fn words_keep_their_quotes_and_expansions() {
        check("echo a\\ b'c d'\"e $f\"", "echo a' 'b'c de ''$f'");
        check("echo $(a \"$(b)\" `c \\`d\\``)", "echo $(a '$(b)' $(c $(d)))");
        check(
            "echo ${A:-b c} ${A##*/} \"${A%.*}\" ${#A} $((1+2)) $? $1",
            "echo ${A Default b c} ${A Prefix { longest: true } */} '${A Suffix { longest: false } .*}' ${A Length } $(()) $? $1",
        );
        check("echo $ 'a' \"\" {} }", "echo $ 'a' '' {} }");
    }

    #[test]
    fn here_documents_come_with_the_end_of_the_line() {
        check("cat <<EOF >f\n$a \"x\"\nEOF\nb", "cat 0<<'$a'' \"x\"\n' 1>f; b");
        check("cat <<-'E' | d\n\t\tx$y\n\tE\nz", "cat 0<<'x$y\n' | d; z");
    }

    #[test]
    fn what_is_no_script_is_refused_at_its_line() {
        for (script, line, fault) in [
            ("a\n'b", 2, SyntaxFault::OpenQuote),
            ("if a; then b", 1, SyntaxFault::Missing("fi")),
            ("a\n)", 2, SyntaxFault::Missing("end of the commands")),
            ("case x in a", 1, SyntaxFault::Missing(")")),
            ("echo ${}", 1, SyntaxFault::Parameter),
            ("echo >", 1, SyntaxFault::Redirection),
        ] {
            assert_eq!(parse(script), Err(SyntaxError { line, fault }), "{script}");
        }
        let deep = "$(".repeat(10_000);
        assert_eq!(parse(&deep).map_err(|error| error.fault), Err(SyntaxFault::TooDeep));
        assert_eq!(parse(&"(".repeat(10_000)).map_err(|error| error.fault), Err(SyntaxFault::TooDeep));
        let long = " ".repeat(LONGEST_SCRIPT + 1);
        assert_eq!(parse(&long).map_err(|error| error.fault), Err(SyntaxFault::TooLong));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-z ;&|<>(){}'\"$`\\\\#!=*?\n-]{0,200}") {
            let _ = parse(&text);
        }
    }
}
