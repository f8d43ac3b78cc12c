//! The command line: what is asked for, how it went, and how the process ends.
#![allow(
    clippy::disallowed_methods,
    reason = "the command line meets the environment and the files it names"
)]

mod board;
mod cache;
mod changes;
mod components;
mod copying;
mod ending;
mod environment;
mod examples;
mod files;
mod findings;
mod git;
mod gpus;
mod init;
mod interrupt;
mod job;
mod listing;
mod man;
mod matrix;
mod options;
mod other_tools;
mod picture;
mod plain;
mod progress;
mod recipes;
mod release;
mod report;
mod running;
mod schema;
mod screen;
mod summary;
mod table;
mod text;
mod upgrades;
mod values;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use crate::cuda::{Driver, Gpu};
use crate::escape;
use crate::failure::{Fault, Result};
use crate::pipeline::{
    self, BuildOrder, CheckExtent, CheckOrder, Checked, Checking, LockOrder, LockWriting, Locking, Side,
    WantedMachines,
};
use crate::place::ImagePlace;
use files::{record_inventory, write_file};
use options::{CacheOptions, ImagePlatform, RecipePlatforms, ViewOptions, locking, page};
use picture::PictureFile;
use screen::OutputStream;
use text::{PrintedText, print, tell_line};
use upgrades::UpgradeOption;
use values::{annotation, destination, place, side};

/// The variables that people look for in the help; the README has all.
const VARIABLES: &str = "\
Environment:
  IMGFORGE_CACHE_DIR     the store
  IMGFORGE_CACHE         docker://HOST/REPOSITORY, a cache of layers that machines share
  IMGFORGE_THREADS       how many layers are written at once
  IMGFORGE_BUILD_SECONDS how long the build of one source may take (python.build)
  IMGFORGE_UNCONFINED=1  run the base's Python (python.bytecode) with all your rights, on a machine
                         that has no sandboxes";

/// Builds OCI images in which every framework shares one system CUDA.
#[derive(Debug, Parser)]
#[command(name = "imgforge", version, max_term_width = 100, after_help = VARIABLES)]
struct Arguments {
    #[command(subcommand)]
    command: Action,
    /// Print errors only.
    #[arg(long, short, global = true, display_order = 901)]
    quiet: bool,
    /// The style of progress.
    #[arg(long, global = true, display_order = 902, value_enum, default_value_t = ProgressStyle::Auto)]
    progress: ProgressStyle,
    /// The use of colours.
    #[arg(long, global = true, display_order = 903, value_enum, default_value_t = ColorChoice::Auto)]
    color: ColorChoice,
    /// A registry to use without TLS, or with a certificate that is not trusted; may be given several times.
    #[arg(long, global = true, display_order = 904, value_name = "HOST[:PORT]", value_parser = values::registry_host)]
    insecure_registry: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProgressStyle {
    /// Bars on a terminal, lines elsewhere.
    Auto,
    /// One line for each step.
    Plain,
    /// One JSON object for each step; `imgforge schema progress` describes it.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LockFormat {
    /// The lock of PEP 751.
    Pylock,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ColorChoice {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write a first recipe, from a Dockerfile, requirements.txt, pyproject.toml or environment.yml, or from answers.
    #[command(after_help = examples::INIT)]
    Init {
        /// The recipe to write; - is standard output.
        #[arg(default_value = "recipe.yaml")]
        recipe: PathBuf,
        /// Replace the recipe that is there.
        #[arg(long)]
        force: bool,
    },
    /// Build an image from a recipe; prints its digest.
    #[command(after_help = examples::BUILD)]
    Build {
        #[command(flatten)]
        recipe: recipes::RecipeArgument,
        /// A place to publish the image; may be given several times; oci-archive:- is standard output [default: oci:out/NAME].
        #[arg(long, short, value_name = "DEST", value_parser = destination)]
        output: Vec<ImagePlace>,
        #[command(flatten)]
        platforms: RecipePlatforms,
        /// Write the image's digest into FILE as well.
        #[arg(long, value_name = "FILE")]
        digest_file: Option<PathBuf>,
        /// Write JSON with the image's digests and names into FILE, as `docker buildx build` does; `imgforge schema metadata`
        /// describes it.
        #[arg(long, value_name = "FILE")]
        metadata_file: Option<PathBuf>,
        /// An annotation of the manifest, besides those of the recipe; may be given several times.
        #[arg(long, value_name = "NAME=VALUE", value_parser = annotation)]
        annotation: Vec<(String, String)>,
        /// Annotate the manifest with the commit of the recipe's repository, and where that was cloned from.
        #[arg(long)]
        git_annotations: bool,
        /// Build what the recipe's lock says; fail when there is none, or it is out of date.
        #[arg(long)]
        locked: bool,
        /// Use only what the store has; download nothing.
        #[arg(long)]
        offline: bool,
        /// Let the recipe name files outside of its directory: it may then put any file that you can read into the image.
        #[arg(long)]
        allow_outside: bool,
        /// Publish without proving that the image loads.
        #[arg(long)]
        no_check: bool,
        #[command(flatten)]
        cache: CacheOptions,
        #[command(flatten)]
        release: release::BuildReleaseOptions,
        #[command(flatten)]
        view: ViewOptions,
        #[command(flatten)]
        running: running::RunOptions,
    },
    /// Show what would be built and why; writes no image.
    #[command(after_help = examples::PLAN)]
    Plan {
        #[command(flatten)]
        recipe: recipes::RecipeArgument,
        #[command(flatten)]
        platforms: RecipePlatforms,
        /// Print JSON; `imgforge schema plan` describes it.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        view: ViewOptions,
        /// Show what the recipe's lock says; fail when there is none, or it is out of date.
        #[arg(long)]
        locked: bool,
        /// Use only what the store has; download nothing.
        #[arg(long)]
        offline: bool,
        /// Let the recipe name files outside of its directory: it may then put any file that you can read into the image.
        #[arg(long)]
        allow_outside: bool,
    },
    /// Write everything that is decided about a recipe to the .lock beside it, keeping what still fits.
    #[command(after_help = examples::LOCK)]
    Lock {
        #[command(flatten)]
        recipe: recipes::RecipeArgument,
        #[command(flatten)]
        platforms: RecipePlatforms,
        #[command(flatten)]
        upgrade: UpgradeOption,
        /// Write nothing; show what would change.
        #[arg(long)]
        dry_run: bool,
        /// Write nothing; fail where the lock would change.
        #[arg(long, conflicts_with = "upgrade")]
        check: bool,
        /// Make all layers and pin their digests as well: nothing else is believed of a cache then.
        #[arg(long)]
        layers: bool,
        /// Print what was locked as `pylock.toml` (PEP 751), which pip and uv install.
        #[arg(long, value_name = "FORMAT", conflicts_with_all = ["dry_run", "check"])]
        format: Option<LockFormat>,
        /// Use only what the store has; download nothing.
        #[arg(long)]
        offline: bool,
        /// Let the recipe name files outside of its directory: it may then put any file that you can read into the image.
        #[arg(long)]
        allow_outside: bool,
    },
    /// Show what is installed in an image: Python, distributions, and every copy of CUDA.
    #[command(after_help = examples::INSPECT)]
    Inspect {
        /// `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`, `docker-archive:FILE[:TAG]`, `docker://[HOST/]NAME[:TAG]`, or of an
        /// engine: `docker-daemon:NAME[:TAG]`, `podman:NAME[:TAG]`, `containerd:NAME[:TAG]`.
        #[arg(value_parser = place)]
        image: ImagePlace,
        #[command(flatten)]
        of: ImagePlatform,
        /// Print JSON; `imgforge schema inspect` describes it.
        #[arg(long)]
        json: bool,
        /// Make lines as long as they need.
        #[arg(long)]
        wide: bool,
        /// The Python that is meant, where the image has several: 3.11.
        #[arg(long, value_name = "VERSION")]
        python: Option<String>,
        /// Write what was found into the description of a base, so that a plan need not look into the image.
        #[arg(long, value_name = "FILE")]
        record: Option<PathBuf>,
        /// Use only what the store has; download nothing.
        #[arg(long)]
        offline: bool,
    },
    /// Print the bill of materials of an image: its distributions, Debian packages and CUDA, with licences and origins.
    #[command(after_help = examples::SBOM)]
    Sbom(release::SbomArguments),
    /// Prove that what an image's frameworks load is there and fits, and that pip's bookkeeping is true; runs nothing but what --import asks for.
    #[command(after_help = examples::CHECK)]
    Check {
        /// `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`, `docker-archive:FILE[:TAG]`, `docker://[HOST/]NAME[:TAG]`, or of an
        /// engine: `docker-daemon:NAME[:TAG]`, `podman:NAME[:TAG]`, `containerd:NAME[:TAG]`.
        #[arg(value_parser = place)]
        image: ImagePlace,
        #[command(flatten)]
        of: ImagePlatform,
        /// The format of the findings.
        #[arg(long, value_enum, default_value_t = findings::Format::Table)]
        format: findings::Format,
        /// Print JSON, as --format json does; `imgforge schema findings` describes it.
        #[arg(long, conflicts_with = "format")]
        json: bool,
        /// The oldest driver of NVIDIA that the image shall run with: 550.54.15.
        #[arg(long, value_name = "VERSION")]
        driver: Option<Driver>,
        /// A GPU that the image must run on, T4 or 7.5; may be given several times, or with commas.
        #[arg(long, value_name = "GPU", value_delimiter = ',')]
        gpu: Vec<Gpu>,
        /// The Python that is meant, where the image has several: 3.11.
        #[arg(long, value_name = "VERSION")]
        python: Option<String>,
        /// Import what no other distribution requires as well, with the image's own interpreter, in a sandbox without network.
        #[arg(long)]
        import: bool,
        /// Draw which framework reaches which library of CUDA, by which path, into FILE.svg or FILE.html.
        #[arg(long, value_name = "FILE", value_parser = PictureFile::at)]
        graph: Option<PictureFile>,
        /// Use only what the store has; download nothing.
        #[arg(long)]
        offline: bool,
    },
    /// Show what changed between two images, recipes, locks or plans: Python, CUDA, distributions, system packages, settings, files and layers.
    #[command(after_help = examples::DIFF)]
    Diff {
        /// An image (oci:DIR, docker-archive:FILE, docker://NAME, docker-daemon:NAME…), a recipe, a lock, or the JSON of a plan.
        #[arg(value_parser = side)]
        before: Side,
        /// The same.
        #[arg(value_parser = side)]
        after: Side,
        #[command(flatten)]
        of: ImagePlatform,
        /// Print JSON; `imgforge schema diff` describes it.
        #[arg(long)]
        json: bool,
        /// Exit with 1 where something changed.
        #[arg(long)]
        exit_code: bool,
        /// Use only what the store has; download nothing.
        #[arg(long)]
        offline: bool,
        /// Let the recipe name files outside of its directory: it may then put any file that you can read into the image.
        #[arg(long)]
        allow_outside: bool,
    },
    /// Copy an image as it is from one place to others; prints its digest. Layers that are already there are not sent.
    #[command(after_help = examples::COPY)]
    Copy(copying::CopyArguments),
    /// Verify that a key signed what a reference names now; prints its digest.
    #[command(after_help = examples::VERIFY)]
    Verify(release::VerifyArguments),
    /// Show what the indexes, the suites and the base's tag have that is newer than the lock; writes nothing.
    #[command(after_help = examples::OUTDATED)]
    Outdated(release::OutdatedArguments),
    /// Put an image's own layers over another base, checked again; refused where something would be decided anew.
    #[command(after_help = examples::REBASE)]
    Rebase(release::RebaseArguments),
    /// Build many images: of one recipe or several by the values of axes, on one machine or many.
    #[command(after_help = examples::MATRIX)]
    Matrix {
        #[command(subcommand)]
        command: matrix::MatrixCommand,
    },
    /// Inspect, prune and verify the store, and caches in registries.
    #[command(after_help = examples::CACHE)]
    Cache {
        #[command(subcommand)]
        command: cache::CacheCommand,
    },
    /// Print a completion script for a shell.
    #[command(after_help = examples::COMPLETIONS)]
    Completions { shell: clap_complete::Shell },
    /// Print the JSON schema of a recipe, or of another document that imgforge reads or prints.
    #[command(after_help = examples::SCHEMA)]
    Schema {
        /// The document.
        #[arg(value_enum, default_value_t = schema::Document::Recipe)]
        document: schema::Document,
    },
    /// Write the manual pages of all commands into a directory.
    #[command(after_help = examples::MAN)]
    Man {
        /// An existing directory.
        directory: PathBuf,
    },
}

/// Tells how the program refuses a command line, without doing anything.
pub fn check_arguments(arguments: &[String]) -> Result<(), String> {
    Arguments::try_parse_from(arguments).map(drop).map_err(|error| error.to_string())
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refuse_arguments(&error),
    };
    let progress = progress::Terminal::new(arguments.quiet, arguments.progress, arguments.color);
    interrupt::watch(&progress);
    let ended = execute(&arguments, &progress);
    progress.abandon();
    match ended {
        Ok(code) => code,
        Err(error) => {
            ending::failed(&error, arguments.progress, screen::has_color(arguments.color));
            job::failed(&error, arguments.progress);
            match error.fault() {
                Fault::Input => ExitCode::from(2),
                Fault::Job => ExitCode::from(1),
            }
        }
    }
}

fn execute(arguments: &Arguments, progress: &progress::Terminal) -> Result<ExitCode> {
    let done = |()| ExitCode::SUCCESS;
    match &arguments.command {
        Action::Init { recipe, force } => init::init(recipe, *force).map(done),
        Action::Build {
            recipe,
            output,
            platforms,
            digest_file,
            metadata_file,
            annotation,
            git_annotations,
            locked,
            offline,
            allow_outside,
            no_check,
            cache,
            release,
            view,
            running,
        } => {
            let container = running.container(output)?;
            let recipe = &recipe.path()?;
            let release = release.order()?;
            let session = arguments.session_for(*offline, *allow_outside, progress)?;
            let session = arguments.with_caches(session, &cache.places()?, output)?;
            let checking = if *no_check { Checking::Skip } else { Checking::Refuse };
            let of_git = if *git_annotations { git::annotations(recipe)? } else { BTreeMap::new() };
            let annotations = of_git.into_iter().chain(annotation.iter().cloned()).collect();
            let plan = platforms.order(recipe, locking(*locked));
            let order = BuildOrder {
                plan,
                destinations: output,
                checking,
                annotations: &annotations,
                release: &release,
            };
            // The digest of an earlier build is none of this one, which may fail.
            digest_file.iter().for_each(|file| drop(std::fs::remove_file(file)));
            let built = pipeline::build(&order, &session)?;
            progress.finish();
            if !arguments.quiet {
                ending::built(&built, arguments.progress, view.on(OutputStream::Error));
            }
            let digest = built.published.descriptor().digest();
            if let Some(file) = digest_file {
                write_file(file, format!("{digest}\n"))?;
            }
            if let Some(file) = metadata_file {
                ending::write_metadata(file, &built.published, &built.destinations)?;
            }
            job::built(&built, arguments.progress)?;
            let Some(container) = container else {
                return ending::print_digest(digest, output, arguments.progress).map(done);
            };
            // Standard output is the container's.
            ending::tell_digest(digest, arguments.progress);
            drop((session, built));
            match container.start()? {}
        }
        Action::Plan { recipe, platforms, json, view, locked, offline, allow_outside } => {
            let session = arguments.session_for(*offline, *allow_outside, progress)?;
            let planned = pipeline::plan(&platforms.order(&recipe.path()?, locking(*locked)), &session)?;
            progress.finish();
            match json {
                true => report::plans_json(&planned)?.print(),
                false => listing::plans(&planned, view.on(OutputStream::Output)).print(),
            }
            .map(done)
        }
        Action::Inspect { image, of, json, wide, python, record, offline } => {
            let session = arguments.session(*offline, progress)?;
            let inspected = pipeline::inspect(image, of.platform, python.as_deref(), &session)?;
            progress.finish();
            if let Some(file) = record {
                record_inventory(file, image, &inspected)?;
            }
            match json {
                true => report::inspected_json(&inspected)?.print(),
                false => listing::inspected(&inspected, page(OutputStream::Output, *wide)).print(),
            }
            .map(done)
        }
        Action::Sbom(sbom) => sbom.execute(arguments, progress).map(done),
        Action::Check { image, of, format, json, driver, gpu, python, import, graph, offline } => {
            let session = arguments.session(*offline, progress)?;
            let wanted = WantedMachines { driver: driver.as_ref(), gpus: gpu };
            let extent = if *import { CheckExtent::Imports } else { CheckExtent::Files };
            let order =
                CheckOrder { image, platform: of.platform, python: python.as_deref(), wanted, extent };
            let checked = Checked::read(&order, &session)?;
            let report = checked.report(extent, &session)?;
            progress.finish();
            let format = if *json { findings::Format::Json } else { *format };
            findings::printed(&report, &image.to_string(), format)?.print()?;
            if let Some(picture) = graph {
                picture.draw(&checked.page(&session)?, &image.to_string())?;
            }
            match report.has_errors() {
                true => {
                    Err(findings::FailedCheck { errors: report.errors_in_short(), image: image.clone() }
                        .into())
                }
                false => Ok(ExitCode::SUCCESS),
            }
        }
        Action::Lock {
            recipe,
            platforms,
            upgrade,
            dry_run,
            check,
            layers,
            format,
            offline,
            allow_outside,
        } => {
            let recipe = &recipe.path()?;
            let writing = if *dry_run || *check { LockWriting::Tell } else { LockWriting::Write };
            let order = LockOrder {
                recipe: recipe.as_path().into(),
                platforms: &platforms.platform,
                upgrade: upgrade.asked(),
                writing,
                layers: *layers,
            };
            let session = arguments.session_for(*offline, *allow_outside, progress)?;
            let locked = pipeline::lock(&order, &session)?;
            let exported = match format {
                Some(LockFormat::Pylock) => {
                    Some(pipeline::export_pylock(&platforms.order(recipe, Locking::Required), &session)?)
                }
                None => None,
            };
            progress.finish();
            if !arguments.quiet {
                ending::locked(&locked, arguments.progress, page(OutputStream::Error, false));
            }
            if *check && locked.changed {
                return Ok(ExitCode::FAILURE);
            }
            exported.map_or(Ok(()), |text| print(&text)).map(done)
        }
        Action::Diff { before, after, of, json, exit_code, offline, allow_outside } => {
            let session = arguments.session_for(*offline, *allow_outside, progress)?;
            let difference = pipeline::compare(before, after, of.platform, &session)?;
            progress.finish();
            match json {
                true => PrintedText::json(&difference)?.print(),
                false => changes::difference(&difference, page(OutputStream::Output, false)).print(),
            }?;
            Ok(ExitCode::from(u8::from(*exit_code && !difference.is_empty())))
        }
        Action::Copy(copy) => copy.execute(arguments, progress).map(done),
        Action::Cache { command } => {
            let session = arguments.session(!command.uses_network(), progress)?;
            cache::execute(command, &session, |store| arguments.session_on(store, false, progress)).map(done)
        }
        Action::Matrix { command } => command.execute(arguments, progress).map(done),
        Action::Verify(verify) => verify.execute(arguments, progress).map(done),
        Action::Outdated(outdated) => outdated.execute(arguments, progress).map(done),
        Action::Rebase(rebase) => rebase.execute(arguments, progress).map(done),
        Action::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Arguments::command(), "imgforge", &mut script);
            print(&String::from_utf8_lossy(&script)).map(done)
        }
        Action::Schema { document } => print(document.text()).map(done),
        Action::Man { directory } => man::write(Arguments::command(), directory).map(done),
    }
}

/// Prints help, a version, or what is wrong with the arguments. clap quotes these as they are: so it is asked again, with
/// arguments that can be shown.
fn refuse_arguments(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return match print(&error.render().to_string()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let shown: Vec<String> =
        std::env::args_os().map(|argument| escape::line(&argument.to_string_lossy())).collect();
    match Arguments::try_parse_from(&shown) {
        Err(again) if again.use_stderr() => {
            let _ = other_tools::with_tip(again, &shown).print();
        }
        _ => error.render().to_string().lines().for_each(tell_line),
    }
    ExitCode::from(2)
}
