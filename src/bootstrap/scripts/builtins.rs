//! The commands that are of the shell itself.

use super::shell::{Followed, Jump, Shell};
use super::system::ShellValue;
use super::test;
use super::unfollowed::UnfollowedReason;
use crate::debian::shell::syntax::{PartKind, ShellCommand, ShellWord, WordPart};

impl Shell<'_, '_, '_> {
    /// Does `name` where it is a command of the shell.
    pub(super) fn builtin(
        &mut self,
        command: &ShellCommand,
        name: &str,
        arguments: &[ShellValue],
    ) -> Option<Followed> {
        let status = match name {
            ":" | "true" | "trap" | "wait" | "hash" | "alias" | "ulimit" => Some(0),
            "false" => Some(1),
            "test" => self.test(arguments),
            "[" => self.test(&arguments[..arguments.len().saturating_sub(1)]),
            "set" => self.set(arguments),
            "shift" => self.shift(arguments),
            "cd" => self.change_directory(arguments),
            "umask" => self.set_umask(arguments),
            "unset" => {
                arguments.iter().flatten().for_each(|name| drop(self.variables.remove(name)));
                Some(0)
            }
            "read" => self.read(arguments),
            "db_get" | "db_fget" | "db_metaget" => self.answer(name, arguments),
            "command" => return self.command_builtin(command, arguments),
            "." | "source" => return Some(self.read_file(command, arguments)),
            "exec" if arguments.is_empty() => Some(0),
            "exit" | "return" => {
                if let Some(status) = arguments.first() {
                    self.status = status.as_ref().and_then(|status| status.parse().ok());
                }
                return Some(Err(if name == "exit" { Jump::Exit } else { Jump::Return }));
            }
            "break" | "continue" => {
                let levels = arguments.first().cloned().flatten();
                let levels = levels.and_then(|levels| levels.parse().ok()).unwrap_or(1);
                self.status = Some(0);
                return Some(Err(if name == "break" { Jump::Break(levels) } else { Jump::Continue(levels) }));
            }
            _ => return None,
        };
        self.status = status;
        Some(Ok(()))
    }

    fn test(&self, arguments: &[ShellValue]) -> Option<u8> {
        let known: Option<Vec<String>> = arguments.iter().cloned().collect();
        test::holds(self.system, &known?).map(|holds| u8::from(!holds))
    }

    fn set(&mut self, arguments: &[ShellValue]) -> Option<u8> {
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_deref() {
                Some("--") => {
                    self.arguments = arguments.cloned().collect();
                    return Some(0);
                }
                Some("-o" | "+o") => drop(arguments.next()),
                Some(option) if option.starts_with('-') && option.contains('e') => {
                    self.ends_on_failure = true
                }
                Some(option) if option.starts_with('+') && option.contains('e') => {
                    self.ends_on_failure = false
                }
                _ => {}
            }
        }
        Some(0)
    }

    fn shift(&mut self, arguments: &[ShellValue]) -> Option<u8> {
        let count = match arguments.first() {
            None => 1,
            Some(count) => count.as_ref()?.parse().unwrap_or(1),
        };
        let is_enough = count <= self.arguments.len();
        self.arguments.drain(..count.min(self.arguments.len()));
        Some(u8::from(!is_enough))
    }

    fn change_directory(&mut self, arguments: &[ShellValue]) -> Option<u8> {
        let path = match arguments.iter().find(|argument| argument.as_deref() != Some("--")) {
            Some(path) => path.clone()?,
            None => "/root".into(),
        };
        if !self.system.is_directory(&path) {
            return Some(1);
        }
        self.system.directory = self.system.path(&path);
        Some(0)
    }

    fn set_umask(&mut self, arguments: &[ShellValue]) -> Option<u8> {
        let mask = u32::from_str_radix(arguments.first()?.as_ref()?, 8).ok()?;
        self.system.umask = mask & 0o777;
        Some(0)
    }

    /// Takes a line of the input apart.
    fn read(&mut self, arguments: &[ShellValue]) -> Option<u8> {
        let names: Vec<String> =
            arguments.iter().flatten().filter(|name| !name.starts_with('-')).cloned().collect();
        let Some(input) = self.system.input.clone() else {
            names.into_iter().for_each(|name| drop(self.variables.insert(name, None)));
            return None;
        };
        let (line, rest) = input.split_once('\n').unwrap_or((&input, ""));
        let separators = self.separators();
        let (blanks, others): (Vec<char>, Vec<char>) =
            separators.chars().partition(|separator| separator.is_ascii_whitespace());
        let mut line_rest = line.trim_matches(&blanks[..]);
        for (at, name) in names.iter().enumerate() {
            let is_last = at + 1 == names.len();
            let end = line_rest.find(|c| separators.contains(c)).filter(|_| !is_last);
            let end = end.unwrap_or(line_rest.len());
            self.variables.insert(name.clone(), Some(line_rest[..end].to_owned()));
            // A separator that is not blank ends one field, however many blanks are around it.
            let after = line_rest[end..].trim_start_matches(&blanks[..]);
            let after = after.strip_prefix(&others[..]).unwrap_or(after);
            line_rest = after.trim_start_matches(&blanks[..]);
        }
        let status = u8::from(input.is_empty());
        self.system.input = Some(rest.to_owned());
        Some(status)
    }

    /// Tells the answer to one of debconf's questions in `RET`.
    fn answer(&mut self, name: &str, arguments: &[ShellValue]) -> Option<u8> {
        let answer = match (name, arguments.first()?) {
            ("db_get", Some(question)) => match self.system.answers.get(question).cloned() {
                Some(answer) => Some(answer),
                None => {
                    self.variables.insert("RET".into(), Some(String::new()));
                    return Some(10);
                }
            },
            ("db_fget", Some(_)) => Some("false".into()),
            _ => None,
        };
        self.variables.insert("RET".into(), answer);
        Some(0)
    }

    fn command_builtin(&mut self, command: &ShellCommand, arguments: &[ShellValue]) -> Option<Followed> {
        let (first, rest) = arguments.split_first()?;
        match first.as_deref() {
            Some("-v" | "-V") => {
                let known: Option<Vec<String>> = rest.iter().cloned().collect();
                self.status = known.map(|names| u8::from(!self.tell_places(&names)));
                Some(Ok(()))
            }
            Some(name) if self.functions.contains_key(name) => None,
            Some(name) => self.builtin(command, name, rest),
            None => None,
        }
    }

    /// Writes where each program is; `false` where one is not there.
    fn tell_places(&mut self, names: &[String]) -> bool {
        let mut all = true;
        for name in names {
            let function = self.functions.contains_key(name).then(|| name.clone());
            match function.or_else(|| self.system.program(name)) {
                Some(place) => self.system.write(&format!("{place}\n")),
                None => all = false,
            }
        }
        all
    }

    /// Follows the commands of a file as if they stood here.
    fn read_file(&mut self, command: &ShellCommand, arguments: &[ShellValue]) -> Followed {
        const DEBCONF: &str = "/usr/share/debconf/confmodule";
        let path = arguments.first().cloned().flatten();
        if path.as_deref() == Some(DEBCONF) {
            self.status = Some(0);
            return Ok(());
        }
        let list = path.and_then(|path| super::read_list(self.system, &path));
        let Some(Ok(list)) = list else {
            self.note(command, UnfollowedReason::Program);
            self.status = None;
            return Ok(());
        };
        match self.list(&list) {
            Err(Jump::Return) => Ok(()),
            other => other,
        }
    }

    /// Gives variables their values as `local` and `export` do.
    pub(super) fn declare(&mut self, is_local: bool, words: &[ShellWord]) {
        self.status = Some(0);
        for word in words {
            let (name, value) = match word.0.split_first() {
                Some((WordPart { kind: PartKind::Text(text), .. }, rest)) if text.contains('=') => {
                    let (name, start) = text.split_once('=').unwrap_or((text, ""));
                    let rest = self.text(&ShellWord(rest.to_vec()));
                    (name.to_owned(), Some(rest.map(|rest| format!("{start}{rest}"))))
                }
                Some((WordPart { kind: PartKind::Text(name), .. }, _)) => (name.clone(), None),
                _ => continue,
            };
            if is_local {
                let before = self.variables.get(&name).cloned();
                if let Some(locals) = self.locals.last_mut() {
                    locals.push((name.clone(), before));
                }
            }
            match value {
                Some(value) => drop(self.variables.insert(name, value)),
                None if is_local => drop(self.variables.insert(name, Some(String::new()))),
                None => {}
            }
        }
    }
}
