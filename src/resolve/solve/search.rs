//! The loop: propagate what follows, decide one package, repeat.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use pubgrub::{
    Dependencies, DependencyProvider, Id, IncompId, Incompatibility, PackageResolutionStatistics, Ranges,
    Term,
};
use uv_normalize::{ExtraName, PackageName};
use uv_pep440::Version;
use uv_pep508::VersionOrUrl;

use super::explain;
use super::order::{Order, Rank};
use super::rules::{Exclusion, KnownProject, Rules, versions};
use super::{Catalog, CatalogError, Chosen, Question, Scout, Solution, SolveError, SolverPackage, Want};
use crate::pypa::metadata::{CoreMetadata, Requirement};

/// From so many tried versions of a project on, the metadata of the next ones is fetched ahead: twice as many as were
/// tried, up to a limit, and again when half of them were tried.
const TRIES: std::ops::RangeInclusive<usize> = 4..=32;

/// The types PubGrub works with. There is no value: its [`pubgrub::State`] is driven by [`SolverSearch`].
pub(super) enum Types {}

impl DependencyProvider for Types {
    type P = SolverPackage;
    type V = Version;
    type VS = Ranges<Version>;
    type Priority = Rank;
    type M = Exclusion;
    type Err = Infallible;

    fn prioritize(&self, _: &SolverPackage, _: &Ranges<Version>, _: &PackageResolutionStatistics) -> Rank {
        match *self {}
    }

    fn choose_version(&self, _: &SolverPackage, _: &Ranges<Version>) -> Result<Option<Version>, Infallible> {
        match *self {}
    }

    fn get_dependencies(
        &self,
        _: &SolverPackage,
        _: &Version,
    ) -> Result<Dependencies<SolverPackage, Ranges<Version>, Exclusion>, Infallible> {
        match *self {}
    }
}

struct SolverSearch<'a> {
    question: &'a Question<'a>,
    catalog: &'a dyn Catalog,
    rules: Arc<Rules>,
    scout: Arc<dyn Scout>,
    requirements: Vec<Requirement>,
    state: pubgrub::State<Types>,
    order: Order,
    /// Packages that had too many conflicts since the last decision.
    forward: Vec<SolverPackage>,
    backward: Vec<Id<SolverPackage>>,
    known: BTreeMap<PackageName, Option<Arc<KnownProject>>>,
    added: BTreeSet<(SolverPackage, Version)>,
    /// The number of versions of a project that were tried, and the number at which more are fetched ahead.
    tried: BTreeMap<PackageName, (usize, usize)>,
}

/// Runs the search to its end.
pub(super) fn run(question: &Question<'_>, catalog: &dyn Catalog) -> Result<Solution, SolveError> {
    for root in &question.roots {
        if let Some(VersionOrUrl::Url(_)) = root.requirement.version_or_url {
            let requirement = root.requirement.to_string();
            return Err(SolveError::Url { requirement, origin: root.source.clone() });
        }
    }
    let rules = Arc::new(Rules::new(question));
    let mut search = SolverSearch {
        question,
        catalog,
        scout: rules.clone(),
        rules,
        requirements: question.roots.iter().map(|root| root.requirement.clone()).collect(),
        state: pubgrub::State::init(SolverPackage::Root, root_version()),
        order: Order::default(),
        forward: Vec::new(),
        backward: Vec::new(),
        known: BTreeMap::new(),
        added: BTreeSet::new(),
        tried: BTreeMap::new(),
    };
    search.solve()?;
    search.solution()
}

/// The user's requirements have one version.
fn root_version() -> Version {
    Version::new([0])
}

impl SolverSearch<'_> {
    fn solve(&mut self) -> Result<(), SolveError> {
        let mut next = self.state.root_package;
        loop {
            match self.state.unit_propagation(next) {
                Ok(conflicts) => {
                    for (affected, incompatibility) in conflicts {
                        self.count_conflict(next, affected, incompatibility);
                    }
                }
                Err(tree) => return Err(self.explain(&tree)),
            }
            self.reorder();
            let (order, packages) = (&self.order, &self.state.package_store);
            let pick =
                self.state.partial_solution.pick_highest_priority_pkg(|id, _| order.rank(&packages[id]));
            match pick {
                Some((id, _)) => next = id,
                None => return Ok(()),
            }
            self.decide(next)?;
        }
    }

    /// Decides on a version of the package `id`, or notes that there is none.
    fn decide(&mut self, id: Id<SolverPackage>) -> Result<(), SolveError> {
        let package = self.state.package_store[id].clone();
        let Some(Term::Positive(range)) =
            self.state.partial_solution.term_intersection_for_package(id).cloned()
        else {
            return Ok(());
        };
        let version = match package.name() {
            None => root_version(),
            Some(name) => match self.choose(&package, name, &range)? {
                Ok(version) => version,
                Err(None) => {
                    self.state.add_incompatibility(Incompatibility::no_versions(id, Term::Positive(range)));
                    return Ok(());
                }
                Err(Some(reason)) => {
                    let term = Term::Positive(range);
                    self.state.add_incompatibility(Incompatibility::custom_term(id, term, reason));
                    return Ok(());
                }
            },
        };
        if let Some(project) = self.other_version_of_project(&package, &version) {
            self.add_dependencies(id, version, vec![project]);
            return Ok(());
        }
        if !self.added.insert((package.clone(), version.clone())) {
            self.state.partial_solution.add_decision(id, version);
            return Ok(());
        }
        match self.dependencies(&package, &version)? {
            Ok(dependencies) => self.add_dependencies(id, version, dependencies),
            Err(reason) => {
                self.state.add_incompatibility(Incompatibility::custom_version(id, version, reason));
            }
        }
        Ok(())
    }

    /// The version to try of `package` in `range`; without one, the reason if there is any to tell.
    fn choose(
        &mut self,
        package: &SolverPackage,
        name: &PackageName,
        range: &Ranges<Version>,
    ) -> Result<Result<Version, Option<Exclusion>>, SolveError> {
        let Some(known) = self.known(name)? else { return Ok(Err(Some(Exclusion::Unknown))) };
        let joint = self.joint_range(package, range);
        let best = known.candidates.best(&joint).or_else(|| known.candidates.best(range));
        let Some((version, _)) = best else {
            let refused = versions(&known.project).iter().any(|version| range.contains(version));
            return Ok(Err(refused.then_some(Exclusion::Refused)));
        };
        let version = version.clone();
        if matches!(package, SolverPackage::Project(_))
            && !self.added.contains(&(package.clone(), version.clone()))
        {
            self.note_try(name, &known, &version, range);
        }
        Ok(Ok(version))
    }

    /// The rest of `range` when an extra must have its project's version.
    fn joint_range(&mut self, package: &SolverPackage, range: &Ranges<Version>) -> Ranges<Version> {
        match self.range_of_project(package) {
            Some(project) => project.intersection(range),
            None => range.clone(),
        }
    }

    /// The versions of an extra's project that are left.
    fn range_of_project(&mut self, package: &SolverPackage) -> Option<Ranges<Version>> {
        let SolverPackage::Extra(name, _) = package else { return None };
        let id = self.state.package_store.alloc(SolverPackage::Project(name.clone()));
        match self.state.partial_solution.term_intersection_for_package(id) {
            Some(Term::Positive(range)) => Some(range.clone()),
            _ => None,
        }
    }

    /// The demand that rules `version` of an extra out when its project cannot have that version: nothing of its metadata
    /// needs to be known.
    fn other_version_of_project(
        &mut self,
        package: &SolverPackage,
        version: &Version,
    ) -> Option<PackageDemand> {
        let left = self.range_of_project(package)?;
        let project = SolverPackage::Project(package.name()?.clone());
        (!left.contains(version)).then(|| (project, Ranges::singleton(version.clone())))
    }

    /// Fetches ahead when version after version of a project is tried.
    fn note_try(
        &mut self,
        name: &PackageName,
        known: &KnownProject,
        version: &Version,
        range: &Ranges<Version>,
    ) {
        let (tried, mark) = self.tried.entry(name.clone()).or_insert((0, *TRIES.start()));
        *tried += 1;
        if *tried == *mark {
            let step = (*mark).min(*TRIES.end());
            *mark += step;
            let next = known.candidates.below(version, range, step * 2);
            self.catalog.prefetch_metadata(next.map(|index| known.project.files[index].clone()).collect());
        }
    }

    fn known(&mut self, name: &PackageName) -> Result<Option<Arc<KnownProject>>, SolveError> {
        if let Some(known) = self.known.get(name) {
            return Ok(known.clone());
        }
        let known = match self.catalog.project(name) {
            Ok(project) => {
                let candidates = self.rules.candidates(&project);
                Some(Arc::new(KnownProject { project, candidates }))
            }
            Err(CatalogError::NotFound { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        self.known.insert(name.clone(), known.clone());
        Ok(known)
    }

    fn metadata(
        &mut self,
        name: &PackageName,
        version: &Version,
    ) -> Result<Result<Arc<CoreMetadata>, Exclusion>, SolveError> {
        let Some(known) = self.known(name)? else { return Ok(Err(Exclusion::Unknown)) };
        let Some(index) = known.candidates.wheel(version) else { return Ok(Err(Exclusion::Refused)) };
        match self.catalog.metadata(&known.project.files[index]) {
            Ok(metadata) => Ok(Ok(metadata)),
            Err(CatalogError::BadMetadata { source, .. }) => {
                Ok(Err(Exclusion::Metadata(with_causes(&*source))))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The requirements of `package` at `version`, or the reason why it cannot be used after all.
    fn dependencies(
        &mut self,
        package: &SolverPackage,
        version: &Version,
    ) -> Result<Result<Vec<PackageDemand>, Exclusion>, SolveError> {
        let (name, extra) = match package {
            SolverPackage::Root => {
                let requirements = std::mem::take(&mut self.requirements);
                let dependencies = self.translate(None, None, &requirements);
                self.requirements = requirements;
                return Ok(dependencies);
            }
            SolverPackage::Project(name) => (name, None),
            SolverPackage::Extra(name, extra) => (name, Some(extra)),
        };
        let metadata = match self.metadata(name, version)? {
            Ok(metadata) => metadata,
            Err(reason) => return Ok(Err(reason)),
        };
        if let Some(specifiers) = &metadata.requires_python
            && !self.rules.target().admits(specifiers)
        {
            return Ok(Err(Exclusion::Python(specifiers.clone())));
        }
        let itself = Ranges::singleton(version.clone());
        let dependencies = self.translate(Some((name, &itself)), extra, &metadata.requires_dist);
        Ok(dependencies.map(|mut dependencies| {
            if extra.is_some() {
                dependencies.insert(0, (SolverPackage::Project(name.clone()), itself));
            }
            dependencies
        }))
    }

    /// The requirements that apply, as packages and versions.
    ///
    /// A project that requires itself, `project[all]` requiring `project[a,b]`, means its own version.
    fn translate(
        &mut self,
        itself: Option<(&PackageName, &Ranges<Version>)>,
        extra: Option<&ExtraName>,
        requirements: &[Requirement],
    ) -> Result<Vec<PackageDemand>, Exclusion> {
        let edges = self.rules.edges(requirements, extra);
        if let Some(url) = edges.iter().find_map(|edge| edge.url.as_ref()) {
            return Err(Exclusion::Url(url.clone()));
        }
        let mut dependencies = Vec::with_capacity(edges.len());
        let mut wants = Vec::with_capacity(edges.len());
        for edge in edges {
            let Want { name, extras, mut versions } = edge.want.clone();
            match itself {
                Some((own, version)) if *own == name => {
                    versions = versions.intersection(version);
                    // A project may not require a version of itself that it is not.
                    if versions.is_empty() {
                        dependencies.push((SolverPackage::Project(name.clone()), versions.clone()));
                    }
                }
                _ => {
                    dependencies.push((SolverPackage::Project(name.clone()), versions.clone()));
                    wants.push(edge.want);
                }
            }
            let extras =
                extras.into_iter().map(|extra| (SolverPackage::Extra(name.clone(), extra), versions.clone()));
            dependencies.extend(extras);
        }
        self.catalog.prefetch(wants, &self.scout);
        Ok(dependencies)
    }

    fn add_dependencies(
        &mut self,
        id: Id<SolverPackage>,
        version: Version,
        dependencies: Vec<PackageDemand>,
    ) {
        for (package, versions) in &dependencies {
            self.order.discover(package, versions);
        }
        let alike = self.alike(&self.state.package_store[id], &version);
        if let Some(conflict) = self.state.add_package_version_dependencies(id, version, alike, dependencies)
        {
            self.count_conflict(id, id, conflict);
        }
    }

    /// `version` and the room around it up to the next versions, so that what is learned about one version after
    /// another joins to a range.
    fn alike(&self, package: &SolverPackage, version: &Version) -> Ranges<Version> {
        let only = Ranges::singleton(version.clone());
        let known = package.name().and_then(|name| self.known.get(name)?.as_ref());
        match known {
            Some(known) => only.widen_versions(&known.candidates.versions().collect::<Vec<_>>()),
            None => only,
        }
    }

    /// Counts who was part of a conflict, for [`Self::reorder`].
    fn count_conflict(
        &mut self,
        decided: Id<SolverPackage>,
        affected: Id<SolverPackage>,
        conflict: IncompId<SolverPackage, Ranges<Version>, Exclusion>,
    ) {
        let packages = &self.state.package_store;
        let name = packages[affected].name();
        let culprits: Vec<_> = self.state.incompatibility_store[conflict]
            .iter()
            .map(|(id, _)| id)
            .filter(|id| *id != affected && packages[*id].name() != name)
            .collect();
        for culprit in &culprits {
            if self.order.count_culprit(&packages[*culprit]) {
                self.backward.push(*culprit);
            }
        }
        if !culprits.is_empty() && self.order.count_affected(&packages[decided]) {
            self.forward.push(packages[decided].clone());
        }
    }

    /// Decides packages with many conflicts earlier, undoing the decisions that were in their way.
    fn reorder(&mut self) {
        for package in self.forward.drain(..) {
            self.order.prefer_affected(&package);
        }
        for id in self.backward.drain(..) {
            if self.order.defer_culprit(&self.state.package_store[id]) {
                self.state.backtrack_package(id);
            }
        }
    }

    fn explain(&self, tree: &explain::Derivation) -> SolveError {
        SolveError::NoSolution {
            explanation: explain::explain(self.question, &self.rules, &self.known, tree),
        }
    }

    fn solution(mut self) -> Result<Solution, SolveError> {
        let mut versions = BTreeMap::new();
        let mut extras: BTreeMap<PackageName, BTreeSet<ExtraName>> = BTreeMap::new();
        for (id, version) in self.state.partial_solution.extract_solution() {
            match self.state.package_store[id].clone() {
                SolverPackage::Root => {}
                SolverPackage::Project(name) => {
                    versions.insert(name, version);
                }
                SolverPackage::Extra(name, extra) => {
                    extras.entry(name).or_default().insert(extra);
                }
            }
        }
        let mut distributions = BTreeMap::new();
        for (name, version) in versions {
            let extras = extras.remove(&name).unwrap_or_default();
            distributions.insert(name.clone(), self.chosen(name, version, extras)?);
        }
        Ok(Solution { distributions })
    }

    fn chosen(
        &mut self,
        name: PackageName,
        version: Version,
        extras: BTreeSet<ExtraName>,
    ) -> Result<Chosen, SolveError> {
        let unknown = || CatalogError::NotFound { name: name.clone(), searched: Vec::new() };
        let known = self.known(&name)?.ok_or_else(unknown)?;
        let index = known.candidates.wheel(&version).ok_or_else(unknown)?;
        let wheel = known.project.files[index].clone();
        let metadata = self.catalog.metadata(&wheel)?;
        let applicable = |set_aside| self.rules.applicable_with(&metadata.requires_dist, &extras, set_aside);
        let requires = applicable(false).into_iter().map(|requirement| requirement.name);
        let requires = requires.filter(|required| *required != name).collect();
        let set_aside = applicable(true);
        Ok(Chosen { name, version, wheel, metadata: metadata.clone(), extras, requires, set_aside })
    }
}

type PackageDemand = (SolverPackage, Ranges<Version>);

/// An error and the causes behind it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
