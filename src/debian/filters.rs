//! `path-exclude` and `path-include` of dpkg's configuration: files of packages that are not unpacked.
//!
//! <https://manpages.debian.org/dpkg.1#path>

use super::shell::pattern;

/// One line of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PathFilter {
    pattern: String,
    includes: bool,
}

/// The filters of a configuration, in their order: the last that matches decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathFilters(Vec<PathFilter>);

impl PathFilters {
    /// Reads one more file of the configuration.
    pub fn read(&mut self, text: &str) {
        for line in text.lines().map(str::trim_ascii) {
            let line = line.trim_start_matches('-');
            let Some((option, value)) = line.split_once(|c: char| c == '=' || c.is_ascii_whitespace()) else {
                continue;
            };
            let value = value.trim_start_matches(|c: char| c == '=' || c.is_ascii_whitespace());
            let includes = match option {
                "path-include" => true,
                "path-exclude" => false,
                _ => continue,
            };
            let pattern = value.trim_matches(['"', '\'']).to_owned();
            self.0.push(PathFilter { pattern, includes });
        }
    }

    /// Returns whether a package's entry at `path`, relative to the root, is left out.
    ///
    /// A directory, or a link that may be one, stays where something below it may be included.
    pub fn leaves_out(&self, path: &str, may_hold_others: bool) -> bool {
        let path = format!("/{path}");
        let matching = self.0.iter().rfind(|filter| pattern::matches(&filter.pattern, &path));
        let is_excluded = matching.is_some_and(|filter| !filter.includes);
        let leads_to = |filter: &PathFilter| {
            let plain = filter.pattern.split(['*', '?', '[', '\\']).next().unwrap_or_default();
            filter.includes && path.starts_with(plain.trim_end_matches('/'))
        };
        is_excluded && !(may_hold_others && self.0.iter().any(leads_to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_filter_that_matches_decides() {
        let mut filters = PathFilters::default();
        filters.read(
            "# slim\nforce-unsafe-io\npath-exclude /usr/share/doc/*\npath-include=/usr/share/doc/*/copyright\n\
             path-exclude /usr/share/man/*\n",
        );
        for (path, is_directory, expected) in [
            ("usr/share/doc/git/changelog.gz", false, true),
            ("usr/share/doc/git/copyright", false, false),
            ("usr/share/doc/git", true, false),
            ("usr/share/doc/git/contrib/copyright", false, false),
            ("usr/share/man/man1", true, true),
            ("usr/share/man", true, false),
            ("usr/bin/git", false, false),
        ] {
            assert_eq!(filters.leaves_out(path, is_directory), expected, "{path}");
        }
        assert!(!PathFilters::default().leaves_out("usr/share/doc/x", false));
    }
}
