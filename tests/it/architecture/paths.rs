//! The paths that a file names, and the file of the crate that defines what each of them leads to.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Scope, Source, Token, scopes, tokens};

/// A path in the source or to a module: `["crate", "oci", "Digest"]`.
pub type Segments = Vec<String>;

/// One name that a `use` declaration brings into a file.
#[derive(Debug)]
pub struct Import {
    /// The name in the file: the last segment, or the one after `as`; `*` for all names of a module.
    pub name: String,
    pub path: Segments,
    /// True if other files reach the name through this one.
    pub is_reexport: bool,
    pub line: usize,
}

/// One file as a module: what it declares, and the paths that it names. Code of tests is left out.
#[derive(Debug, Default)]
pub struct Module {
    pub path: Segments,
    /// The file, relative to the repository.
    pub file: String,
    /// The number of its lines without its tests.
    pub lines: usize,
    pub imports: Vec<Import>,
    /// The structs, enums, traits, unions and aliases that it defines, with their lines.
    pub types: BTreeMap<String, usize>,
    /// The paths outside of `use` declarations, with their lines.
    mentions: Vec<(Segments, usize)>,
    /// The first words of all paths outside of `use` declarations.
    words: BTreeSet<String>,
}

/// The definition that a path leads to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Definition {
    /// An item of a file of the crate, named by the path of its module.
    Item { module: Segments, name: String },
    /// A module of the crate itself.
    Module,
    /// An item of another crate, or one that the file defines by itself.
    Other(Segments),
}

/// The files of the crate by the paths of their modules.
pub struct Modules(BTreeMap<Segments, Module>);

impl Module {
    pub fn read(source: &Source) -> Self {
        let tokens = tokens(&source.text);
        let scopes = scopes(&tokens);
        let mut module =
            Self { path: source.module_path(), file: source.path.display().to_string(), ..Self::default() };
        if source.path.ends_with("tests.rs") {
            return module;
        }
        module.lines = lines_without_tests(&source.text, &tokens, &scopes);
        let mut at = 0;
        while at < tokens.len() {
            at = match scopes[at].in_tests {
                true => at + 1,
                false => module.note(&tokens, &scopes, at),
            };
        }
        module
    }

    /// Notes the declaration, path or word at `at`; the position of the next.
    fn note(&mut self, tokens: &[Token], scopes: &[Scope], at: usize) -> usize {
        let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
        match text(at) {
            "use" if text(at + 1) != "<" => {
                let is_reexport = at > 0 && matches!(text(at - 1), "pub" | ")");
                let leaves = use_tree(tokens, at + 1, &[]);
                let supers = scopes[at].inline_modules;
                self.imports.extend(leaves.into_iter().map(|(name, path)| Import {
                    name,
                    path: out_of_inline(path, supers),
                    is_reexport,
                    line: tokens[at].line,
                }));
                (at..tokens.len()).find(|&end| text(end) == ";").unwrap_or(tokens.len())
            }
            "struct" | "enum" | "trait" | "union" | "type"
                if scopes[at].depth == 0 && is_word(text(at + 1)) =>
            {
                self.types.insert(text(at + 1).to_owned(), tokens[at + 1].line);
                at + 2
            }
            word if is_word(word) && (at == 0 || text(at - 1) != "::") => {
                let path = path_at(tokens, at);
                let length = path.len();
                self.words.insert(word.to_owned());
                if length > 1 {
                    let path = out_of_inline(path, scopes[at].inline_modules);
                    self.mentions.push((path, tokens[at].line));
                }
                at + 2 * length - 1
            }
            _ => at + 1,
        }
    }

    /// The import that brings `name` into the file.
    fn import(&self, name: &str) -> Option<&Import> {
        self.imports.iter().find(|import| import.name == name)
    }
}

impl Modules {
    pub fn of(sources: &[Source]) -> Self {
        let modules = sources.iter().map(Module::read).map(|module| (module.path.clone(), module));
        Self(modules.collect())
    }

    pub fn iter(&self) -> impl Iterator<Item = &Module> {
        self.0.values()
    }

    pub fn get(&self, path: &[String]) -> Option<&Module> {
        self.0.get(path)
    }

    /// The files whose items `module` names, each with the line of the first mention. The modules above it are left out:
    /// a room's own file declares the words that its parts share. A re-export counts where the name is used besides.
    pub fn uses(&self, module: &Module) -> BTreeMap<&str, usize> {
        let imports =
            module.imports.iter().filter(|import| !import.is_reexport || module.words.contains(&import.name));
        let paths = imports.map(|import| (&import.path, import.line));
        let mentions = module.mentions.iter().map(|(path, line)| (path, *line));
        let mut uses = BTreeMap::new();
        for (path, line) in paths.chain(mentions) {
            if let Definition::Item { module: definer, .. } = self.resolve(&module.path, path)
                && let Some(definer) =
                    self.get(&definer).filter(|definer| !module.path.starts_with(&definer.path))
            {
                let first = uses.entry(definer.file.as_str()).or_insert(line);
                *first = line.min(*first);
            }
        }
        uses
    }

    /// The definition that `path` leads to from the file of the module `from`.
    pub fn resolve(&self, from: &[String], path: &[String]) -> Definition {
        self.follow(from, path, 0).unwrap_or_else(|| Definition::Other(path.to_vec()))
    }

    /// `None` where the path leads out of the crate; `hops` counts the imports gone through.
    fn follow(&self, from: &[String], path: &[String], hops: usize) -> Option<Definition> {
        let (first, after) = path.split_first().filter(|_| hops < 32)?;
        let (mut module, mut rest) = match first.as_str() {
            "crate" => (Vec::new(), after),
            "self" => (from.to_vec(), after),
            "super" => (parent(from), after),
            name if self.get(&child(from, name)).is_some() => (from.to_vec(), path),
            name => {
                let import = self.get(from)?.import(name).filter(|import| import.path[0] != *name)?;
                return self.follow_import(from, &import.path, after, hops);
            }
        };
        while let Some((name, after)) = rest.split_first() {
            let import = self.get(&module).and_then(|module| module.import(name));
            let below = child(&module, name);
            match import {
                _ if name == "super" => module = parent(&module),
                _ if name == "self" => {}
                Some(import) if after.is_empty() || self.get(&below).is_none() => {
                    return self.follow_import(&module, &import.path, after, hops);
                }
                _ if self.get(&below).is_some() => module = below,
                _ => return Some(Definition::Item { module, name: name.clone() }),
            }
            rest = after;
        }
        Some(Definition::Module)
    }

    fn follow_import(
        &self,
        from: &[String],
        import: &[String],
        after: &[String],
        hops: usize,
    ) -> Option<Definition> {
        let whole = [import, after].concat();
        Some(self.follow(from, &whole, hops + 1).unwrap_or(Definition::Other(whole)))
    }
}

fn parent(module: &[String]) -> Segments {
    module[..module.len().saturating_sub(1)].to_vec()
}

fn child(module: &[String], name: &str) -> Segments {
    [module, &[name.to_owned()]].concat()
}

/// `path` as seen from the file, when it is written `inline` modules deep in it.
fn out_of_inline(path: Segments, inline: usize) -> Segments {
    let leading = path.iter().take(inline).take_while(|segment| *segment == "super").count();
    let rest = path[leading..].to_vec();
    match leading {
        0 => rest,
        _ => [vec!["self".to_owned()], rest].concat(),
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The words from `at` on that `::` joins.
fn path_at(tokens: &[Token], at: usize) -> Segments {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut path = vec![text(at).to_owned()];
    let mut at = at;
    while text(at + 1) == "::" && is_word(text(at + 2)) {
        path.push(text(at + 2).to_owned());
        at += 2;
    }
    path
}

/// The names and paths of the tree that starts at `at` and continues the path `before`.
fn use_tree(tokens: &[Token], at: usize, before: &[String]) -> Vec<(String, Segments)> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    match text(at) {
        "{" => branches(tokens, at).into_iter().flat_map(|at| use_tree(tokens, at, before)).collect(),
        "*" => vec![("*".to_owned(), before.to_vec())],
        "::" => use_tree(tokens, at + 1, before),
        "self" if !before.is_empty() => vec![(before[before.len() - 1].clone(), before.to_vec())],
        word => {
            let path = child(before, word);
            match text(at + 1) {
                "::" => use_tree(tokens, at + 2, &path),
                "as" => vec![(text(at + 2).to_owned(), path)],
                _ => vec![(word.to_owned(), path)],
            }
        }
    }
}

/// The positions at which the branches of the group that opens at `open` start.
fn branches(tokens: &[Token], open: usize) -> Vec<usize> {
    let mut nesting = 0;
    let mut starts = Vec::new();
    for at in open..tokens.len() {
        match tokens[at].text.as_str() {
            "{" => nesting += 1,
            "}" => nesting -= 1,
            _ => {}
        }
        if nesting == 0 {
            break;
        }
        let opens = nesting == 1 && matches!(tokens[at].text.as_str(), "{" | ",");
        if opens && tokens[at + 1].text != "}" {
            starts.push(at + 1);
        }
    }
    starts
}

/// The number of lines outside the items behind `#[cfg(test)]`.
fn lines_without_tests(text: &str, tokens: &[Token], scopes: &[Scope]) -> usize {
    let stretches: Vec<Vec<usize>> = tokens
        .iter()
        .zip(scopes)
        .map(|(token, scope)| (scope.in_tests, token.line))
        .collect::<Vec<_>>()
        .chunk_by(|before, after| before.0 == after.0)
        .filter(|stretch| stretch[0].0)
        .map(|stretch| stretch.iter().map(|(_, line)| *line).collect())
        .collect();
    let of_tests: usize = stretches.iter().map(|lines| 1 + lines[lines.len() - 1] - lines[0]).sum();
    text.lines().count() - of_tests
}
