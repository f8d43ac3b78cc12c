//! Differences, and the changes of a lock, as people read them.

use super::report::bytes;
use super::table::{name, prose};
use super::text::{Page, PrintedText};
use crate::compare::{Change, Difference, Growth, LayerDifference};
use crate::pipeline::{LockWriting, Locked, LockedPlatform};

/// The changes of one kind that are told: more of them are counted.
const SHOWN_CHANGES: usize = 20;

/// The changes of one kind, with the head of their column.
type ChangedKind<'a> = (&'static str, &'a [Change]);

/// Writes the difference between two sides.
pub(super) fn difference(difference: &Difference, page: Page) -> PrintedText {
    let mut out = PrintedText::on(page);
    if difference.is_empty() {
        out.line(format_args!("nothing changed"));
        return out;
    }
    let moved = [&difference.python, &difference.base];
    for Change { name, before, after } in moved.into_iter().flatten() {
        let side = |side: &Option<String>| side.clone().unwrap_or_default();
        out.paragraph(format_args!("{name} {} → {}", side(before), side(after)));
        out.blank();
    }
    for (head, changes) in kinds(difference) {
        changed(&mut out, head, changes);
    }
    files(&mut out, &difference.files);
    if let Some(difference) = &difference.layers {
        layers(&mut out, difference);
    }
    for growth in &difference.bytes {
        grown(&mut out, growth);
    }
    out
}

fn kinds(difference: &Difference) -> [ChangedKind<'_>; 5] {
    [
        ("COMPONENT", &difference.components),
        ("DISTRIBUTION", &difference.distributions),
        ("SYSTEM PACKAGE", &difference.system_packages),
        ("SETTING", &difference.config),
        ("ANNOTATION", &difference.annotations),
    ]
}

fn changed(out: &mut PrintedText, head: &'static str, changes: &[Change]) {
    let cell = |side: &Option<String>| side.clone().unwrap_or_else(|| "-".to_owned());
    let shown = changes.iter().take(SHOWN_CHANGES);
    let rows = shown.map(|change| vec![change.name.clone(), cell(&change.before), cell(&change.after)]);
    let mut rows: Vec<Vec<String>> = rows.collect();
    rows.extend(more(changes).map(|more| vec![more, String::new(), String::new()]));
    out.table(&[name(head), prose("BEFORE"), prose("AFTER")], rows);
}

fn files(out: &mut PrintedText, files: &[Change]) {
    let row = |file: &Change| {
        let change = match (&file.before, &file.after) {
            (None, after) => format!("added: {}", after.as_deref().unwrap_or_default()),
            (Some(_), None) => "removed".to_owned(),
            (Some(before), Some(after)) => format!("{before} → {after}"),
        };
        vec![format!("/{}", file.name), change]
    };
    let mut rows: Vec<Vec<String>> = files.iter().take(SHOWN_CHANGES).map(row).collect();
    rows.extend(more(files).map(|more| vec![more, String::new()]));
    out.table(&[name("FILE"), prose("CHANGE")], rows);
}

/// The number of changes that are not shown.
fn more(changes: &[Change]) -> Option<String> {
    let more = changes.len().checked_sub(SHOWN_CHANGES).filter(|more| *more > 0)?;
    Some(format!("… {more} more (--json)"))
}

fn layers(out: &mut PrintedText, layers: &LayerDifference) {
    let LayerDifference { before, after, shared, bytes_to_pull } = layers;
    out.paragraph(format_args!(
        "layers: {before} → {after}, {shared} shared; {} to pull where the one before is",
        bytes(*bytes_to_pull)
    ));
}

fn grown(out: &mut PrintedText, growth: &Growth) {
    let (sign, by) = match growth.after.checked_sub(growth.before) {
        Some(more) => ("+", more),
        None => ("-", growth.before - growth.after),
    };
    let (before, after) = (bytes(growth.before), bytes(growth.after));
    out.line(format_args!("{}: {before} → {after} ({sign}{})", growth.name, bytes(by)));
}

/// Writes the changes of a lock.
pub(super) fn locked(locked: &Locked, page: Page) -> PrintedText {
    let mut out = PrintedText::on(page);
    for LockedPlatform { platform, changes, .. } in &locked.locks {
        let of = platform.map(|platform| format!("{}: ", platform.platform())).unwrap_or_default();
        changes.iter().for_each(|change| out.paragraph(format_args!("{of}{change}")));
    }
    let path = locked.path.display();
    let is_unmoved = locked.locks.iter().all(|locked| locked.changes.is_empty());
    out.line(match (locked.changed, locked.writing) {
        (false, _) => format!("{path} is up to date"),
        (true, LockWriting::Write) => format!("wrote {path}: {}", extent(&locked.locks)),
        (true, LockWriting::Tell) if locked.is_new => {
            format!("there is no {path}: `imgforge lock` would write {}", extent(&locked.locks))
        }
        (true, LockWriting::Tell) if is_unmoved => {
            format!("{path} is out of date: its versions stay, what it notes of the recipe does not")
        }
        (true, LockWriting::Tell) => {
            format!("{path} is out of date: nothing was written; `imgforge lock` writes it")
        }
    });
    out
}

/// The content of the locks that were made.
fn extent(locks: &[LockedPlatform]) -> String {
    let counts = locks.iter().map(|locked| {
        let of = locked.platform.map(|platform| format!(" for {}", platform.platform())).unwrap_or_default();
        format!("{} distributions{of}", locked.lock.distributions.len())
    });
    let base = if locks.len() == 1 { "their base" } else { "their bases" };
    format!("{} and {base}", counts.collect::<Vec<_>>().join(", "))
}
