//! The known word a misspelt one most likely means.

use strsim::osa_distance;

/// The word of `known` closest to `given`, when it is close enough to be meant.
pub fn closest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let longest = known.iter().map(|word| word.len()).max()?;
    if given.len() > 2 * longest {
        return None;
    }
    let small = given.to_lowercase();
    let distance = |word: &str| osa_distance(&small, &word.to_lowercase());
    let (distance, word) = known.iter().map(|word| (distance(word), *word)).min()?;
    let meant = distance <= given.len().max(word.len()) / 3;
    meant.then_some(word)
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
