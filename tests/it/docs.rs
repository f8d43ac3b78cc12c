//! Doc comments begin with a noun for what a thing is or a verb for what it does, never with a free relative ("What is
//! asked of the machine", "Whether only the store is asked").

use std::fs;
use std::path::{Path, PathBuf};

/// The words that begin a free relative.
const RELATIVES: [&str; 15] = [
    "What",
    "Where",
    "Who",
    "Whose",
    "Whom",
    "Whether",
    "How",
    "Why",
    "Which",
    "When",
    "Whatever",
    "Wherever",
    "Whoever",
    "Whichever",
    "Whenever",
];

#[test]
fn no_doc_comment_begins_with_a_free_relative() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests"] {
        collect(&root.join(folder), &mut files);
    }
    let found: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let text = fs::read_to_string(file).expect("a source file is readable text");
            let file = file.strip_prefix(root).unwrap_or(file).display();
            free_relatives(&text)
                .map(|(line, comment)| format!("{file}:{line}: {comment}"))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(
        found.is_empty(),
        "{} doc comments begin with a free relative:\n{}\n",
        found.len(),
        found.join("\n")
    );
}

#[test]
fn finds_the_first_line_of_a_comment_only() {
    let check = |text: &str, expected: &[usize]| {
        let found: Vec<usize> = free_relatives(text).map(|(line, _)| line).collect();
        assert_eq!(found, expected, "{text}");
    };
    check("/// What it is.\nfn a() {}", &[1]);
    check("//! The map:\n//!\n//! Where it is.\n\n    /// Whether it is.", &[5]);
    check("/// The map.\n/// What it is.\nstruct A;\n/// Whatever.\n/// When.", &[4]);
    check("// What it is.\n//// What it is.\nlet a = \"/// What\";\n/// Whatsoever.", &[]);
}

/// The first lines of doc comments that begin with a free relative, with their numbers from 1 on.
fn free_relatives(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_inside = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let comment = doc_comment(line);
        let is_first = comment.is_some() && !is_inside;
        is_inside = comment.is_some();
        let first_word =
            |comment: &str| comment.split(|c: char| !c.is_alphabetic()).next().unwrap_or("").to_owned();
        let comment =
            comment.filter(|comment| is_first && RELATIVES.contains(&first_word(comment).as_str()))?;
        Some((index + 1, comment))
    })
}

/// The text of a line that is a doc comment.
fn doc_comment(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let comment = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))?;
    (!comment.starts_with('/')).then(|| comment.trim_start())
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a source directory is readable") {
        let path = entry.expect("a source directory is readable").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
