//! debconf, which nobody is asked by: answers are the questions' defaults; and `ucf`, which asks by it.
//!
//! <https://manpages.debian.org/debconf-devel.7> · <https://manpages.debian.org/ucf.1>

use super::super::system::{Done, System};
use super::options::Options;
use crate::debian::dpkg::md5;

const HASHES: &str = "/var/lib/ucf/hashfile";
const REGISTRY: &str = "/var/lib/ucf/registry";

/// Does `name` where it is one of these programs.
pub(super) fn run(system: &mut System<'_, '_>, name: &str, arguments: &[String]) -> Option<Done> {
    Some(match name {
        "db_get" | "db_fget" | "db_metaget" => return None,
        "ucf" => update(system, arguments),
        "ucfr" => register(system, arguments),
        "db_set" => {
            if let [question, answer, ..] = arguments {
                system.answers.insert(question.clone(), answer.clone());
            }
            Done::SUCCESS
        }
        _ if name.starts_with("db_") => Done::SUCCESS,
        _ => return None,
    })
}

fn update(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let options = Options::of(arguments, &["--sum-file", "--src-dir", "-s", "-d", "--state-dir"]);
    if options.has(&["-p", "--purge"]) {
        return Done::SUCCESS;
    }
    let [new, place] = options.operands[..] else { return Done::NotFollowed };
    let Some(bytes) = system.tree.bytes(&system.path(new)).map(std::borrow::Cow::into_owned) else {
        return Done::FAILURE;
    };
    if system.is_file(place) {
        return Done::NotFollowed;
    }
    let (from, to) = (system.path(new), system.path(place));
    system.tree.copy(&from, &to, true);
    system.write_file(HASHES, &format!("{}  {place}\n", md5(&bytes)), true);
    if options.has(&["--three-way"]) {
        let name = place.replace('/', ":");
        system.tree.copy(&from, &format!("/var/lib/ucf/cache/{name}"), true);
    }
    Done::SUCCESS
}

fn register(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let options = Options::of(arguments, &["--state-dir"]);
    match options.operands[..] {
        [package, path] if !options.has(&["-p", "--purge"]) => {
            system.write_file(REGISTRY, &format!("{package} \t {path}\n"), true);
            Done::SUCCESS
        }
        _ => Done::NotFollowed,
    }
}
