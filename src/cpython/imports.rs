//! The imports that a module makes when it is loaded, and the libraries that it opens then, read from its source.
//!
//! Statements in the bodies of functions are left out; those of classes count. An import that may fail without consequence,
//! or may not be reached, is told from a plain one.
//!
//! <https://docs.python.org/3/reference/simple_stmts.html#the-import-statement>

use std::collections::BTreeSet;
use std::fmt::Write as _;

use memchr::memmem;
use serde::{Deserialize, Serialize};

use super::lines::{LogicalLine, LogicalLines};
use super::search_changes::{self, SearchChange};

/// The most imports that are kept of a module: the longest generated ones have some hundreds.
const MOST_IMPORTS: usize = 4096;
/// The most blocks around a statement; CPython allows 100 levels of indentation.
const DEEPEST: usize = 100;

/// The code around an import that may keep its failure from the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    /// There is none: the module cannot be imported without what it imports.
    Nothing,
    /// A condition, which may not be met; where it is, a failure is not handled.
    Condition,
    /// A handler, with which the module goes on without it.
    Handler,
}

impl Guard {
    /// The mark before an import's line.
    fn mark(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Condition => "&",
            Self::Handler => "?",
        }
    }

    /// The guard that a line's mark tells, and the rest of the line.
    fn of_line(line: &str) -> (Self, &str) {
        let marked = [Self::Condition, Self::Handler].into_iter();
        let mut marked = marked.filter_map(|guard| Some((guard, line.strip_prefix(guard.mark())?)));
        marked.next().unwrap_or((Self::Nothing, line))
    }
}

/// One import of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Import<'a> {
    /// The code around it.
    pub guard: Guard,
    /// The number of leading dots of a relative import.
    pub level: usize,
    /// `a.b` of `import a.b` and of `from a.b import c`; empty for `from . import c`.
    pub module: &'a str,
    /// `c` and `d` of `from a.b import c, d`, separated by commas; empty for `import a.b` and for `*`.
    names: &'a str,
}

impl<'a> Import<'a> {
    /// The names that are taken from the module.
    pub fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.names.split(',').filter(|name| !name.is_empty())
    }
}

/// A library that a module opens by ctypes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenedLibrary<'a> {
    /// The loader searches for this name, or opens this absolute path.
    Named(&'a str),
    /// The file at this path beside the module.
    Beside(&'a str),
}

/// The imports of a module in their order, each a line: `?` where its failure is handled, `&` where it is behind a condition
/// alone, dots, the module, and names after a colon.
/// A library that it opens is a line as well: `@` and its name, or its path after `@./`; and so is what it does to the search
/// for modules: `!`, or `!` and the name of a module that it makes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imports(String);

impl Imports {
    /// Reads the imports of a source text. What is no Python gives what can be told of it.
    pub fn read(source: &[u8]) -> Self {
        let mut reader = ImportReader::of(source);
        let mut lines = LogicalLines::new(source);
        while let Some(line) = lines.next_line(|indentation| reader.may_tell(indentation)) {
            reader.line(&line);
        }
        reader.finish()
    }

    /// The text of all imports.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The libraries without which it cannot be imported, as it opens them unguarded.
    pub fn opened(&self) -> impl Iterator<Item = OpenedLibrary<'_>> {
        let opened = self.0.lines().filter_map(|line| line.strip_prefix('@'));
        opened.map(|name| match name.strip_prefix("./") {
            Some(path) => OpenedLibrary::Beside(path),
            None => OpenedLibrary::Named(name),
        })
    }

    /// The changes that the module makes to the search for others.
    pub fn search_changes(&self) -> impl Iterator<Item = SearchChange<'_>> {
        let changes = self.0.lines().filter_map(|line| line.strip_prefix('!'));
        changes.map(|name| if name.is_empty() { SearchChange::Path } else { SearchChange::Made(name) })
    }

    /// Every import, in the order of the source.
    pub fn iter(&self) -> impl Iterator<Item = Import<'_>> {
        let lines = self.0.lines().map(Guard::of_line);
        let imports = lines.filter(|(_, line)| !line.starts_with(['@', '!']));
        imports.map(|(guard, line)| {
            let path = line.trim_start_matches('.');
            let (module, names) = path.split_once(':').unwrap_or((path, ""));
            Import { guard, level: line.len() - path.len(), module, names }
        })
    }
}

/// The kind of a block, as far as imports within it are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    /// It is entered when the module is loaded: a class, `with`, `finally`.
    Plain,
    /// It is not entered then: a function, `if TYPE_CHECKING`.
    Skipped,
    /// It may be entered: `if`, loops.
    Conditional,
    /// It ends where an import fails: `with suppress(ImportError)`.
    Suppressing,
    /// The statements of a `try`, with its number.
    Try(usize),
    /// A handler of a `try`.
    Handler { of: usize, catches: Caught, raises: bool },
}

/// The failures that a handler catches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Caught {
    /// Those of imports.
    imports: bool,
    /// Those of opening libraries.
    opens: bool,
}

/// A block that has begun, with the indentation of its header.
#[derive(Debug, Clone, Copy)]
struct OpenBlock {
    block: Block,
    indentation: usize,
}

/// An import whose guards are not known before the module's end.
#[derive(Debug)]
struct Noted {
    is_conditional: bool,
    /// True in a handler: something else failed before.
    is_fallback: bool,
    tries: Vec<usize>,
    /// True for a library that is opened.
    opens: bool,
    text: String,
}

#[derive(Debug, Default)]
struct ImportReader {
    open: Vec<OpenBlock>,
    /// For each `try` what one of its handlers lets the module go on without.
    caught: Vec<Caught>,
    noted: Vec<Noted>,
    /// The lines for what it does to the search for modules, in functions as well: they may be called.
    search_changes: BTreeSet<String>,
    /// True if something in the source is called as a library is opened.
    may_open: bool,
    /// True if something in the source is named as what the search for modules depends on.
    may_change_search: bool,
}

impl ImportReader {
    fn of(source: &[u8]) -> Self {
        let has = |text: &&str| memmem::find(source, text.as_bytes()).is_some();
        let (may_open, may_change_search) = (OPENERS.iter().any(has), SEARCHES.iter().any(has));
        Self { may_open, may_change_search, ..Self::default() }
    }

    /// Returns whether a line of this indentation may be one that counts, and not within the body of a function.
    fn may_tell(&self, indentation: usize) -> bool {
        let skips = |open: &OpenBlock| open.block == Block::Skipped && open.indentation < indentation;
        self.may_change_search || !self.open.iter().any(skips)
    }

    fn line(&mut self, line: &LogicalLine<'_>) {
        let closed = self.close(line.indentation);
        let mut rest = &*line.text;
        if let Some((header, body)) = split_header(rest)
            && let Some(block) = self.block(header, closed)
        {
            if self.open.len() < DEEPEST {
                self.open.push(OpenBlock { block, indentation: line.indentation });
            }
            rest = body;
        }
        for statement in rest.split(';') {
            self.statement(statement.trim());
        }
        if self.may_open && OPENERS.iter().any(|opener| rest.contains(opener)) {
            self.opening(rest, &line.strings());
        }
        if self.may_change_search && SEARCHES.iter().any(|name| rest.contains(name)) {
            self.search_changes.extend(search_changes::of_statement(rest, &line.strings()));
        }
    }

    /// A line that opens the library which its strings name: alone, or beside the module.
    fn opening(&mut self, text: &str, strings: &[String]) {
        let is_library = |name: &String| name.ends_with(".so") || name.contains(".so.");
        let Some(last) = strings.last().filter(|last| is_library(last)) else { return };
        let is_plain =
            |name: &str| name.bytes().all(|it| it.is_ascii_alphanumeric() || b"._-+/".contains(&it));
        let name = match text.contains("__file__") {
            true => format!("./{}", strings.join("/")),
            false => last.clone(),
        };
        if is_plain(&name) {
            self.note_text(format!("@{name}"), true);
        }
    }

    /// Ends the blocks that a line of this indentation is not in; gives the one whose header has the same indentation.
    fn close(&mut self, indentation: usize) -> Option<Block> {
        let mut last = None;
        while let Some(open) = self.open.pop_if(|open| open.indentation >= indentation) {
            if let Block::Handler { of, catches, raises: false } = open.block {
                self.caught[of].imports |= catches.imports;
                self.caught[of].opens |= catches.opens;
            }
            last = (open.indentation == indentation).then_some(open.block);
        }
        last
    }

    /// The block that a header begins, after the one that `before` it had the same indentation.
    fn block(&mut self, header: &str, before: Option<Block>) -> Option<Block> {
        let (word, condition) = split_word(header);
        Some(match word {
            "def" => Block::Skipped,
            "async" if split_word(condition).0 == "def" => Block::Skipped,
            "class" | "finally" => Block::Plain,
            "with" | "async" if suppresses(condition) => Block::Suppressing,
            "with" | "async" => Block::Plain,
            "if" | "elif" if is_for_type_checkers(condition) => Block::Skipped,
            "else" => match before {
                Some(Block::Skipped) => Block::Plain,
                Some(Block::Try(of) | Block::Handler { of, .. }) => Block::Try(of),
                _ => Block::Conditional,
            },
            "if" | "elif" | "for" | "while" | "match" | "case" => Block::Conditional,
            "try" => {
                self.caught.push(Caught::default());
                Block::Try(self.caught.len() - 1)
            }
            "except" => match before {
                Some(Block::Try(of) | Block::Handler { of, .. }) => {
                    Block::Handler { of, catches: Caught::by(condition), raises: false }
                }
                _ => Block::Conditional,
            },
            _ => return None,
        })
    }

    fn statement(&mut self, text: &str) {
        match split_word(text) {
            ("import", modules) => {
                for module in modules.split(',') {
                    self.note(0, first_word(module), "");
                }
            }
            ("from", rest) => self.names_import(rest),
            ("raise", _) => {
                if let Some(OpenBlock { block: Block::Handler { raises, .. }, .. }) = self.open.last_mut() {
                    *raises = true;
                }
            }
            _ => {}
        }
    }

    /// `..a.b import (c as d, e)`, after `from`.
    fn names_import(&mut self, text: &str) {
        let path = text.trim_start_matches(['.', ' ']);
        let level = text[..text.len() - path.len()].matches('.').count();
        let Some((module, names)) = split_import(path) else { return };
        let names = names.trim_matches(|c: char| c.is_whitespace() || c == '(' || c == ')');
        let names: Vec<&str> = names.split(',').map(first_word).filter(|name| is_dotted(name)).collect();
        self.note(level, module, &names.join(","));
    }

    fn note(&mut self, level: usize, module: &str, names: &str) {
        let is_named = is_dotted(module) || (module.is_empty() && level > 0);
        if !is_named {
            return;
        }
        let mut text = format!("{}{module}", ".".repeat(level));
        if !names.is_empty() {
            let _ = write!(text, ":{names}");
        }
        self.note_text(text, false);
    }

    fn note_text(&mut self, text: String, opens: bool) {
        let blocks = || self.open.iter().map(|open| open.block);
        if self.noted.len() == MOST_IMPORTS || blocks().any(|block| block == Block::Skipped) {
            return;
        }
        let tries = blocks().filter_map(|block| match block {
            Block::Try(number) => Some(number),
            _ => None,
        });
        let is_conditional = blocks().any(|block| block == Block::Conditional);
        let is_fallback = blocks().any(|block| matches!(block, Block::Handler { .. } | Block::Suppressing));
        self.noted.push(Noted { is_conditional, is_fallback, tries: tries.collect(), opens, text });
    }

    fn finish(mut self) -> Imports {
        self.close(0);
        let mut all = String::new();
        for noted in &self.noted {
            let mut caught = noted.tries.iter().map(|number| self.caught[*number]);
            let is_caught = caught.any(|it| if noted.opens { it.opens } else { it.imports });
            let guard = match noted.is_conditional {
                _ if is_caught || noted.is_fallback => Guard::Handler,
                true => Guard::Condition,
                false => Guard::Nothing,
            };
            all.push_str(guard.mark());
            all.push_str(&noted.text);
            all.push('\n');
        }
        for change in self.search_changes.iter().take(MOST_IMPORTS) {
            let _ = writeln!(all, "!{change}");
        }
        Imports(all)
    }
}

/// The header of a compound statement and what follows its colon on the same line.
fn split_header(text: &str) -> Option<(&str, &str)> {
    const KEYWORDS: &[&str] = &[
        "async", "case", "class", "def", "elif", "else", "except", "finally", "for", "if", "match", "try",
        "while", "with",
    ];
    let word = text.split(|c: char| !c.is_ascii_alphabetic()).next()?;
    if !KEYWORDS.contains(&word) {
        return None;
    }
    let mut depth = 0_i32;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            b':' if depth <= 0 && text.as_bytes().get(at + 1) != Some(&b'=') => {
                return Some((&text[..at], &text[at + 1..]));
            }
            _ => {}
        }
    }
    None
}

/// The first word of a statement, and what follows.
fn split_word(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// `a.b` and what comes after `import`; before it may be no space: `from .import a`.
fn split_import(text: &str) -> Option<(&str, &str)> {
    let (module, rest) = match text.strip_prefix("import") {
        Some(rest) if !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.') => ("", rest),
        _ => {
            let (module, rest) = text.split_once(char::is_whitespace)?;
            (module, rest.trim_start().strip_prefix("import")?)
        }
    };
    (!rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')).then_some((module, rest))
}

/// The word before ` as `.
fn first_word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

/// Returns whether a text is names between dots.
fn is_dotted(text: &str) -> bool {
    let is_name = |part: &str| {
        part.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    text.split('.').all(is_name)
}

fn is_for_type_checkers(condition: &str) -> bool {
    condition.contains("TYPE_CHECKING") && !condition.contains("not ")
}

/// The exceptions whose handlers handle a failed import.
const OF_IMPORTS: [&str; 4] = ["ImportError", "ModuleNotFoundError", "Exception", "BaseException"];
/// The exceptions whose handlers handle a library that cannot be opened.
const OF_OPENING: [&str; 4] = ["OSError", "EnvironmentError", "Exception", "BaseException"];
/// The calls of ctypes that open a library.
const OPENERS: [&str; 3] = ["CDLL(", "LoadLibrary(", "PyDLL("];
/// The names by which a statement that changes the search for modules is told.
const SEARCHES: [&str; 2] = ["sys.", "addsitedir("];

impl Caught {
    /// The failures that a handler of these exceptions, which are all of them where it names none, catches.
    fn by(exceptions: &str) -> Self {
        let is_bare = exceptions.trim().is_empty();
        let names = |all: &[&str]| is_bare || names_any(exceptions, all);
        Self { imports: names(&OF_IMPORTS), opens: names(&OF_OPENING) }
    }
}

fn suppresses(context: &str) -> bool {
    context.contains("suppress") && (names_any(context, &OF_IMPORTS) || names_any(context, &OF_OPENING))
}

fn names_any(text: &str, all: &[&str]) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| all.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: &[&str]) {
        let imports = Imports::read(source.as_bytes());
        assert_eq!(imports.as_str().lines().collect::<Vec<_>>(), expected, "{source}");
    }

    #[test]
    fn every_form_of_the_statement_is_read() {
        check("import os\nimport a.b as c, d\n", &["os", "a.b", "d"]);
        check(
            "from a.b import c as d, e\nfrom . import f\nfrom ..g.h import *\n",
            &["a.b:c,e", ".:f", "..g.h"],
        );
        check("from a import (b,  # one\n    c as d,\n)\nfrom .import x\n", &["a:b,c", ".:x"]);
        check("import a; import b\nx = 1; from c import d\n", &["a", "b", "c:d"]);
        check("from a \\\n  import b\nimport \\\n  c\n", &["a:b", "c"]);
        check("important = 1\nimport_it()\nfrom_here = 2\nfrom a importing\n", &[]);
    }

    #[test]
    fn text_is_no_code() {
        check("'''\nimport a\n'''\n# import b\nx = \"import c\"\nimport d\n", &["d"]);
        check("x = r'\\'\nimport a\n", &["a"]);
        check("x = 'unterminated\nimport a\n", &["a"]);
        check("x = (1,\nimport_me,\n)\nimport a\n", &["a"]);
        check("x = f\"{y['import z']}\"\nimport a\n", &["a"]);
        check("\"\"\"a\\\"\"\"\nimport b\n\"\"\"\nimport c\n", &["c"]);
    }

    #[test]
    fn functions_are_not_entered_and_classes_are() {
        check("def f():\n    import a\nimport b\n", &["b"]);
        check("async def f(x: int = 1) -> None:\n    import a\n", &[]);
        check("class A:\n    import a\n    def f(self):\n        import b\n    import c\n", &["a", "c"]);
        check("def f(): import a\nimport b\n", &["b"]);
        check("class A: import a\n", &["a"]);
        check("if TYPE_CHECKING:\n    import a\nelse:\n    import b\n", &["b"]);
        check("if typing.TYPE_CHECKING:\n  if x:\n    import a\nimport b\n", &["b"]);
    }

    #[test]
    fn an_import_is_guarded_where_the_module_goes_on_without() {
        check("try:\n    import a\nexcept ImportError:\n    import b\n", &["?a", "?b"]);
        check("try:\n    import a\nexcept (ValueError, ModuleNotFoundError):\n    a = None\n", &["?a"]);
        check("try:\n    import a\nexcept:\n    pass\n", &["?a"]);
        check("try:\n    import a\nexcept OSError:\n    pass\n", &["a"]);
        check("try:\n    import a\nfinally:\n    import b\n", &["a", "b"]);
        check("try: import a\nexcept ImportError: a = None\n", &["?a"]);
        check("try: x\nexcept OSError: pass\nelse: import a\n", &["a"]);
        check("with suppress(ImportError):\n    import a\n", &["?a"]);
        check("with catch_warnings():\n    import a\n", &["a"]);
        check(
            "if sys.platform == 'win32':\n    import a\nelif x:\n    import b\nelse:\n    import c\n",
            &["&a", "&b", "&c"],
        );
        check("for x in y: import a\n", &["&a"]);
        check(
            "if x:\n  try:\n    import a\n  except ImportError:\n    import b\n  import c\n",
            &["?a", "?b", "&c"],
        );
    }

    #[test]
    fn a_handler_that_raises_guards_nothing() {
        check(
            "try:\n    import a\nexcept ImportError as e:\n    m = 1\n    raise ImportError(m) from e\n",
            &["a"],
        );
        check("try:\n    import a\nexcept ImportError:\n    if x:\n        raise\n", &["?a"]);
        check("try:\n    import a\nexcept ImportError: raise\nexcept Exception:\n    pass\n", &["?a"]);
        check(
            "try:\n  try:\n    import a\n  except ImportError:\n    raise\nexcept ImportError:\n  pass\n",
            &["?a"],
        );
    }

    #[test]
    fn a_library_is_opened_by_its_name_or_beside_the_module() {
        check("import ctypes\nctypes.CDLL('libcublas.so.12')\n", &["ctypes", "@libcublas.so.12"]);
        let beside = "x = CDLL(os.path.join(os.path.dirname(__file__), 'lib', \"libapp.so\"), RTLD_GLOBAL)\n";
        check(beside, &["@./lib/libapp.so"]);
        check("try:\n    CDLL('liba.so')\nexcept OSError: pass\n", &["?@liba.so"]);
        check("try:\n    CDLL('liba.so')\nexcept ImportError: pass\n", &["@liba.so"]);
        check("def f():\n    CDLL('liba.so')\n", &[]);
        check("CDLL(None)\nCDLL(find_library('c'))\nCDLL(f'{x}.so')\n", &[]);
        let imports = Imports::read(b"CDLL('a.so')\nimport b\nCDLL(__file__ + 'c.so')\n");
        let opened: Vec<_> = imports.opened().collect();
        assert_eq!(opened, [OpenedLibrary::Named("a.so"), OpenedLibrary::Beside("c.so")]);
        assert_eq!(imports.iter().count(), 1);
    }

    #[test]
    fn changes_of_the_search_are_told_from_imports() {
        let source = "import a\ndef f():\n  sys.path.insert(0, '_vendor')\nsys.modules['b'] = c\n";
        check(source, &["a", "!", "!b"]);
        let imports = Imports::read(source.as_bytes());
        assert_eq!(imports.iter().count(), 1);
        let changes: Vec<_> = imports.search_changes().collect();
        assert_eq!(changes, [SearchChange::Path, SearchChange::Made("b")]);
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let imports = Imports::read(b"from ..a import b, c\ntry:\n  import d.e\nexcept ImportError: pass\n");
        let all: Vec<_> = imports
            .iter()
            .map(|it| (it.guard, it.level, it.module, it.names().collect::<Vec<_>>()))
            .collect();
        assert_eq!(all, [(Guard::Nothing, 2, "a", vec!["b", "c"]), (Guard::Handler, 0, "d.e", vec![])]);
        assert_eq!(
            serde_json::from_str::<Imports>(&serde_json::to_string(&imports).unwrap()).unwrap(),
            imports
        );
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(source: Vec<u8>) {
            let imports = Imports::read(&source);
            assert!(imports.as_str().len() <= 2 * source.len() + 3);
        }

        #[test]
        fn no_code_makes_it_panic(source in "(try:|except|if|else:|def f|class|import|from| |\n|\t|:|;|,|\\.|\\(|\\)|'|\"|\\\\|#|a|raise)*") {
            Imports::read(source.as_bytes());
        }
    }
}
