//! The owners and permissions that dpkg's overrides give to files of packages as it unpacks them.
//!
//! <https://manpages.debian.org/dpkg-statoverride.1>

use super::tree::{Attributes, Tree};
use crate::debian::diversions::parse_overrides;

const OVERRIDES: &str = "var/lib/dpkg/statoverride";

pub(super) fn apply(tree: &mut Tree<'_>) {
    for one in parse_overrides(&tree.text(OVERRIDES).unwrap_or_default()) {
        let Some(path) = tree.real(&one.path) else { continue };
        if !tree.input().entries.contains_key(path.as_str()) {
            continue;
        }
        let id = |file: &str, name: &str| match name.strip_prefix('#') {
            Some(number) => number.parse().unwrap_or_default(),
            None => tree.account_id(file, name),
        };
        let (uid, gid) = (id("etc/passwd", &one.user), id("etc/group", &one.group));
        tree.set_attributes(&path, Attributes { mode: one.mode, uid, gid, capabilities: None });
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::example::Example;
    use super::*;

    #[test]
    fn files_of_packages_get_the_attributes_of_their_overrides() {
        let example = Example::default()
            .file("etc/passwd", "root:x:0:0::/root:/bin/sh\n")
            .file("etc/group", "root:x:0:\nmessagebus:x:101:\n")
            .file(
                OVERRIDES,
                "root messagebus 4754 /bin/helper\n#7 #8 600 /usr/bin/b\nroot root 755 /missing\n",
            )
            .file("usr/bin/helper", "")
            .file("usr/bin/b", "");
        assert_eq!(example.run(apply), ["usr/bin/b => 600 7:8", "usr/bin/helper => 4754 0:101"]);
    }
}
