//! Programs that write text: `echo`, `cat`, `basename`, `cut`…

use super::super::system::{Done, System};
use super::expressions;
use super::filter::{filtered, unknown};
use super::options::Options;
use crate::debian::dpkg::md5;
use crate::oci::EntryKind;

/// Programs whose output is not worked out in every form; their input is all that they depend on.
const FILTERS: [&str; 12] =
    ["awk", "expr", "fgrep", "find", "fmt", "od", "paste", "perl", "rev", "sha256sum", "tee", "xargs"];

/// Returns whether the program only writes text to its standard output.
pub(super) fn tells(name: &str) -> bool {
    const TELLERS: [&str; 26] = [
        "basename", "cat", "cmp", "cut", "diff", "dirname", "echo", "egrep", "expr", "fgrep", "getcap",
        "grep", "head", "ls", "md5sum", "printf", "readlink", "realpath", "sed", "seq", "sort", "stat",
        "tail", "tr", "uniq", "wc",
    ];
    TELLERS.contains(&name) || ["awk", "uname", "which", "dpkg-query", "sha256sum"].contains(&name)
}

/// Does `name` where it is one of these programs.
pub(super) fn run(system: &mut System<'_, '_>, name: &str, arguments: &[String]) -> Option<Done> {
    let words = || arguments.iter().map(String::as_str).collect::<Vec<_>>();
    Some(match name {
        "echo" => echo(system, &words()),
        "printf" => printf(system, &words()),
        "cat" => match arguments.iter().any(|argument| argument.starts_with('-') && argument.len() > 1) {
            true => unknown(system),
            false => filtered(system, &words(), |text| Some(text.to_owned())),
        },
        "basename" | "dirname" => path_part(system, name, &words()),
        "readlink" | "realpath" => read_link(system, arguments),
        "stat" => tell_attributes(system, arguments),
        "ls" => list(system, arguments),
        "uname" => tell_system(system, &words()),
        "which" => {
            let places: Vec<Option<String>> =
                words().iter().filter(|it| !it.starts_with('-')).map(|it| system.program(it)).collect();
            places.iter().flatten().for_each(|place| system.write(&format!("{place}\n")));
            Done::of(!places.is_empty() && places.iter().all(Option::is_some))
        }
        "grep" | "egrep" | "fgrep" => expressions::grep(system, name, arguments),
        "sed" => expressions::sed(system, arguments),
        "cut" => cut(system, arguments),
        "head" | "tail" => ends(system, name, arguments),
        "tr" => translate(system, &words()),
        "sort" | "uniq" => sorted(system, name, &words()),
        "wc" => count(system, &words()),
        "md5sum" => sum(system, &words()),
        "cmp" => compare(system, arguments),
        "seq" => sequence(system, &words()),
        "expr" => calculate(system, &words()),
        "getcap" => Done::SUCCESS,
        "find" if arguments.iter().any(|it| ["-delete", "-exec", "-execdir"].contains(&it.as_str())) => {
            let starts: Vec<&str> = words().into_iter().take_while(|it| !it.starts_with('-')).collect();
            // Nothing there is nothing to do.
            let is_there = starts.iter().any(|start| system.kind(start).is_some());
            if is_there { Done::NotFollowed } else { Done::FAILURE }
        }
        "xargs" | "tee" | "perl" => return None,
        _ if FILTERS.contains(&name) => unknown(system),
        _ => return None,
    })
}

fn echo(system: &mut System<'_, '_>, words: &[&str]) -> Done {
    let (words, end) = match words {
        ["-n", rest @ ..] => (rest, ""),
        ["-e", rest @ ..] => (rest, "\n"),
        words => (words, "\n"),
    };
    // dash, which is sh, reads escapes.
    system.write(&format!("{}{end}", unescaped(&words.join(" "))));
    Done::SUCCESS
}

fn unescaped(text: &str) -> String {
    text.replace("\\n", "\n").replace("\\t", "\t").replace("\\\\", "\\")
}

fn printf(system: &mut System<'_, '_>, words: &[&str]) -> Done {
    let Some((format, mut values)) = words.split_first() else { return Done::FAILURE };
    let format = unescaped(format);
    loop {
        let mut text = String::new();
        let mut used = false;
        let mut signs = format.chars();
        while let Some(c) = signs.next() {
            match c {
                '%' => match signs.next() {
                    Some('%') => text.push('%'),
                    Some('s' | 'd' | 'b' | 'i') => {
                        let (value, rest) =
                            values.split_first().map_or(("", values), |(value, rest)| (*value, rest));
                        text.push_str(value);
                        values = rest;
                        used = true;
                    }
                    _ => return unknown(system),
                },
                c => text.push(c),
            }
        }
        system.write(&text);
        if values.is_empty() || !used {
            return Done::SUCCESS;
        }
    }
}

fn path_part(system: &mut System<'_, '_>, name: &str, words: &[&str]) -> Done {
    let Some(path) = words.first() else { return Done::FAILURE };
    let path = path.trim_end_matches('/');
    let (directory, file) = match path.rsplit_once('/') {
        Some(("", file)) => ("/", file),
        Some(parts) => parts,
        None => (".", path),
    };
    let file = words.get(1).and_then(|suffix| file.strip_suffix(suffix)).unwrap_or(file);
    system.write(&format!("{}\n", if name == "basename" { file } else { directory }));
    Done::SUCCESS
}

fn read_link(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let options = Options::of(arguments, &[]);
    let Some(path) = options.operands.first() else { return Done::FAILURE };
    let follows = options.has(&["-f", "-e", "-m", "--canonicalize", "--canonicalize-existing"]);
    let target = match system.kind_of_link(path) {
        // `realpath -s` follows no link.
        _ if options.has(&["-s", "--no-symlinks"]) => Some(joined(&system.path(path))),
        _ if follows => system.tree.resolved(&system.path(path)).map(|real| format!("/{real}")),
        Some(EntryKind::Symlink { target }) => Some(target),
        _ => None,
    };
    target.as_ref().inspect(|target| system.write(&format!("{target}\n")));
    Done::of(target.is_some())
}

/// An absolute path without `.` and `..`.
fn joined(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn tell_attributes(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let options = Options::of(arguments, &["-c", "--format"]);
    let (Some(format), [path]) = (options.value(&["-c", "--format"]), &options.operands[..]) else {
        return unknown(system);
    };
    let Some(attributes) = system.tree.attributes(&system.path(path)) else { return Done::FAILURE };
    let told = format
        .replace("%a", &format!("{:o}", attributes.mode))
        .replace("%u", &attributes.uid.to_string())
        .replace("%g", &attributes.gid.to_string());
    if told.contains('%') {
        return unknown(system);
    }
    system.write(&format!("{told}\n"));
    Done::SUCCESS
}

fn list(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let options = Options::of(arguments, &[]);
    let all = options.operands.iter().all(|path| system.kind_of_link(path).is_some());
    match options.operands[..] {
        [path] if system.is_directory(path) && options.are_all(&["-1", "-A"]) => {
            let names = system.tree.names_in(&system.path(path));
            names.iter().for_each(|name| system.write(&format!("{name}\n")));
        }
        [path] if all && options.are_all(&["-1", "-L"]) => system.write(&format!("{path}\n")),
        _ if !all => {}
        _ => system.write_unknown(),
    }
    Done::of(all)
}

fn tell_system(system: &mut System<'_, '_>, words: &[&str]) -> Done {
    let machine = match system.tree.input().architecture {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        _ => return unknown(system),
    };
    match words {
        [] | ["-s"] => system.write("Linux\n"),
        ["-m"] => system.write(&format!("{machine}\n")),
        _ => return unknown(system),
    }
    Done::SUCCESS
}

fn cut(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let options = Options::of(arguments, &["-f", "--fields", "-d", "--delimiter"]);
    let delimiter = options.value(&["-d", "--delimiter"]).unwrap_or("\t");
    let field = options.value(&["-f", "--fields"]).and_then(|field| field.parse::<usize>().ok());
    let Some(field) = field.filter(|field| *field > 0 && !delimiter.is_empty()) else {
        return unknown(system);
    };
    filtered(system, &options.operands, |text| {
        let lines = text.lines().map(|line| match line.contains(delimiter) {
            true => format!("{}\n", line.split(delimiter).nth(field - 1).unwrap_or_default()),
            false => format!("{line}\n"),
        });
        Some(lines.collect())
    })
}

fn ends(system: &mut System<'_, '_>, name: &str, arguments: &[String]) -> Done {
    let options = Options::of(arguments, &["-n", "--lines"]);
    let given = options.value(&["-n", "--lines"]).map(str::parse::<usize>);
    let digits: Option<usize> = arguments.first().and_then(|first| first.strip_prefix('-')?.parse().ok());
    let (count, paths) = match (digits, given) {
        (Some(count), _) => (count, arguments[1..].iter().map(String::as_str).collect()),
        (None, None) if options.are_all(&[]) => (10, options.operands),
        (None, Some(Ok(count))) => (count, options.operands),
        _ => return unknown(system),
    };
    filtered(system, &paths, |text| {
        let lines: Vec<&str> = text.lines().collect();
        let kept = if name == "head" { lines.iter().take(count) } else { lines.iter().take(usize::MAX) };
        let skipped = if name == "head" { 0 } else { lines.len().saturating_sub(count) };
        Some(kept.skip(skipped).map(|line| format!("{line}\n")).collect())
    })
}

fn translate(system: &mut System<'_, '_>, words: &[&str]) -> Done {
    let words: Vec<String> = words.iter().map(|word| unescaped(word)).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["-d", removed] if !removed.contains(['[', '-']) => {
            filtered(system, &[], |text| Some(text.replace(|c| removed.contains(c), "")))
        }
        ["A-Z" | "[A-Z]" | "[:upper:]", "a-z" | "[a-z]" | "[:lower:]"] => {
            filtered(system, &[], |text| Some(text.to_lowercase()))
        }
        ["a-z" | "[a-z]" | "[:lower:]", "A-Z" | "[A-Z]" | "[:upper:]"] => {
            filtered(system, &[], |text| Some(text.to_uppercase()))
        }
        [from, to] if from.chars().count() == 1 && to.chars().count() == 1 => {
            filtered(system, &[], |text| Some(text.replace(from, to)))
        }
        _ => unknown(system),
    }
}

fn sorted(system: &mut System<'_, '_>, name: &str, words: &[&str]) -> Done {
    let (options, paths): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| word.starts_with('-'));
    if options.iter().any(|option| *option != "-u") || name == "uniq" && !options.is_empty() {
        return unknown(system);
    }
    filtered(system, &paths, |text| {
        let mut lines: Vec<&str> = text.lines().collect();
        if name == "sort" {
            lines.sort_unstable();
        }
        if name == "uniq" || options.contains(&"-u") {
            lines.dedup();
        }
        Some(lines.iter().map(|line| format!("{line}\n")).collect())
    })
}

fn count(system: &mut System<'_, '_>, words: &[&str]) -> Done {
    match words {
        ["-l"] => filtered(system, &[], |text| Some(format!("{}\n", text.lines().count()))),
        _ => unknown(system),
    }
}

fn sum(system: &mut System<'_, '_>, paths: &[&str]) -> Done {
    match paths {
        [] | ["-"] => filtered(system, &[], |text| Some(format!("{}  -\n", md5(text.as_bytes())))),
        [path] if system.is_file(path) => {
            let bytes = system.tree.bytes(&system.path(path)).map(std::borrow::Cow::into_owned);
            match bytes {
                Some(bytes) => {
                    system.write(&format!("{}  {path}\n", md5(&bytes)));
                    Done::SUCCESS
                }
                None => unknown(system),
            }
        }
        [path] if !path.starts_with('-') => Done::FAILURE,
        _ => unknown(system),
    }
}

fn compare(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let options = Options::of(arguments, &[]);
    let [left, right] = options.operands[..] else { return Done::Unknown };
    if !system.is_file(left) || !system.is_file(right) {
        return Done::Status(2);
    }
    let bytes = |path: &str| system.tree.bytes(&system.path(path));
    match (bytes(left), bytes(right)) {
        (Some(left), Some(right)) => Done::of(left == right),
        _ => Done::Unknown,
    }
}

fn sequence(system: &mut System<'_, '_>, words: &[&str]) -> Done {
    /// The most numbers.
    const MOST: i64 = 10_000;
    let numbers: Option<Vec<i64>> = words.iter().map(|word| word.parse().ok()).collect();
    let (first, step, last) = match numbers.as_deref() {
        Some([last]) => (1, 1, *last),
        Some([first, last]) => (*first, 1, *last),
        Some([first, step, last]) if *step != 0 => (*first, *step, *last),
        _ => return unknown(system),
    };
    let numbers = (0..MOST).map(|at| first.saturating_add(step.saturating_mul(at)));
    let text: String = numbers
        .take_while(|number| if step > 0 { *number <= last } else { *number >= last })
        .map(|number| format!("{number}\n"))
        .collect();
    system.write(&text);
    Done::SUCCESS
}

fn calculate(system: &mut System<'_, '_>, words: &[&str]) -> Done {
    let [left, operator, right] = words else { return unknown(system) };
    let (Ok(left), Ok(right)) = (left.parse::<i64>(), right.parse::<i64>()) else { return unknown(system) };
    let value = match *operator {
        "+" => left.checked_add(right),
        "-" => left.checked_sub(right),
        "*" => left.checked_mul(right),
        _ => None,
    };
    let Some(value) = value else { return unknown(system) };
    system.write(&format!("{value}\n"));
    Done::of(value != 0)
}
