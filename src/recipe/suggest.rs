//! The known word a misspelt one most likely means.

/// The word of `known` closest to `given`, when it is close enough to be meant.
pub(super) fn closest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let longest = known.iter().map(|word| word.len()).max()?;
    if given.len() > 2 * longest {
        return None;
    }
    let (distance, word) = known.iter().map(|word| (distance(given, word), *word)).min()?;
    let meant = distance <= given.len().max(word.len()) / 3;
    meant.then_some(word)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`, ignoring case.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_key_that_was_meant_and_nothing_far_off() {
        let keys = ["frameworks", "packages", "exclude-newer", "files"];
        for (given, meant) in [
            ("framworks", Some("frameworks")),
            ("Packages", Some("packages")),
            ("exclude_newer", Some("exclude-newer")),
            ("fiels", Some("files")),
            ("volumes", None),
            ("", None),
        ] {
            assert_eq!(closest(given, &keys), meant, "{given}");
        }
        assert_eq!(closest("x", &[]), None);
    }
}
