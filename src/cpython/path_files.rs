//! `.pth` files, which add directories to `sys.path`, and the finders of editable installations that they start.
//!
//! <https://docs.python.org/3/library/site.html>

/// A line of a `.pth` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathLine<'a> {
    /// A directory, absolute or beside the file.
    Directory(&'a str),
    /// Code that starts the finder of setuptools in this module beside the file: see [`mapping`].
    Finder(&'a str),
    /// Code that adds these directories.
    Adds(Vec<&'a str>),
    /// Code that adds nothing.
    Harmless,
    /// Other code.
    Code,
}

/// The most lines of a file that are read: the longest known one names some hundred directories.
const MOST_LINES: usize = 1024;

/// The lines of a `.pth` file, without comments.
pub fn lines(text: &str) -> impl Iterator<Item = PathLine<'_>> {
    let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.take(MOST_LINES).map(line)
}

fn line(line: &str) -> PathLine<'_> {
    /// Parts of code that is known to leave `sys.path` as it is.
    const HARMLESS: [&str; 5] =
        ["_distutils_hack", "_virtualenv", "types.ModuleType", "importlib.machinery", "a1_coverage"];
    let Some(code) = line.strip_prefix("import ").or_else(|| line.strip_prefix("import\t")) else {
        return PathLine::Directory(line);
    };
    let module = code.split([';', ' ', ',']).next().unwrap_or_default();
    match () {
        () if module.starts_with("__editable__") && module.ends_with("_finder") => PathLine::Finder(module),
        () if code.contains("sys.path") => {
            PathLine::Adds(strings(code).filter(|text| text.starts_with('/')).collect())
        }
        () if HARMLESS.iter().any(|part| code.contains(part)) => PathLine::Harmless,
        () => PathLine::Code,
    }
}

/// The modules that the finder of an editable installation maps to files or directories: `{'demo': '/src/demo'}` after
/// `MAPPING`.
pub fn mapping(source: &str) -> Vec<(&str, &str)> {
    let assigned = source.lines().find_map(|line| line.strip_prefix("MAPPING"));
    let Some((_, value)) = assigned.and_then(|rest| rest.split_once('=')) else { return Vec::new() };
    let value = value.split_once('}').map_or(value, |(value, _)| value);
    let all: Vec<&str> = strings(value).collect();
    all.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

/// The simple string literals of a line of code.
fn strings(code: &str) -> impl Iterator<Item = &str> {
    let mut rest = code;
    std::iter::from_fn(move || {
        let start = rest.find(['\'', '"'])?;
        let quote = &rest[start..=start];
        let (text, after) = rest[start + 1..].split_once(quote)?;
        rest = after;
        Some(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_a_directory_or_is_code() {
        let text = "# made by hand\n\n/app/src  \n../lib\nimport sys; sys.path.insert(0, \"/opt/x\")\n\
                    import __editable___demo_1_0_finder; __editable___demo_1_0_finder.install()\n\
                    import os; var = 'X'; __import__('_distutils_hack').add_shim();\nimport mystery\n";
        let expected = [
            PathLine::Directory("/app/src"),
            PathLine::Directory("../lib"),
            PathLine::Adds(vec!["/opt/x"]),
            PathLine::Finder("__editable___demo_1_0_finder"),
            PathLine::Harmless,
            PathLine::Code,
        ];
        assert_eq!(lines(text).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_finder_says_where_modules_are() {
        let source =
            "import sys\nMAPPING: dict[str, str] = {'demo': '/src/demo', \"b\": '/src/b.py'}\nX = {}\n";
        assert_eq!(mapping(source), [("demo", "/src/demo"), ("b", "/src/b.py")]);
        assert_eq!(mapping("MAPPING = {}"), []);
        assert_eq!(mapping(""), []);
    }
}
