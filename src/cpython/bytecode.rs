//! Bytecode of modules: where it lies.
//!
//! <https://peps.python.org/pep-3147/>

/// The path of the bytecode of the module at `source` for the interpreter of `version`:
/// `a/__pycache__/b.cpython-311.pyc` for `a/b.py`. `None` for what is no module.
pub fn cached(source: &str, (major, minor): (u8, u8)) -> Option<String> {
    let (directory, name) = source.rsplit_once('/')?;
    let stem = name.strip_suffix(".py").filter(|stem| !stem.is_empty())?;
    Some(format!("{directory}/__pycache__/{stem}.cpython-{major}{minor}.pyc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytecode_lies_beside_its_source() {
        let check = |source, expected: Option<&str>| {
            assert_eq!(cached(source, (3, 11)).as_deref(), expected);
        };
        check("p/a/__init__.py", Some("p/a/__pycache__/__init__.cpython-311.pyc"));
        check("p/a.b.py", Some("p/__pycache__/a.b.cpython-311.pyc"));
        check("p/.py", None);
        check("p/a.pyi", None);
        check("p/a.pyx", None);
    }
}
