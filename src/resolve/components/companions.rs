//! The needs of libraries from each other: CUDA's minor versions differ by symbols alone, and only the libraries
//! themselves tell which.

use std::collections::{BTreeMap, BTreeSet};

use uv_pep440::VersionSpecifier;

use super::candidate::Identity;
use super::toolkit::requirement;
use super::{Ban, Bans, ComponentChoice, ComponentError, Demanded, Needy, Offer, Supply};
use crate::cuda::Component;
use crate::elf::Symbols;
use crate::resolve::demand::Demander;
use uv_normalize::PackageName;
use uv_pep440::Version;

/// A library that does not find what it needs of another component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Companion {
    needy: PackageName,
    needy_identity: Identity,
    needy_version: Version,
    /// The SONAME of the library with the need.
    library: String,
    provider: PackageName,
    /// The SONAME of the library that it is linked to.
    provider_library: String,
    /// The provider that lacks a symbol; `None` when nothing was chosen to provide the library.
    lacks: Option<Lacks>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Lacks {
    symbol: String,
    identity: Identity,
    version: Version,
}

/// The needs of a choice's libraries that are not met.
pub(super) struct Needs {
    pub lacking: Vec<Companion>,
    /// The SONAMEs of each CUDA major.
    pub sonames: BTreeMap<u32, BTreeSet<String>>,
}

impl Companion {
    pub(super) fn provider_is_base(&self) -> bool {
        self.lacks.as_ref().is_some_and(|lacks| matches!(lacks.identity, Identity::Base(_)))
    }

    /// Returns whether both are about the same need.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        (&self.needy, &self.library, &self.provider) == (&other.needy, &other.library, &other.provider)
    }

    /// Returns whether the needy library is among `choices`.
    pub(super) fn is_of(&self, choices: &[ComponentChoice]) -> bool {
        choices
            .iter()
            .any(|choice| choice.distribution == self.needy && identity(choice) == self.needy_identity)
    }

    /// The demand for something newer than what lacks the symbol, or for anything where there is nothing.
    pub(super) fn demanded(&self) -> Demanded {
        let by = Demander::Library {
            distribution: self.needy.clone(),
            version: self.needy_version.clone(),
            library: self.library.clone(),
            symbol: self.lacks.as_ref().map(|lacks| lacks.symbol.clone()),
        };
        let newer =
            self.lacks.iter().map(|lacks| VersionSpecifier::greater_than_version(lacks.version.clone()));
        (by, requirement(&self.provider, newer))
    }

    /// Bans what lacks the symbol, for as long as the needy library is not banned itself.
    pub(super) fn ban_provider(&self, bans: &mut Bans) {
        let because_of = Some(self.needy());
        if let Some(lacks) = &self.lacks {
            let ban = Ban { explanation: self.explanation(), because_of };
            bans.entry(self.provider.clone()).or_default().insert(lacks.identity.clone(), ban);
        }
    }

    /// The candidate with the need.
    pub(super) fn needy(&self) -> Needy {
        (self.needy.clone(), self.needy_identity.clone())
    }

    pub(super) fn explanation(&self) -> String {
        let needy = format!("{} of {} {}", self.library, self.needy, self.needy_version);
        match &self.lacks {
            Some(Lacks { symbol, version, .. }) => format!(
                "{needy} needs `{symbol}`, which {} of {} {version} lacks",
                self.provider_library, self.provider
            ),
            None => format!("{needy} needs {}, which nothing serves", self.provider_library),
        }
    }
}

/// Bans a candidate for good, and lifts the bans that it led to.
pub(super) fn ban_needy(bans: &mut Bans, needy: Needy, explanation: String) {
    for banned in bans.values_mut() {
        banned.retain(|_, ban| ban.because_of.as_ref() != Some(&needy));
    }
    let (distribution, identity) = needy;
    bans.entry(distribution).or_default().insert(identity, Ban { explanation, because_of: None });
}

/// A library of a choice.
struct Member<'a> {
    choice: &'a ComponentChoice,
    soname: String,
    needed: Vec<String>,
    symbols: Symbols,
}

/// Finds what the libraries of `choices` need of each other and do not have.
pub(super) fn needs(choices: &[ComponentChoice], offer: &Offer<'_>) -> Result<Needs, ComponentError> {
    let members = members(choices, offer)?;
    let mut providers: BTreeMap<(u32, &str), &Member<'_>> = BTreeMap::new();
    for member in &members {
        providers.insert((member.choice.cuda_major, &member.soname), member);
    }
    let mut needs = Needs { lacking: Vec::new(), sonames: BTreeMap::new() };
    for member in &members {
        let major = member.choice.cuda_major;
        needs.sonames.entry(major).or_default().insert(member.soname.clone());
        for (soname, symbols) in &member.symbols.undefined {
            let Some(provider) = providers.get(&(major, soname.as_str())) else { continue };
            let lacking = symbols.iter().find(|symbol| !provider.symbols.defined.contains(*symbol));
            needs.lacking.extend(lacking.and_then(|symbol| lacking_of(member, provider, symbol)));
        }
        for soname in &member.needed {
            let served = |component: &Component| {
                choices.iter().any(|other| other.component == Some(*component) && other.cuda_major == major)
            };
            let absent = Component::of_library(soname).filter(|component| !served(component));
            needs.lacking.extend(absent.and_then(|component| absent_of(member, soname, component)));
        }
    }
    Ok(needs)
}

fn lacking_of(member: &Member<'_>, provider: &Member<'_>, symbol: &str) -> Option<Companion> {
    let lacks = Lacks {
        symbol: symbol.to_owned(),
        identity: identity(provider.choice),
        version: provider.choice.version.clone(),
    };
    let companion = companion(member, provider.choice.distribution.clone(), &provider.soname, Some(lacks));
    (companion.needy != companion.provider).then_some(companion)
}

fn absent_of(member: &Member<'_>, soname: &str, component: Component) -> Option<Companion> {
    let provider = component.distribution(member.choice.cuda_major).parse().ok()?;
    Some(companion(member, provider, soname, None))
}

fn companion(
    member: &Member<'_>,
    provider: PackageName,
    provider_library: &str,
    lacks: Option<Lacks>,
) -> Companion {
    Companion {
        needy: member.choice.distribution.clone(),
        needy_identity: identity(member.choice),
        needy_version: member.choice.version.clone(),
        library: member.soname.clone(),
        provider,
        provider_library: provider_library.to_owned(),
        lacks,
    }
}

fn identity(choice: &ComponentChoice) -> Identity {
    match &choice.supply {
        Supply::Base(copy) => Identity::Base(copy.directory.clone()),
        Supply::Wheel { .. } => Identity::Wheel(choice.version.clone()),
    }
}

fn members<'a>(choices: &'a [ComponentChoice], offer: &Offer<'_>) -> Result<Vec<Member<'a>>, ComponentError> {
    let wheels = choices.iter().filter(|choice| choice.component.is_some());
    let wheels = wheels.filter_map(|choice| match &choice.supply {
        Supply::Wheel { wheel, .. } => Some(wheel.clone()),
        Supply::Base(_) => None,
    });
    offer.catalog.prefetch_libraries(wheels.collect());
    let mut members = Vec::new();
    for choice in choices.iter().filter(|choice| choice.component.is_some()) {
        match &choice.supply {
            Supply::Base(copy) => members.extend(copy.libraries.iter().map(|library| Member {
                choice,
                soname: library.soname.clone(),
                needed: library.needed.clone(),
                symbols: library.symbols.clone(),
            })),
            Supply::Wheel { wheel, .. } => {
                let libraries = offer.catalog.libraries(wheel)?;
                members.extend(libraries.iter().map(|library| Member {
                    choice,
                    soname: library.soname.clone(),
                    needed: library.needed.clone(),
                    symbols: library.symbols.clone(),
                }));
            }
        }
    }
    Ok(members)
}
