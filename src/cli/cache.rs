//! `imgforge cache`: looks at the store, and looks after it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::SpanRelativeTo;
use serde_json::Value;

use super::options::page;
use super::report;
use super::screen::OutputStream;
use super::table::{name, number};
use super::text::PrintedText;
use super::values::cache_place;
use crate::failure::{Failure, Result};
use crate::net::learned;
use crate::oci::ImageReference;
use crate::pipeline::{self, AuditOrder, Progress, PrunedEntries, Session, Task};
use crate::recipe::ByteSize;
use crate::store::{Amount, Prune, Store};

#[derive(Debug, Subcommand)]
pub(super) enum CacheCommand {
    /// Print where the store is, and how much of what is in it.
    Info {
        /// Print JSON; `imgforge schema cache-info` describes it.
        #[arg(long)]
        json: bool,
    },
    /// Remove what no build used lately, or the old entries of a cache in a registry; what running builds use stays.
    Prune(PruneArguments),
    /// Make layers of a recipe again, in an empty store, and compare them with what a cache in a registry has; differences exit 1.
    Audit(AuditArguments),
    /// Hash every blob again, and compare records with the wheels they are about; removes what is damaged, and then fails.
    Verify,
}

#[derive(Debug, Args)]
pub(super) struct PruneArguments {
    /// A cache in a registry, whose entries are removed that were made that long ago, instead of the store. Their manifests go;
    /// the registry collects their blobs.
    #[arg(value_name = "docker://HOST/REPO", value_parser = cache_place)]
    place: Option<ImageReference>,
    /// Remove what no build used for this long, or of a registry's cache what is that old: 12h, 30d, 8w.
    #[arg(long, value_name = "AGE", default_value = "30d", value_parser = age)]
    older_than: Duration,
    /// Remove what was used least recently until the store is no larger than this: 500MB, 20GiB.
    #[arg(long, value_name = "SIZE", conflicts_with_all = ["older_than", "place"])]
    keep_size: Option<ByteSize>,
    /// Remove everything.
    #[arg(long, conflicts_with_all = ["older_than", "keep_size", "place"])]
    all: bool,
    /// Remove nothing; show what would be removed.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct AuditArguments {
    /// The cache.
    #[arg(value_name = "docker://HOST/REPO", value_parser = cache_place)]
    place: ImageReference,
    /// The recipe whose layers are made again.
    #[arg(long, value_name = "RECIPE")]
    recipe: PathBuf,
    /// The part of its layers in the cache that is made again, chosen at random; one at least.
    #[arg(long, value_name = "PERCENT", default_value = "100%", value_parser = percentage)]
    sample: u8,
}

impl PruneArguments {
    fn what(&self) -> Prune {
        match (self.all, self.keep_size) {
            (true, _) => Prune::Everything,
            (false, Some(size)) => Prune::ToSize(size.bytes()),
            (false, None) => Prune::UnusedFor(self.older_than),
        }
    }
}

impl CacheCommand {
    /// Returns whether it asks a registry.
    pub(super) fn uses_network(&self) -> bool {
        matches!(self, Self::Audit(_) | Self::Prune(PruneArguments { place: Some(_), .. }))
    }
}

/// Does what `command` says; `fresh` gives a session on an empty store.
pub(super) fn execute<'a>(
    command: &CacheCommand,
    session: &Session<'a>,
    fresh: impl FnOnce(Store) -> Result<Session<'a>>,
) -> Result<()> {
    let (store, progress) = (&session.store, session.progress);
    match command {
        CacheCommand::Info { json } => info(store, *json),
        CacheCommand::Prune(arguments) => match &arguments.place {
            Some(place) => prune_shared(place, arguments, session),
            None => prune(arguments, store, progress),
        },
        CacheCommand::Audit(arguments) => {
            let scratch = store.scratch_directory()?;
            audit(arguments, session, &fresh(Store::open(scratch.path().join("store"))?)?)
        }
        CacheCommand::Verify => verify(store, session.threads, progress),
    }
}

fn info(store: &Store, json: bool) -> Result<()> {
    let usage = store.usage()?;
    if json {
        let mut value = serde_json::to_value(&usage)?;
        if let Value::Object(members) = &mut value {
            members.insert("path".to_owned(), store.root().display().to_string().into());
        }
        return PrintedText::json(&value)?.print();
    }
    let mut out = PrintedText::on(page(OutputStream::Output, false));
    out.line(store.root().display());
    out.line(format_args!("{} blobs, {}", usage.blobs.count, report::bytes(usage.blobs.bytes)));
    out.blank();
    let kinds = usage.blob_kinds.iter().map(|(kind, amount)| row(kind.words(), *amount));
    let partial = (usage.partial.count > 0).then(|| row("unfinished downloads", usage.partial));
    out.table(&[name("BLOBS"), number("COUNT"), number("SIZE")], kinds.chain(partial).collect());
    let records = usage.records.iter().map(|(kind, amount)| row(kind, *amount));
    out.table(&[name("RECORDS"), number("COUNT"), number("SIZE")], records.collect());
    out.print()
}

fn row(kind: &str, amount: Amount) -> Vec<String> {
    vec![kind.to_owned(), amount.count.to_string(), report::bytes(amount.bytes)]
}

fn prune(arguments: &PruneArguments, store: &Store, progress: &dyn Progress) -> Result<()> {
    let pruned = store.prune(arguments.what(), arguments.dry_run)?;
    if pruned.in_use {
        progress.warn("other builds are running: what they may use was left");
    }
    let verb = if arguments.dry_run { "would remove" } else { "removed" };
    let (freed, left) = (report::bytes(pruned.freed), report::bytes(pruned.left));
    let mut out = PrintedText::default();
    out.line(format_args!(
        "{verb} {} blobs, {} records and {} interpreters, {freed} freed; {left} left",
        pruned.blobs, pruned.records, pruned.trees
    ));
    out.print()
}

fn prune_shared(place: &ImageReference, arguments: &PruneArguments, session: &Session<'_>) -> Result<()> {
    let pruned = pipeline::prune_cache(place, arguments.older_than, arguments.dry_run, session)?;
    let verb = if arguments.dry_run { "would remove" } else { "removed" };
    let PrunedEntries { removed, left, others } = pruned;
    let mut out = PrintedText::default();
    out.line(format_args!("{verb} {removed} entries; {left} left"));
    if others > 0 {
        out.line(format_args!("{others} tags are no entries of a cache: they were left"));
    }
    out.print()
}

fn audit(arguments: &AuditArguments, session: &Session<'_>, fresh: &Session<'_>) -> Result<()> {
    let AuditArguments { place, recipe, sample } = arguments;
    let audited = pipeline::audit(&AuditOrder { place, recipe, sample: *sample }, session, fresh)?;
    let mut out = PrintedText::default();
    audited.differences.iter().for_each(|difference| out.line(difference));
    out.line(format_args!(
        "{} of the {} layers that the cache has of the recipe were made again: {} entries differ",
        audited.compared.len(),
        audited.found,
        audited.differences.len()
    ));
    out.print()?;
    match audited.differences.is_empty() {
        true => Ok(()),
        false => Err(Failure::advised(
            "the cache has entries that are false",
            "remove their tags from the registry, find out who wrote them, and build again what was built with them",
        )),
    }
}

fn verify(store: &Store, threads: usize, progress: &dyn Progress) -> Result<()> {
    let usage = store.usage()?;
    let meter = progress.start(Task::Verify, "the store", Some(usage.blobs.bytes));
    let mut verified = store.verify(threads, &|bytes| meter.add(bytes))?;
    drop(meter);
    let mut out = PrintedText::default();
    verified.damages.extend(learned::verify(store)?);
    for damage in &verified.damages {
        out.line(format_args!("removed {damage}"));
    }
    if verified.unfinished > 0 {
        out.line(format_args!("removed {} records that were never finished", verified.unfinished));
    }
    out.line(format_args!(
        "{} blobs, {}, and {} records: {} damaged",
        verified.blobs,
        report::bytes(verified.bytes),
        verified.records,
        verified.damages.len()
    ));
    out.print()?;
    match verified.damages.is_empty() {
        true => Ok(()),
        false => Err(Failure::advised(
            "the store was damaged",
            "build again: what was removed is made anew; images published before may share the damage",
        )),
    }
}

/// A percentage as people write it: `10%`.
fn percentage(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse().ok();
    number.filter(|percent| (1..=100).contains(percent)).ok_or_else(|| "write 1% to 100%".to_owned())
}

/// An age as people write it: `30d`. Months and years, whose length varies, have no place in one.
fn age(text: &str) -> Result<Duration, String> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
    let span = text.parse::<jiff::Span>().ok().filter(|_| is_plain);
    let age = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    let wrong = || "write a whole number and one of the units s, m, h, d, w: `30d`".to_owned();
    age.and_then(|age| age.try_into().ok()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_number_and_a_unit() {
        let check = |text, expected: Option<u64>| {
            assert_eq!(age(text).ok(), expected.map(Duration::from_secs), "{text}");
        };
        check("30d", Some(30 * 86_400));
        check("0s", Some(0));
        check("2w", Some(14 * 86_400));
        check("1d12h", Some(36 * 3600));
        ["2mo", "1y", "P1D", "", "d", "30", "-1d", "1.5h", "3 d", "99999999999999999999s", "99999999999999w"]
            .iter()
            .for_each(|text| check(text, None));
    }
}
