//! Random bases, demands and policies: every decision is held against an exhaustive search.

use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::sample::subsequence;

use super::*;
use crate::base::{CudaLibrary, LoaderRoute, VersionSource};
use crate::elf::Symbols;
use crate::oci::Architecture;
use crate::resolve::solve::tests::Shelf;

/// The components of the little world: their versions, and how many of nvJitLink's symbols each version needs.
const WORLD: [(&str, &str, &[&str]); 4] = [
    ("nvjitlink", "libnvJitLink.so.12", &["12.1", "12.2", "12.3", "12.4"]),
    ("cusparse", "libcusparse.so.12", &["12.1", "12.2", "12.3", "12.4"]),
    ("curand", "libcurand.so.10", &["10.1", "10.2", "10.3"]),
    ("nccl", "libnccl.so.2", &["1.8", "1.9", "2.1", "2.2", "2.3"]),
];

#[derive(Debug, Clone)]
struct Instance {
    /// For each version of cusparse, how many of nvJitLink's symbols it needs.
    needs: Vec<usize>,
    /// Copies of the base: component, version, CUDA major, whether it is whole, symbols (had or needed).
    copies: Vec<(usize, String, u32, bool, usize)>,
    /// Demands: component and specifiers.
    demands: Vec<(usize, String)>,
    /// True if each component comes from the base only.
    of_base: [bool; 4],
    /// True if each component has wheels.
    offered: [Vec<String>; 4],
}

fn version_of(component: usize) -> impl Strategy<Value = String> {
    proptest::sample::select(WORLD[component].2).prop_map(str::to_owned)
}

fn demand() -> impl Strategy<Value = (usize, String)> {
    let of = |component: usize| {
        let pair = (version_of(component), version_of(component), 0..5u8);
        pair.prop_map(move |(a, b, kind)| {
            let specifiers = match kind {
                0 => String::new(),
                1 => format!("=={a}"),
                2 => format!(">={a}"),
                3 => format!(">={a},<={b}"),
                _ => format!("<{b}"),
            };
            (component, specifiers)
        })
    };
    (0..4usize).prop_flat_map(of)
}

fn instance() -> impl Strategy<Value = Instance> {
    let copy = (0..4usize).prop_flat_map(|component| {
        (
            Just(component),
            version_of(component),
            prop_oneof![9 => Just(12u32), 1 => Just(13)],
            prop_oneof![9 => Just(true), 1 => Just(false)],
            0..5usize,
        )
    });
    let offered =
        |component: usize| subsequence(WORLD[component].2, 0..=WORLD[component].2.len()).prop_map(strings);
    (
        proptest::collection::vec(0..5usize, 4),
        proptest::collection::vec(copy, 0..5),
        proptest::collection::vec(demand(), 1..5),
        proptest::array::uniform4(prop_oneof![3 => Just(false), 1 => Just(true)]),
        (offered(0), offered(1), offered(2), offered(3)),
    )
        .prop_map(|(needs, copies, demands, of_base, offered)| Instance {
            needs,
            copies,
            demands,
            of_base,
            offered: [offered.0, offered.1, offered.2, offered.3],
        })
}

fn strings(versions: Vec<&str>) -> Vec<String> {
    versions.into_iter().map(str::to_owned).collect()
}

fn named(component: usize) -> Component {
    Component::named(WORLD[component].0).unwrap()
}

fn distribution(component: usize) -> PackageName {
    named(component).distribution(12).parse().unwrap()
}

fn symbol(level: usize) -> String {
    format!("__Create_{level}")
}

impl Instance {
    /// The number of symbols that the wheel of a version has, or needs.
    fn level(&self, component: usize, version: &str) -> usize {
        let index = WORLD[component].2.iter().position(|known| *known == version).unwrap();
        match component {
            0 => index + 1,
            1 => self.needs[index],
            _ => 0,
        }
    }

    fn shelf(&self) -> Shelf {
        let mut text = String::new();
        for (component, (_, soname, _)) in WORLD.iter().enumerate() {
            let name = distribution(component).as_dist_info_name().into_owned();
            if self.offered[component].is_empty() {
                // The project is there, for another target.
                writeln!(text, "{name}-0.1-py3-none-win_amd64").unwrap();
            }
            for version in &self.offered[component] {
                writeln!(text, "{name}-{version}").unwrap();
                let level = self.level(component, version);
                write!(text, "lib {name}-{version} {soname}").unwrap();
                match component {
                    0 => (1..=level).for_each(|level| write!(text, " +{}", symbol(level)).unwrap()),
                    1 if level > 0 => write!(text, " libnvJitLink.so.12?{}", symbol(level)).unwrap(),
                    _ => {}
                }
                text.push('\n');
            }
        }
        Shelf::new(&text)
    }

    fn base(&self) -> Vec<CudaCopy> {
        let copy = |(index, (component, version, major, whole, level)): (
            usize,
            &(usize, String, u32, bool, usize),
        )| {
            let (_, soname, _) = WORLD[*component];
            let mut symbols = Symbols::default();
            match component {
                0 => symbols.defined.extend((1..=*level).map(symbol)),
                1 if *level > 0 => {
                    symbols.undefined.entry("libnvJitLink.so.12".into()).or_default().insert(symbol(*level));
                }
                _ => {}
            }
            let library = CudaLibrary {
                soname: soname.into(),
                path: format!("usr/{index}/{soname}"),
                size: 1,
                found: LoaderRoute::Cache,
                needed: symbols.undefined.keys().cloned().collect(),
                symbols,
            };
            CudaCopy {
                component: named(*component),
                cuda_major: Some(*major),
                version: Some(version.parse().unwrap()),
                version_from: VersionSource::DebianPackage,
                directory: format!("usr/{index}"),
                toolkit: None,
                libraries: whole.then_some(library).into_iter().collect(),
                programs: Vec::new(),
                bytes: 1,
                distribution: None,
            }
        };
        self.copies.iter().enumerate().map(copy).collect()
    }

    fn demanded(&self) -> Vec<Demanded> {
        let demanded = self.demands.iter().enumerate().map(|(index, (component, specifiers))| {
            let by = Demander::Distribution {
                name: format!("framework-{index}").parse().unwrap(),
                version: Version::new([1]),
                through: Vec::new(),
            };
            (by, format!("{}{specifiers}", distribution(*component)).parse().unwrap())
        });
        demanded.collect()
    }
}

/// A service that the oracle allows.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Served {
    component: usize,
    candidate: ServiceCandidate,
    level: usize,
}

/// Everything that may serve a component at all.
fn servable(instance: &Instance, component: usize) -> Vec<Served> {
    let copies = instance.base().into_iter().zip(&instance.copies);
    let of_base = copies.filter(|(_, (of, _, major, whole, _))| *of == component && *major == 12 && *whole);
    let mut served: Vec<Served> = of_base
        .map(|(copy, (.., level))| Served {
            component,
            candidate: ServiceCandidate::Base(copy),
            level: *level,
        })
        .collect();
    if !instance.of_base[component] {
        let project = instance.shelf().project(&distribution(component)).unwrap();
        for version in &instance.offered[component] {
            let parsed: Version = version.parse().unwrap();
            let file = project.files.iter().find(|file| file.filename.version == parsed).unwrap().clone();
            let candidate = ServiceCandidate::Wheel { version: parsed, file };
            served.push(Served { component, candidate, level: instance.level(component, version) });
        }
    }
    served
}

fn generation(served: &Served) -> Option<u64> {
    served.candidate.version().release().first().copied()
}

/// Returns whether `served` keeps every promise: each demand is met, each SONAME is served once, nothing is needless,
/// and every library has the symbols that it needs.
fn holds(instance: &Instance, served: &[Served]) -> bool {
    let demands: Vec<(usize, Demand)> = instance
        .demanded()
        .into_iter()
        .zip(&instance.demands)
        .map(|((by, requirement), (component, _))| (*component, Demand::new(by, &requirement)))
        .collect();
    let of = |component: usize| served.iter().filter(move |one| one.component == component);
    let met = demands.iter().all(|(component, demand)| of(*component).any(|one| one.candidate.meets(demand)));
    let once = served
        .iter()
        .all(|one| of(one.component).filter(|other| generation(other) == generation(one)).count() == 1);
    let linked = of(1).any(|sparse| sparse.level > 0);
    let needed = served.iter().all(|one| {
        let demanded = demands
            .iter()
            .any(|(component, demand)| *component == one.component && one.candidate.meets(demand));
        demanded || (one.component == 0 && linked)
    });
    let companions =
        of(1).all(|sparse| sparse.level == 0 || of(0).any(|linker| sparse.level <= linker.level));
    met && once && needed && companions
}

/// Every way to serve: for each component nothing, one candidate, or two of different SONAMEs.
fn all_ways(instance: &Instance) -> Vec<Vec<Served>> {
    let mut ways: Vec<Vec<Served>> = vec![Vec::new()];
    for component in 0..4 {
        let servable = servable(instance, component);
        let mut choices: Vec<Vec<Served>> = vec![Vec::new()];
        choices.extend(servable.iter().map(|one| vec![one.clone()]));
        for (index, first) in servable.iter().enumerate() {
            for second in &servable[index + 1..] {
                if generation(first) != generation(second) {
                    choices.push(vec![first.clone(), second.clone()]);
                }
            }
        }
        ways = ways
            .iter()
            .flat_map(|way| choices.iter().map(|more| way.iter().chain(more).cloned().collect()))
            .collect();
    }
    ways
}

fn served(instance: &Instance, components: &Components) -> Vec<Served> {
    let find = |choice: &ComponentChoice| {
        let component = (0..4).find(|index| Some(named(*index)) == choice.component)?;
        let same = |one: &Served| match (&one.candidate, &choice.supply) {
            (ServiceCandidate::Base(copy), Supply::Base(chosen)) => copy == chosen,
            (ServiceCandidate::Wheel { file, .. }, Supply::Wheel { wheel, .. }) => file == wheel,
            _ => false,
        };
        servable(instance, component).into_iter().find(same)
    };
    components.choices.iter().map(|choice| find(choice).expect("what was chosen may serve")).collect()
}

fn decide(instance: &Instance) -> Result<Components, ComponentError> {
    let target = Target::new("3.11.2", Architecture::Amd64, (2, 36)).unwrap();
    let shelf = instance.shelf();
    let base = instance.base();
    let of_base = (0..4).filter(|component| instance.of_base[*component]);
    let policies = Policies {
        exceptions: of_base.map(|component| (named(component), Policy::Base)).collect(),
        ..Policies::default()
    };
    let toolkit = "usr/local/cuda-12.1".to_owned();
    choose(
        &instance.demanded(),
        &Offer {
            target: &target,
            exclude_newer: None,
            catalog: &shelf,
            copies: &base,
            default_toolkit: Some(&toolkit),
            policies: &policies,
            preferences: &Preferences::new(),
            of_pip: BTreeMap::new(),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_decision_is_what_an_exhaustive_search_allows(instance in instance()) {
        match decide(&instance) {
            Ok(components) => {
                let served = served(&instance, &components);
                prop_assert!(holds(&instance, &served), "a promise is broken by {served:#?}");
                let one_copy = (0..4).all(|component| servable_copies(&instance, component) <= 1);
                let is_base = |one: &Served| matches!(one.candidate, ServiceCandidate::Base(_));
                let of_base = || all_ways(&instance).into_iter().find(|way| {
                    way.iter().all(is_base) && holds(&instance, way)
                });
                if one_copy && !served.iter().all(is_base) {
                    prop_assert!(of_base().is_none(), "the base could serve: {:#?}", of_base());
                }
            }
            Err(ComponentError::Unsatisfiable { .. } | ComponentError::NotInBase { .. }) => {
                let way = all_ways(&instance).into_iter().find(|way| holds(&instance, way));
                prop_assert!(way.is_none(), "refused, but this serves: {way:#?}");
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
    }
}

fn servable_copies(instance: &Instance, component: usize) -> usize {
    servable(instance, component)
        .iter()
        .filter(|one| matches!(one.candidate, ServiceCandidate::Base(_)))
        .count()
}
