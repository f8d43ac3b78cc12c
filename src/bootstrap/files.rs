//! Small things that postinst scripts make: base-files' directories, copies of defaults, the time zone,
//! the shells, Python's local directories.

use super::tree::{ROOT, Tree};
use crate::debian::script;

pub(super) fn write(tree: &mut Tree<'_>) {
    base_files(tree);
    defaults(tree);
    empty_files(tree);
    shells(tree);
    time_zone(tree);
    python(tree);
    written_by_scripts(tree);
    if tree.has_directory("etc") {
        // Empty: the first boot, or nobody, gives the machine an id.
        tree.file("etc/machine-id", 0o444, "");
    }
}

/// base-files' postinst is a list of calls of its own functions; these are read, so that each release
/// gets the directories it names.
fn base_files(tree: &mut Tree<'_>) {
    if tree.package("base-files").is_none() {
        return;
    }
    if tree.has("etc/dpkg/origins/debian") && !tree.has("etc/dpkg/origins/default") {
        tree.symlink("etc/dpkg/origins/default", "debian");
    }
    for command in tree.postinst_commands("base-files") {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        match words[..] {
            ["install_from_default", from, to] => tree.copy(&format!("usr/share/base-files/{from}"), to),
            ["install_directory", path, mode, group] => {
                let (mode, gid) = (octal(mode), tree.account_id("etc/group", group));
                tree.directory(path, mode, gid);
            }
            ["install_local_dir", path] => tree.directory(path, 0o755, ROOT),
            ["migrate_directory", path, target] => tree.symlink(path, target),
            ["ensure_file_owner_mode", path, owner, mode] => {
                let gid =
                    tree.account_id("etc/group", owner.split_once(':').map_or("root", |(_, group)| group));
                tree.file_of(path, octal(mode), gid, "");
            }
            ["ln", "-sf", target, path] => tree.symlink(path, target),
            ["ln", "-s", target, path] if !tree.has(path) => tree.symlink(path, target),
            _ => {}
        }
    }
}

fn octal(mode: &str) -> u32 {
    u32::from_str_radix(mode, 8).map_or(0o755, |mode| mode & 0o7777)
}

/// Configuration that is copied once, so that its owner may change it.
fn defaults(tree: &mut Tree<'_>) {
    for package in ["libc-bin", "readline-common"] {
        for command in tree.postinst_commands(package) {
            match &command[..] {
                [name, from, to] if name == "install_from_default" => tree.copy(from, to),
                _ => {}
            }
        }
    }
}

/// Empty files that must be there with the right permissions, where some package's script makes them:
/// which one does differs between releases.
fn empty_files(tree: &mut Tree<'_>) {
    const FILES: [(&str, u32); 5] = [
        ("etc/environment", 0o644),
        ("etc/security/opasswd", 0o600),
        ("etc/subgid", 0o644),
        ("etc/subuid", 0o644),
        ("var/log/faillog", 0o644),
    ];
    for (path, mode) in FILES {
        if tree.is_in_a_postinst(path) && !tree.has(path) {
            tree.file(path, mode, "");
        }
    }
}

/// `/etc/shells`, as update-shells merges it: the list every system has, then what packages add, each
/// also under its real name.
fn shells(tree: &mut Tree<'_>) {
    let Some(mut list) = tree.text("usr/share/debianutils/shells") else { return };
    let mut shells = named_shells(tree, &list);
    for path in tree.wanted_below("usr/share/debianutils/shells.d") {
        let text = tree.text(path).unwrap_or_default();
        shells.extend(named_shells(tree, &text));
    }
    let updates = tree.has("usr/sbin/update-shells");
    for package in ["bash", "dash"] {
        let commands = tree.postinst_commands(package).into_iter();
        let added = commands.filter(|command| command[0].rsplit('/').next() == Some("add-shell"));
        shells.extend(added.flat_map(|command| command.into_iter().skip(1)));
    }
    let mut state = String::new();
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

fn time_zone(tree: &mut Tree<'_>) {
    const UTC: &str = "/usr/share/zoneinfo/Etc/UTC";
    let Some(postinst) = tree.control("tzdata", "postinst") else { return };
    if tree.has(UTC) && !tree.has("etc/localtime") {
        tree.symlink("etc/localtime", UTC);
        // Debian 13 only keeps up the name beside the link where it finds one.
        let names: Vec<&str> = postinst.lines().filter(|line| line.contains("etc/timezone")).collect();
        if names.iter().any(|line| line.contains("> ")) && !names.iter().any(|line| line.contains("-f ")) {
            tree.file("etc/timezone", 0o644, "Etc/UTC\n");
        }
    }
}

/// The directories that pip installs into for every user.
fn python(tree: &mut Tree<'_>) {
    for minor in 0..100 {
        if tree.has(&format!("usr/bin/python3.{minor}")) {
            tree.directory(&format!("usr/local/lib/python3.{minor}"), 0o755, ROOT);
            tree.directory(&format!("usr/local/lib/python3.{minor}/dist-packages"), 0o755, ROOT);
        }
    }
}

/// Files whose text is in the script that writes them.
fn written_by_scripts(tree: &mut Tree<'_>) {
    const FILES: [(&str, &str); 3] =
        [("netbase", "/etc/hosts"), ("netbase", "/etc/networks"), ("python3", "/etc/python3/debian_config")];
    for (package, path) in FILES {
        let postinst = tree.control(package, "postinst").unwrap_or_default();
        if let Some(text) = script::heredoc(&postinst, path).filter(|_| !tree.has(path)) {
            tree.file(path, 0o644, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::example::Example;
    use super::*;

    #[test]
    fn base_files_gets_the_directories_its_script_names() {
        let postinst = "install_directory() {\n mkdir \"$DPKG_ROOT/$1\"\n}\n\
            if [ \"$2\" = \"\" ]; then\n  install_from_default dot.profile /root/.profile\n\
            install_directory var/mail 2775 mail\n migrate_directory /var/run /run\n install_local_dir /usr/local/bin\n\
            ln -sf share/man \"$DPKG_ROOT/usr/local/man\"\n ensure_file_owner_mode /var/log/btmp root:utmp 660\nfi\n";
        let example = Example::default()
            .package("base-files", &[("postinst", postinst)])
            .directory("root")
            .directory("usr/local")
            .directory("var/log")
            .file("etc/group", "mail:x:8:\nutmp:x:43:\n")
            .file("usr/share/base-files/dot.profile", "profile");
        let expected = [
            "root/.profile 644 0:0 profile",
            "usr/local/bin/ 755 0:0",
            "usr/local/man -> share/man",
            "var/log/btmp 660 0:43 ",
            "var/mail/ 2775 0:8",
            "var/run -> /run",
        ];
        assert_eq!(example.run(base_files), expected);
    }

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

    #[test]
    fn the_time_zone_is_utc() {
        let run = |postinst| {
            let example = Example::default().directory("etc").file("usr/share/zoneinfo/Etc/UTC", "");
            example.package("tzdata", &[("postinst", postinst)]).run(time_zone)
        };
        let link = "etc/localtime -> /usr/share/zoneinfo/Etc/UTC";
        assert_eq!(run("echo $TIMEZONE > $DPKG_ROOT/etc/timezone"), [link, "etc/timezone 644 0:0 Etc/UTC\n"]);
        assert_eq!(
            run("if test -f \"$DPKG_ROOT/etc/timezone\"; then\necho $TIMEZONE > $DPKG_ROOT/etc/timezone"),
            [link]
        );
    }

    #[test]
    fn python_gets_its_local_directories() {
        let example = Example::default().directory("usr/local/lib").file("usr/bin/python3.11", "");
        let expected =
            ["usr/local/lib/python3.11/ 755 0:0", "usr/local/lib/python3.11/dist-packages/ 755 0:0"];
        assert_eq!(example.run(python), expected);
    }

    #[test]
    fn a_file_gets_the_text_its_script_holds_unless_it_is_there() {
        let postinst =
            "cat > /etc/hosts <<-EOF\n\t127.0.0.1\tlocalhost\n\tEOF\ncat > /etc/networks <<EOF\nx\nEOF\n";
        let example =
            Example::default().package("netbase", &[("postinst", postinst)]).file("etc/networks", "mine");
        assert_eq!(example.run(written_by_scripts)[1..], ["etc/hosts 644 0:0 127.0.0.1\tlocalhost\n"]);
    }
}
