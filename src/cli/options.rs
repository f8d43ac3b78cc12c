//! Options that several commands share, and the page that they ask for.

use std::path::Path;

use clap::Args;

use super::screen::{self, OutputStream};
use super::text::{Page, View};
use super::values::{cache_place, platform};
use crate::failure::{Failure, Result};
use crate::oci::{Architecture, ImageReference};
use crate::pipeline::{CachePlaces, Locking, PlanOrder};

/// The variable that names a cache where no option does.
const CACHE_VARIABLE: &str = "IMGFORGE_CACHE";

/// The platforms of a recipe that a command is about.
#[derive(Debug, Clone, Args)]
pub(super) struct RecipePlatforms {
    /// A platform to choose among those of the recipe; may be given several times, or with commas [default: all of them].
    #[arg(long, value_name = "linux/ARCH", value_delimiter = ',', value_parser = platform)]
    pub platform: Vec<Architecture>,
}

impl RecipePlatforms {
    /// The order to plan `recipe` for them.
    pub(super) fn order<'a>(&'a self, recipe: &'a Path, locking: Locking) -> PlanOrder<'a> {
        PlanOrder { recipe: recipe.into(), platforms: &self.platform, locking }
    }
}

/// The platform of an image that a command is about.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct ImagePlatform {
    /// The platform that is meant, where there are several [default: this machine's].
    #[arg(long, value_name = "linux/ARCH", value_parser = platform)]
    pub platform: Option<Architecture>,
}

/// The extent of a listing.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct ViewOptions {
    /// List all distributions and layers, and not only the most important ones.
    #[arg(long)]
    all: bool,
    /// Name every demand, on lines as long as they need.
    #[arg(long)]
    wide: bool,
}

impl ViewOptions {
    /// The view on a stream.
    pub(super) fn on(self, stream: OutputStream) -> View {
        View { page: page(stream, self.wide), all: self.all, wide: self.wide }
    }
}

/// The caches of layers in registries.
#[derive(Debug, Clone, Args)]
pub(super) struct CacheOptions {
    /// A repository that shares layers and images between machines: read from and written to; may be given several times
    /// [default: IMGFORGE_CACHE].
    #[arg(long, value_name = "docker://HOST/REPO", value_parser = cache_place)]
    cache: Vec<ImageReference>,
    /// A repository that layers and images are taken from only; may be given several times.
    #[arg(long, value_name = "docker://HOST/REPO", value_parser = cache_place)]
    cache_from: Vec<ImageReference>,
    /// A repository that layers and images are put into only; may be given several times.
    #[arg(long, value_name = "docker://HOST/REPO", value_parser = cache_place)]
    cache_to: Vec<ImageReference>,
}

impl CacheOptions {
    /// The places that the options name, or else the one of the environment.
    pub(super) fn places(&self) -> Result<CachePlaces> {
        let with = |others: &[ImageReference]| [&self.cache, others].concat();
        let places = CachePlaces { from: with(&self.cache_from), to: with(&self.cache_to) };
        let named = std::env::var(CACHE_VARIABLE).ok().filter(|value| !value.is_empty());
        match named {
            Some(named) if places == CachePlaces::default() => {
                let place = cache_place(&named)
                    .map_err(|problem| Failure::advised(format!("{CACHE_VARIABLE} is `{named}`"), problem))?;
                Ok(CachePlaces { from: vec![place.clone()], to: vec![place] })
            }
            _ => Ok(places),
        }
    }

    /// The same options for another process.
    pub(super) fn arguments(&self) -> Vec<String> {
        let options =
            [("--cache", &self.cache), ("--cache-from", &self.cache_from), ("--cache-to", &self.cache_to)];
        let option = |(option, places): (&str, &Vec<ImageReference>)| {
            let places =
                places.iter().map(|place| format!("docker://{}/{}", place.registry(), place.repository()));
            places.flat_map(|place| [option.to_owned(), place]).collect::<Vec<_>>()
        };
        options.into_iter().flat_map(option).collect()
    }

    /// The first cache that is written to.
    pub(super) fn target(&self) -> Result<ImageReference> {
        self.places()?.to.into_iter().next().ok_or_else(|| {
            Failure::advised(
                "there is no cache to put layers into",
                "name one with `--cache docker://HOST/REPOSITORY`, or in IMGFORGE_CACHE",
            )
        })
    }
}

/// The use of locks that an option asks for.
pub(super) fn locking(locked: bool) -> Locking {
    match locked {
        true => Locking::Required,
        false => Locking::Preferred,
    }
}

/// The page of a stream; `wide` ones have no end at their right.
pub(super) fn page(stream: OutputStream, wide: bool) -> Page {
    Page { columns: (!wide).then(|| screen::columns(stream)), unicode: screen::has_unicode() }
}
