//! The arguments of a program: options, their values, and operands.

/// Arguments taken apart.
pub(super) struct Options<'a> {
    /// Each option with its dashes, and its value.
    given: Vec<(String, Option<&'a str>)>,
    pub operands: Vec<&'a str>,
}

impl<'a> Options<'a> {
    /// Takes arguments apart; those `with_value` take the next argument where none is joined.
    pub(super) fn of(arguments: &'a [String], with_value: &[&str]) -> Self {
        let mut options = Self { given: Vec::new(), operands: Vec::new() };
        let mut arguments = arguments.iter().map(String::as_str);
        while let Some(argument) = arguments.next() {
            match argument.strip_prefix("--") {
                Some("") => options.operands.extend(arguments.by_ref()),
                Some(long) => match long.split_once('=') {
                    Some((name, value)) => options.given.push((format!("--{name}"), Some(value))),
                    None => {
                        let value = with_value.contains(&argument).then(|| arguments.next()).flatten();
                        options.given.push((argument.to_owned(), value));
                    }
                },
                None if argument.starts_with('-') && argument.len() > 1 => {
                    options.add_short(argument, with_value, &mut arguments);
                }
                None => options.operands.push(argument),
            }
        }
        options
    }

    /// Adds the letters of `-pm755`, of which one may take the rest or the next argument.
    fn add_short(
        &mut self,
        argument: &'a str,
        with_value: &[&str],
        next: &mut impl Iterator<Item = &'a str>,
    ) {
        for (at, letter) in argument.char_indices().skip(1) {
            let name = format!("-{letter}");
            if with_value.contains(&name.as_str()) {
                let joined = &argument[at + letter.len_utf8()..];
                let value = if joined.is_empty() { next.next() } else { Some(joined) };
                self.given.push((name, value));
                return;
            }
            self.given.push((name, None));
        }
    }

    pub(super) fn has(&self, names: &[&str]) -> bool {
        self.given.iter().any(|(given, _)| names.contains(&given.as_str()))
    }

    pub(super) fn value(&self, names: &[&str]) -> Option<&'a str> {
        self.given
            .iter()
            .rev()
            .find(|(given, _)| names.contains(&given.as_str()))
            .and_then(|(_, value)| *value)
    }

    /// The values of an option that may be given several times.
    pub(super) fn values(&self, names: &[&str]) -> Vec<&'a str> {
        let given = self.given.iter().filter(|(given, _)| names.contains(&given.as_str()));
        given.filter_map(|(_, value)| *value).collect()
    }

    /// Returns whether every option is one of `known`.
    pub(super) fn are_all(&self, known: &[&str]) -> bool {
        self.given.iter().all(|(given, _)| known.contains(&given.as_str()))
    }
}
