//! Manual pages, made from what the help says.

use std::path::Path;

use clap::Command;

use super::files::write_bytes;
use super::text::tell_line;
use crate::failure::{Context, Failure, Result};

/// Writes a page for the program and for each of its commands.
pub(super) fn write(program: Command, directory: &Path) -> Result<()> {
    if !directory.is_dir() {
        return Err(Failure::advised(
            format!("`{}` is not a directory", directory.display()),
            format!("make it first: `mkdir -p {}`", directory.display()),
        ));
    }
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let count = write_page(&program, directory)?;
    tell_line(format_args!("wrote {count} pages into `{}`", directory.display()));
    Ok(())
}

/// Writes the page of a command and those of the commands below it; tells how many.
fn write_page(command: &Command, directory: &Path) -> Result<usize> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page).context("could not write a manual page")?;
    write_bytes(&directory.join(format!("{name}.1")), &page)?;
    command.get_subcommands().try_fold(1, |count, below| Ok(count + write_page(below, directory)?))
}
