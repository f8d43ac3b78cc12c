//! The maintainer scripts of packages, followed without being run: their commands are read, and programs that are known
//! are done natively to the tree. Each command that would have run something else is told.
//!
//! <https://www.debian.org/doc/debian-policy/ch-maintainerscripts.html>

mod builtins;
mod expand;
mod programs;
mod shell;
mod system;
mod test;
pub mod unfollowed;

use std::collections::BTreeMap;

use self::shell::Shell;
use self::system::{Stage, System};
use self::unfollowed::Unfollowed;
use super::tree::Tree;
use crate::debian::deb822::{self, Paragraph};
use crate::debian::dpkg::InstalledPackage;
use crate::debian::shell::parse;
use crate::debian::shell::syntax::{List, SyntaxError};

/// The answers that debconf was given.
const ANSWERS: &str = "var/cache/debconf/config.dat";

/// The packages whose scripts are other steps of the configuration.
const DONE_ELSEWHERE: [&str; 4] =
    ["base-passwd", "ca-certificates", "ca-certificates-java", "libpam-runtime"];

/// Follows the scripts of all packages, in their order; returns the commands that were not followed.
pub(super) fn follow(tree: &mut Tree<'_>) -> Vec<Unfollowed> {
    let input = tree.input();
    let Some(first) = input.packages.first() else { return Vec::new() };
    let mut system = begin(tree, first);
    let mut unfollowed = Vec::new();
    let scripted = input.packages.iter().filter(|package| !is_done_elsewhere(package));
    for package in scripted.clone() {
        system.stage = Stage::BeforeUnpacking;
        unfollowed.extend(match input.before(package) {
            None => follow_script(&mut system, package, "preinst", &["install"]),
            Some(before) => follow_upgrade(&mut system, before, package),
        });
    }
    for package in scripted {
        system.stage = Stage::Configuring;
        let before = input.before(package).map_or("", |before| &before.version);
        ask(&mut system, package, before);
        unfollowed.extend(follow_script(&mut system, package, "postinst", &["configure", before]));
    }
    unfollowed
}

/// The system before the first of the scripts.
fn begin<'t, 'a>(tree: &'t mut Tree<'a>, first: &'a InstalledPackage) -> System<'t, 'a> {
    let (alternatives, answers) = (programs::groups_of(tree), answers(tree));
    let mut system = System::new(tree, first);
    (system.alternatives, system.answers) = (alternatives, answers);
    system
}

/// The scripts of two versions of a package, up to the unpacking of the new one.
fn follow_upgrade<'a>(
    system: &mut System<'_, 'a>,
    before: &'a InstalledPackage,
    package: &'a InstalledPackage,
) -> Vec<Unfollowed> {
    let mut unfollowed = follow_script(system, before, "prerm", &["upgrade", &package.version]);
    unfollowed.extend(follow_script(system, package, "preinst", &["upgrade", &before.version]));
    unfollowed.extend(follow_script(system, before, "postrm", &["upgrade", &package.version]));
    unfollowed
}

/// Follows the scripts of packages that were there before, for the triggers that each waits for.
pub(super) fn follow_triggered<'a>(
    tree: &mut Tree<'a>,
    triggered: &[(&'a InstalledPackage, String)],
) -> Vec<Unfollowed> {
    let Some((first, _)) = triggered.first() else { return Vec::new() };
    let mut system = begin(tree, first);
    let scripted = triggered.iter().filter(|(package, _)| !is_done_elsewhere(package));
    let follow = |(package, names): &(&'a InstalledPackage, String)| {
        follow_script(&mut system, package, "postinst", &["triggered", names])
    };
    scripted.flat_map(follow).collect()
}

/// Lets the script that asks a package's questions give their answers, as debconf does before the `postinst` that uses it.
/// One that cannot be followed to its end leaves the questions' defaults.
fn ask<'a>(system: &mut System<'_, 'a>, package: &'a InstalledPackage, before: &str) {
    let postinst = package.control.text("postinst");
    if !postinst.is_some_and(|text| text.contains("/debconf/confmodule")) {
        return;
    }
    let defaults = system.answers.clone();
    if !follow_script(system, package, "config", &["configure", before]).is_empty() {
        system.answers = defaults;
    }
}

fn is_done_elsewhere(package: &InstalledPackage) -> bool {
    DONE_ELSEWHERE.contains(&package.name.as_str())
}

fn follow_script<'a>(
    system: &mut System<'_, 'a>,
    package: &'a InstalledPackage,
    script: &'static str,
    arguments: &[&str],
) -> Vec<Unfollowed> {
    let Some(text) = package.control.text(script) else { return Vec::new() };
    (system.package, system.directory, system.umask) = (package, "/".into(), 0o022);
    let list = match (is_shell(&text), parse(&text)) {
        (true, Ok(list)) => list,
        (true, Err(error)) => return vec![Unfollowed::of_syntax(package, script, &error)],
        (false, _) => return vec![Unfollowed::of_language(package, script, &text)],
    };
    let mut shell = Shell::new(system, script, arguments);
    shell.ends_on_failure = text.lines().next().is_some_and(|first| first.contains(" -e"));
    let _ = shell.list(&list);
    let mut unfollowed = std::mem::take(&mut shell.unfollowed);
    if let Some(status) = shell.status.filter(|status| *status != 0) {
        unfollowed.push(Unfollowed::of_failure(package, script, status));
    }
    for path in std::mem::take(&mut system.temporary) {
        system.tree.remove(&path);
    }
    unfollowed.dedup();
    unfollowed
}

/// Returns whether a script is one of the shell, by its first line.
fn is_shell(text: &str) -> bool {
    const SHELLS: [&str; 4] = ["sh", "dash", "bash", "ash"];
    let Some(line) = text.lines().next().and_then(|line| line.strip_prefix("#!")) else { return false };
    let program = line.split_ascii_whitespace().next().and_then(|program| program.rsplit('/').next());
    program.is_some_and(|program| SHELLS.contains(&program))
}

/// The commands of a program of the image; `None` where it is no script of the shell.
fn read_script(system: &System<'_, '_>, path: &str) -> Option<Result<List, SyntaxError>> {
    let text = system.tree.text(&system.path(path))?;
    is_shell(&text).then(|| parse(&text))
}

/// The commands of a file that a script reads.
fn read_list(system: &System<'_, '_>, path: &str) -> Option<Result<List, SyntaxError>> {
    Some(parse(&system.tree.text(&system.path(path))?))
}

/// The answers to the questions of all packages: the image's own, else what the packages say.
fn answers(tree: &Tree<'_>) -> BTreeMap<String, String> {
    let mut answers: BTreeMap<String, String> = tree.packages().flat_map(default_answers).collect();
    let known = tree.text(ANSWERS).unwrap_or_default();
    for answer in known.split("\n\n").filter_map(|answer| deb822::paragraph(answer).ok()) {
        if let (Some(name), Some(value)) = (answer.get("Name"), answer.get("Value")) {
            answers.insert(name.to_owned(), value.to_owned());
        }
    }
    answers
}

/// The answers that debconf has of a package's questions when nobody is asked.
fn default_answers(package: &InstalledPackage) -> Vec<(String, String)> {
    let text = package.control.text("templates").unwrap_or_default();
    // One that cannot be read keeps no other from being read.
    let templates = text.split("\n\n").filter_map(|template| deb822::paragraph(template).ok());
    let answer = |template: Paragraph<'_>| {
        Some((template.get("Template")?.to_owned(), template.get("Default").unwrap_or_default().to_owned()))
    };
    templates.filter_map(answer).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tree::example::Example;
    use super::*;

    fn example() -> Example {
        Example::default()
            .directory("etc/ssh")
            .directory("run")
            .directory("tmp")
            .directory("var/lib/dpkg")
            .directory("usr/share/doc")
            .file("etc/passwd", "root:x:0:0:root:/root:/bin/bash\n")
            .file("etc/group", "root:x:0:\nadm:x:4:\n")
            .file("usr/bin/ping", "")
            .program("usr/sbin/setcap", "")
    }

    /// The entries that a postinst makes, and its commands that were not followed.
    fn run(example: Example, postinst: &str) -> Vec<String> {
        let script = format!("#!/bin/sh\n{postinst}");
        let mut told = Vec::new();
        let made = example.package("a", &[("postinst", &script)]).run(|tree| {
            told = follow(tree).iter().map(|one| format!("! {one}")).collect();
        });
        made.into_iter().chain(told).collect()
    }

    fn check(postinst: &str, expected: &[&str]) {
        assert_eq!(run(example(), postinst), expected, "{postinst}");
    }

    #[test]
    fn accounts_are_added_as_the_script_says() {
        check(
            "setup() {\n\tif ! getent passwd sshd >/dev/null; then\n\t\tadduser --quiet --system --no-create-home \\\n\
             --home /run/sshd --shell /usr/sbin/nologin sshd\n\tfi\n}\nsetup; setup",
            &[
                "etc/passwd 644 0:0 root:x:0:0:root:/root:/bin/bash\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n",
            ],
        );
        check(
            "for name in a b; do getent group $name >/dev/null || addgroup --system $name; done; groupadd -r c",
            &["etc/group 644 0:0 root:x:0:\nadm:x:4:\na:x:100:\nb:x:101:\nc:x:999:\n"],
        );
        check(
            "N=bus; adduser --system --home /nonexistent --no-create-home --disabled-password --group \"$N\"\nadduser bus adm",
            &[
                "etc/group 644 0:0 root:x:0:\nadm:x:4:bus\nbus:x:100:\n",
                "etc/passwd 644 0:0 root:x:0:0:root:/root:/bin/bash\nbus:x:100:100::/nonexistent:/usr/sbin/nologin\n",
            ],
        );
    }

    #[test]
    fn what_is_only_for_upgrades_is_left_out() {
        check(
            "set -e\ncase \"$1\" in\n configure) [ -z \"$2\" ] && touch /etc/new;;\n abort-upgrade|abort-remove) rm /etc/passwd;;\nesac\n\
             if [ -n \"$2\" ] && dpkg --compare-versions \"$2\" lt 1.0; then rm -rf /etc; fi\n\
             if dpkg --compare-versions \"$2\" lt-nl 1.0; then rm -rf /etc; fi",
            &["etc/new 644 0:0 "],
        );
    }

    #[test]
    fn owners_modes_and_capabilities_are_those_of_the_shipped_file() {
        check(
            "P=$(dpkg-divert --truename /bin/ping)\nif command -v setcap >/dev/null; then\n\
             if setcap cap_net_raw+ep $P; then chmod u-s $P; else chmod u+s $P; fi\nelse chmod u+s $P; fi",
            &["usr/bin/ping => 644 0:0 capable"],
        );
        check(
            "dpkg-statoverride --list /usr/bin/ping >/dev/null || dpkg-statoverride --update --add root adm 4754 /usr/bin/ping\n\
             dpkg-statoverride --list /usr/bin/ping >/dev/null || chmod 0 /usr/bin/ping",
            &["var/lib/dpkg/statoverride 644 0:0 root adm 4754 /usr/bin/ping\n", "usr/bin/ping => 4754 0:4"],
        );
        check("chgrp adm /bin/ping; chmod 2755 /bin/ping", &["usr/bin/ping => 2755 0:4"]);
        check("chown nobody /bin/ping 2>/dev/null || true", &[]);
    }

    #[test]
    fn files_are_made_as_the_script_makes_them() {
        check(
            "umask 027\ncat > /etc/a <<EOF\nhome $HOME\nEOF\necho b >> /etc/a\nmkdir -p /run/x/y\ninstall -d -m 0775 -g adm /run/z\n\
             ln -s /etc/a /run/link; mv /etc/a /etc/b; rm -f /etc/nothing; : > /etc/ssh/c",
            &[
                "etc/b 640 0:0 home /root\nb\n",
                "etc/ssh/c 640 0:0 ",
                "run/link -> /etc/a",
                "run/x/ 750 0:0",
                "run/x/y/ 750 0:0",
                "run/z/ 775 0:4",
            ],
        );
        check(
            "rm -r /usr/share/doc; rm /usr/bin/ping",
            &["usr/bin/ping => removed", "usr/share/doc => removed"],
        );
        check("f=$(mktemp); echo x > $f; cp $f /etc/x; rm -f $f", &["etc/x 600 0:0 x\n"]);
    }

    #[test]
    fn what_is_not_understood_is_told_and_not_guessed() {
        check(
            "mandb -c /usr/share/man || true\ntouch /etc/a",
            &["etc/a 644 0:0 ", "! `mandb -c /usr/share/man` (postinst, line 2) is not run"],
        );
        check(
            "if frob --ask; then\n touch /etc/a\nelse\n touch /etc/b\nfi",
            &[
                "! `frob --ask` (postinst, line 2) is not run",
                "! what `if frob --ask; then touch /etc/a else touch /etc/b fi` (postinst, line 2) does depends on what only a run would show",
            ],
        );
        check(
            "host=$(hostname -f)\necho $host > /etc/mailname\n[ -z \"$host\" ] || echo $host",
            &["! `echo $host > /etc/mailname` (postinst, line 3) depends on what only a run would show"],
        );
        check("if", &["! postinst is not understood at line 2: there is no `then`"]);
        check("set -e\nif true; then which frob && frob; fi\ntouch /etc/a", &["etc/a 644 0:0 "]);
        check("set -e\nfalse\ntouch /etc/a", &["! postinst would fail with status 1"]);
        check("while true; do :; done", &["! `:` (postinst, line 2) takes more steps than imgforge follows"]);
        check("f() { f; }\nf", &["! `f` (postinst, line 2) takes more steps than imgforge follows"]);
    }

    #[test]
    fn compiling_bytecode_is_left_out_without_a_word() {
        check(
            "for v in 3.11; do\n\
             python=python$v\n\
             files=$(dpkg -L a | sed -n '/^\\/usr\\/lib\\/'$python'\\/.*\\.py$/p')\n\
             if [ -n \"$files\" ]; then\n\
             /usr/bin/$python -E -S /usr/lib/$python/py_compile.py $files\n\
             if grep -sq '^byte-compile[^#]*optimize' /etc/python/debian_config; then\n\
             /usr/bin/$python -E -S -O /usr/lib/$python/py_compile.py $files\n\
             fi\nelse\n echo >&2 \"$python: no files\"\nfi\ndone",
            &[],
        );
    }

    #[test]
    fn files_of_several_packages_are_listed_though_one_is_not_there() {
        check(
            "link() {\n\
             FOUND=$(unset GREP_OPTIONS; dpkg -L $1 gone 2>/dev/null | grep -E \"share/[a-z](\\.gz)?\\$\") || true\n\
             [ -n \"$FOUND\" ] || return 0\n\
             SLAVES=$(for one in $FOUND; do T=$(echo $one | sed -e 's/usr/opt/'); echo -n \" --slave $T ${one##*/}\"; done)\n\
             echo $SLAVES > /etc/slaves\n}\nlink a",
            &["etc/slaves 644 0:0 --slave /opt/share/a a\n"],
        );
    }

    #[test]
    fn what_may_have_been_written_is_not_taken_for_nothing() {
        for script in [
            "A=$(for one in $(date); do echo $one; done)\nchown $A /etc/shadow",
            "A=$(if [ -n \"$(date)\" ]; then echo root; fi)\nchown $A /etc/shadow",
            "A=$(while [ -n \"$(date)\" ]; do echo root; done)\nchown $A /etc/shadow",
            "A=$(case $(date) in *) echo root;; esac)\nchown $A /etc/shadow",
            "A=$([ -n \"$(date)\" ] && echo root)\nchown $A /etc/shadow",
            "told() { echo root; }\nA=$([ -n \"$(date)\" ] && told)\nchown $A /etc/shadow",
        ] {
            let made = run(example(), script);
            assert!(
                made.iter().any(|line| line.starts_with("! `chown $A /etc/shadow`")),
                "{script}: {made:?}"
            );
        }
    }

    #[test]
    fn a_script_of_the_image_is_followed_too() {
        let example = example().program("usr/sbin/helper", "#!/bin/sh\nset -e\ntouch \"/etc/$1\"\n");
        assert_eq!(run(example, "helper made"), ["etc/made 644 0:0 "]);
    }

    #[test]
    fn lines_are_split_where_ifs_says() {
        let check = |read: &str, line: &str, expected: &str| {
            check(
                &format!("while {read}; do echo \"<$a><$b>\" > /etc/read; done <<EOF\n{line}\nEOF"),
                &[&format!("etc/read 644 0:0 {expected}\n")],
            );
        };
        check("read -r a b", "  one  two three ", "<one><two three>");
        check("IFS='#' read -r a b", "# why", "<>< why>");
        check("IFS='#' read -r a b", "/bin/sh # why # not", "</bin/sh >< why # not>");
        check("IFS=: read -r a b", "x::y:", "<x><:y:>");
        check("IFS=' :' read -r a b", " x : y ", "<x><y>");
        check("IFS= read -r a", "  kept ", "<  kept ><>");
    }

    #[test]
    fn services_are_linked_to_what_wants_them() {
        let example = example()
            .file(
                "usr/lib/systemd/system/a.service",
                "[Unit]\n[Install]\nWantedBy=multi-user.target\nAlias=b.service\n",
            )
            .file(
                "etc/init.d/a",
                "### BEGIN INIT INFO\n# Default-Start: 2 3\n# Default-Stop:\n### END INIT INFO\n",
            );
        let made = run(
            example,
            "deb-systemd-helper unmask a.service >/dev/null || true\n\
            if deb-systemd-helper --quiet was-enabled a.service; then deb-systemd-helper enable a.service >/dev/null || true; fi\n\
            update-rc.d a defaults >/dev/null; invoke-rc.d a start || exit 1",
        );
        let links: Vec<&String> = made.iter().filter(|line| line.contains(" -> ")).collect();
        assert_eq!(
            links,
            [
                "etc/rc2.d/S01a -> ../init.d/a",
                "etc/rc3.d/S01a -> ../init.d/a",
                "etc/systemd/system/b.service -> /lib/systemd/system/a.service",
                "etc/systemd/system/multi-user.target.wants/a.service -> /lib/systemd/system/a.service",
            ]
        );
    }

    #[test]
    fn declared_accounts_and_directories_are_made() {
        let declared = example()
            .file("etc/shadow", "root:*:1::::::\n")
            .file("etc/gshadow", "root:*::\nadm:*::\n")
            .file("usr/lib/sysusers.d/a.conf", "# why\ng clock -\nu! _a - \"The a\" /var/lib/a\nm _a adm\n")
            .file(
                "usr/lib/tmpfiles.d/a.conf",
                "d /run/a 0750 _a adm -\nd /run/a 0700\nL /run/l - - - - ../x\nx /tmp/y\n\
                 f^ /root/keys 600 - - - ssh.keys\nF^ /root/more - - - - more\nf+! /run/boot - - - - x\n\
                 d %t/b\nd %L/journal/%m\nf %S/c - - - - %%x\nd /etc/ssh :0700 :_a\nd /run/d :0700\n",
            );
        let made = run(
            declared,
            "systemd-sysusers a.conf\nsystemd-tmpfiles ${DPKG_ROOT:+--root=\"$DPKG_ROOT\"} --create a.conf",
        );
        assert_eq!(
            made,
            [
                "etc/group 644 0:0 root:x:0:\nadm:x:4:_a\nclock:x:999:\n_a:x:998:\n",
                "etc/gshadow 644 0:0 root:*::\nadm:*::_a\nclock:!*::\n_a:!*::\n",
                "etc/passwd 644 0:0 root:x:0:0:root:/root:/bin/bash\n_a:x:998:998:The a:/var/lib/a:/usr/sbin/nologin\n",
                "etc/shadow 644 0:0 root:*:1::::::\n_a:!*:20000:::::1:\n",
                "run/a/ 750 998:4",
                "run/b/ 755 0:0",
                "run/d/ 700 0:0",
                "run/l -> ../x",
                "var/lib/c 644 0:0 %x",
                "etc/ssh => 755 0:0",
            ]
        );
        let encoded =
            example().file("usr/lib/tmpfiles.d/b.conf", "f~ /etc/encoded - - - - eA==\nd /run/%b\n");
        assert_eq!(
            run(encoded, "systemd-tmpfiles --create b.conf"),
            ["! `systemd-tmpfiles --create b.conf` (postinst, line 2) is not run"]
        );
    }

    #[test]
    fn services_of_users_are_linked_and_presets_lead_to_usr() {
        let unit = "[Install]\nWantedBy=sockets.target\n";
        let example = || {
            example()
                .file("usr/lib/systemd/user/a.socket", unit)
                .file("lib/systemd/system/a.socket", unit)
                .file("usr/lib/systemd/system/a.socket", unit)
        };
        let enable = "deb-systemd-helper --user enable a.socket\ndeb-systemd-helper enable a.socket";
        let links = |example: Example| -> Vec<String> {
            run(example, enable).into_iter().filter(|line| line.contains("a.socket")).collect()
        };
        let (user, state) = ("etc/systemd/user/sockets.target.wants/a.socket", "var/lib/systemd/deb-systemd");
        let expected = |directory: &str| {
            [
                format!(
                    "etc/systemd/system/sockets.target.wants/a.socket -> {directory}/systemd/system/a.socket"
                ),
                format!("{user} -> {directory}/systemd/user/a.socket"),
                format!(
                    "{state}-helper-enabled/a.socket.dsh-also 644 0:0 /etc/systemd/system/sockets.target.wants/a.socket\n"
                ),
                format!("{state}-helper-enabled/sockets.target.wants/a.socket 644 0:0 "),
                format!("{state}-user-helper-enabled/a.socket.dsh-also 644 0:0 /{user}\n"),
                format!("{state}-user-helper-enabled/sockets.target.wants/a.socket 644 0:0 "),
            ]
        };
        assert_eq!(links(example()), expected("/lib"));
        let asking =
            || example().program("usr/bin/deb-systemd-helper", "#!/usr/bin/perl\n--preset-mode=enable-only");
        assert_eq!(links(asking()), expected("/lib"));
        assert_eq!(links(asking().program("usr/bin/systemctl", "")), expected("/usr/lib"));
    }

    #[test]
    fn questions_are_answered_by_the_script_that_asks_them() {
        let postinst = "#!/bin/sh\n. /usr/share/debconf/confmodule\ndb_get a/kind\ntouch \"/etc/$RET\"\n";
        let check = |config: &str, expected: &str| {
            let mut told = Vec::new();
            let control = [
                ("postinst", postinst),
                ("config", config),
                ("templates", "Template: a/kind\nType: string\nDefault: usual\n"),
            ];
            let confmodule = example().file("usr/share/debconf/confmodule", "");
            let made = confmodule.package("a", &control).run(|tree| told = follow(tree));
            assert_eq!(made, [format!("etc/{expected} 644 0:0 ")], "{config}");
            assert!(told.is_empty(), "{told:?}");
        };
        check("#!/bin/sh\nif [ -d /etc/ssh ]; then db_set a/kind found; fi\n", "found");
        check("#!/bin/sh\nif [ -d /etc/no ]; then db_set a/kind found; fi\n", "usual");
        check("#!/bin/sh\ndb_set a/kind half\nmystery --of a\n", "usual");
        check("#!/usr/bin/perl\n", "usual");
    }
}
