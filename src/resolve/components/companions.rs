//! What libraries need of each other: CUDA's minor versions differ by symbols alone, and only the libraries themselves
//! tell which.

use std::collections::{BTreeMap, BTreeSet};

use uv_pep440::VersionSpecifier;

use super::candidate::Identity;
use super::{Ban, Bans, Choice, ComponentError, Demanded, Offer, Supply, requirement};
use crate::cuda::Component;
use crate::elf::Symbols;
use crate::resolve::demand::Demander;
use uv_normalize::PackageName;
use uv_pep440::Version;

/// A library that lacks symbols of the library that would be loaded for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Companion {
    needy: PackageName,
    needy_identity: Identity,
    needy_version: Version,
    /// The SONAME of the library with the need.
    library: String,
    /// One of the symbols.
    symbol: String,
    provider: PackageName,
    pub provider_component: Component,
    provider_identity: Identity,
    provider_version: Version,
    /// The SONAME of the library that lacks the symbol.
    provider_library: String,
}

/// What the libraries of a choice need that it does not have.
pub(super) struct Needs {
    pub lacking: Vec<Companion>,
    /// Components that a library links to and nobody demanded.
    pub absent: Vec<Demanded>,
    /// The SONAMEs of each CUDA major.
    pub sonames: BTreeMap<u32, BTreeSet<String>>,
}

impl Companion {
    pub fn provider_is_base(&self) -> bool {
        matches!(self.provider_identity, Identity::Base(_))
    }

    /// Whether both are about the same need.
    pub fn is_as(&self, other: &Self) -> bool {
        (&self.needy, &self.library, &self.provider) == (&other.needy, &other.library, &other.provider)
    }

    /// Whether the needy library is among `choices`.
    pub fn is_of(&self, choices: &[Choice]) -> bool {
        choices
            .iter()
            .any(|choice| choice.distribution == self.needy && identity(choice) == self.needy_identity)
    }

    /// The demand for something newer than what lacks the symbol.
    pub fn demanded(&self) -> Demanded {
        let by = Demander::Library {
            distribution: self.needy.clone(),
            version: self.needy_version.clone(),
            library: self.library.clone(),
            symbol: Some(self.symbol.clone()),
        };
        let newer = VersionSpecifier::greater_than_version(self.provider_version.clone());
        (by, requirement(&self.provider, newer))
    }

    /// Bans what lacks the symbol, for as long as the needy library is not banned itself.
    pub fn ban_provider(&self, bans: &mut Bans) {
        let because_of = Some((self.needy.clone(), self.needy_identity.clone()));
        let ban = Ban { explanation: self.explanation(), because_of };
        bans.entry(self.provider.clone()).or_default().insert(self.provider_identity.clone(), ban);
    }

    /// Bans the needy library, for good.
    pub fn ban_needy(&self, bans: &mut Bans) {
        let needy = Some((self.needy.clone(), self.needy_identity.clone()));
        for banned in bans.values_mut() {
            banned.retain(|_, ban| ban.because_of != needy);
        }
        let ban = Ban { explanation: self.explanation(), because_of: None };
        bans.entry(self.needy.clone()).or_default().insert(self.needy_identity.clone(), ban);
    }

    fn explanation(&self) -> String {
        format!(
            "{} of {} {} needs `{}`, which {} of {} {} lacks",
            self.library,
            self.needy,
            self.needy_version,
            self.symbol,
            self.provider_library,
            self.provider,
            self.provider_version
        )
    }
}

/// A library of a choice.
struct Member<'a> {
    choice: &'a Choice,
    soname: String,
    needed: Vec<String>,
    symbols: Symbols,
}

/// Finds what the libraries of `choices` need of each other and do not have.
pub(super) fn needs(choices: &[Choice], offer: &Offer<'_>) -> Result<Needs, ComponentError> {
    let members = members(choices, offer)?;
    let mut providers: BTreeMap<(u32, &str), &Member<'_>> = BTreeMap::new();
    for member in &members {
        providers.insert((member.choice.cuda_major, &member.soname), member);
    }
    let mut needs = Needs { lacking: Vec::new(), absent: Vec::new(), sonames: BTreeMap::new() };
    let mut absent = BTreeSet::new();
    for member in &members {
        let major = member.choice.cuda_major;
        needs.sonames.entry(major).or_default().insert(member.soname.clone());
        for (soname, symbols) in &member.symbols.undefined {
            let Some(provider) = providers.get(&(major, soname.as_str())) else { continue };
            if let Some(symbol) = symbols.iter().find(|symbol| !provider.symbols.defined.contains(*symbol)) {
                needs.lacking.extend(companion(member, provider, symbol));
            }
        }
        for soname in &member.needed {
            let component = Component::of_library(soname);
            if let Some(component) = component.filter(|_| !providers.contains_key(&(major, soname.as_str())))
                && !choices
                    .iter()
                    .any(|other| other.component == Some(component) && other.cuda_major == major)
                && absent.insert((component, major))
            {
                needs.absent.extend(absent_demand(member, component));
            }
        }
    }
    Ok(needs)
}

fn companion(member: &Member<'_>, provider: &Member<'_>, symbol: &str) -> Option<Companion> {
    Some(Companion {
        needy: member.choice.distribution.clone(),
        needy_identity: identity(member.choice),
        needy_version: member.choice.version.clone(),
        library: member.soname.clone(),
        symbol: symbol.to_owned(),
        provider: provider.choice.distribution.clone(),
        provider_component: provider.choice.component?,
        provider_identity: identity(provider.choice),
        provider_version: provider.choice.version.clone(),
        provider_library: provider.soname.clone(),
    })
    .filter(|companion| companion.needy != companion.provider)
}

fn absent_demand(member: &Member<'_>, component: Component) -> Option<Demanded> {
    let by = Demander::Library {
        distribution: member.choice.distribution.clone(),
        version: member.choice.version.clone(),
        library: member.soname.clone(),
        symbol: None,
    };
    let requirement = component.distribution(member.choice.cuda_major).parse().ok()?;
    Some((by, requirement))
}

fn identity(choice: &Choice) -> Identity {
    match &choice.supply {
        Supply::Base(copy) => Identity::Base(copy.directory.clone()),
        Supply::Wheel { .. } => Identity::Wheel(choice.version.clone()),
    }
}

fn members<'a>(choices: &'a [Choice], offer: &Offer<'_>) -> Result<Vec<Member<'a>>, ComponentError> {
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
