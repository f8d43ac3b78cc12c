//! Files that are made of those of several packages: the list of shells, and the machine's id.

use super::tree::Tree;

pub(super) fn write(tree: &mut Tree<'_>) {
    shells(tree);
    // An image has one, or is to have none.
    if tree.has_directory("etc") && tree.input().ground.entries.is_empty() {
        // Empty: the first boot, or nobody, gives the machine an id.
        tree.file("etc/machine-id", 0o444, "");
    }
}

/// `/etc/shells`, as update-shells merges it: the list every system has, then what packages add, each
/// also under its real name.
fn shells(tree: &mut Tree<'_>) {
    let Some(first) = tree.text("usr/share/debianutils/shells") else { return };
    let mut list = tree.text("etc/shells").unwrap_or_else(|| first.clone());
    let mut shells = named_shells(tree, &first);
    for path in tree.files_below("usr/share/debianutils/shells.d") {
        let text = tree.text(&path).unwrap_or_default();
        shells.extend(named_shells(tree, &text));
    }
    let updates = tree.has("usr/sbin/update-shells");
    let mut state = tree.text("var/lib/shells.state").unwrap_or_default();
    // What a person took from the list is not put back.
    shells.retain(|shell| !state.lines().any(|line| line == shell));
    if shells.is_empty() {
        return;
    }
    for shell in shells {
        for text in [&mut list, &mut state] {
            if !text.lines().any(|line| line == shell) {
                text.push_str(&format!("{shell}\n"));
            }
        }
    }
    tree.file("etc/shells", 0o644, list);
    if updates {
        tree.file("var/lib/shells.state", 0o644, state);
    }
}

/// The shells of a list, each followed by its real path where that is another.
fn named_shells(tree: &Tree<'_>, list: &str) -> Vec<String> {
    let named = list.lines().filter_map(|line| line.split('#').next()).filter(|line| !line.is_empty());
    let both = named.flat_map(|shell| {
        let real = tree.real(shell).map(|real| format!("/{real}"));
        [Some(shell.to_owned()), real.filter(|real| real != shell)]
    });
    both.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::super::tree::example::Example;
    use super::*;

    #[test]
    fn shells_are_listed_under_both_their_names() {
        let example = Example::default()
            .directory("etc")
            .directory("var/lib")
            .directory("usr/bin")
            .file("usr/sbin/update-shells", "")
            .file("usr/share/debianutils/shells", "# shells\n/bin/sh\n")
            .file("usr/share/debianutils/shells.d/bash", "/bin/bash\n");
        let expected = [
            "etc/shells 644 0:0 # shells\n/bin/sh\n/usr/bin/sh\n/bin/bash\n/usr/bin/bash\n",
            "var/lib/shells.state 644 0:0 /bin/sh\n/usr/bin/sh\n/bin/bash\n/usr/bin/bash\n",
        ];
        assert_eq!(example.run(shells), expected);
    }
}
