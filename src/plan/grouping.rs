//! The wheels that share a layer, and which wheel takes several.
//!
//! A layer is made again when one of its wheels changes, and everyone who has the image pulls it again. So what a wheel
//! shares its layer with depends on names alone: a small package that comes, goes or grows rewrites its own layer only.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{Limits, WheelInstall, WheelPart};
use crate::oci::Digest;

/// A wheel that unpacks to this many bytes or more gets a layer of its own, budget permitting.
const LARGE: u64 = 64 << 20;
/// Small wheels share at most this many layers, unless these grow too large.
const MAX_GROUPS: usize = 8;

/// A wheel to install.
#[derive(Debug, Clone)]
pub(super) struct GroupedWheel {
    pub install: WheelInstall,
    pub is_component: bool,
    /// Its unpacked size in bytes.
    pub size: u64,
}

/// The wheels of each layer, `limits.budget` at most: components first, then large wheels, then groups of small ones.
pub(super) fn grouped(candidates: Vec<GroupedWheel>, limits: &Limits) -> Vec<Vec<WheelInstall>> {
    let (mut alone, mut small): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|wheel| wheel.is_component || wheel.size >= LARGE);
    let groups = MAX_GROUPS.min(limits.budget.saturating_sub(alone.len())).max(1);
    alone.sort_by(|a, b| (Reverse(a.size), &a.install.filename).cmp(&(Reverse(b.size), &b.install.filename)));
    let room = limits.budget.saturating_sub(groups);
    small.extend(alone.drain(room.min(alone.len())..));
    let mut spare = limits.budget.saturating_sub(alone.len() + groups);
    let mut cut: Vec<(GroupedWheel, usize)> = Vec::new();
    for wheel in alone {
        let wanted = usize::try_from(wheel.size.div_ceil(limits.max_size)).unwrap_or(usize::MAX);
        let parts = wanted.clamp(1, 1 + spare);
        spare -= parts - 1;
        cut.push((wheel, parts));
    }
    cut.sort_by(|(a, _), (b, _)| {
        (!a.is_component, &a.install.filename).cmp(&(!b.is_component, &b.install.filename))
    });
    let large = cut.into_iter().flat_map(|(wheel, parts)| in_parts(wheel.install, parts));
    large.map(|install| vec![install]).chain(small_layers(small, groups, spare, limits.max_size)).collect()
}

fn in_parts(install: WheelInstall, parts: usize) -> Vec<WheelInstall> {
    let part = |index| (parts > 1).then_some(WheelPart { index, of: parts });
    (0..parts).map(|index| WheelInstall { part: part(index), ..install.clone() }).collect()
}

/// Groups by name. A group that unpacks to more than `max_size` is cut while it has some of the `spare` layers, which
/// are shared out evenly beforehand, so that no group's layers depend on another's.
fn small_layers(
    mut small: Vec<GroupedWheel>,
    groups: usize,
    spare: usize,
    max_size: u64,
) -> Vec<Vec<WheelInstall>> {
    small.sort_by(|a, b| a.install.filename.cmp(&b.install.filename));
    let mut by_group: BTreeMap<usize, Vec<(Digest, GroupedWheel)>> = BTreeMap::new();
    for wheel in small {
        let hash = Digest::of(&wheel.install.distribution);
        by_group.entry(usize::from(hash.bytes()[0]) % groups).or_default().push((hash, wheel));
    }
    let room = 1 + spare / groups;
    by_group.into_values().flat_map(|group| halved(group, room, max_size, 0)).collect()
}

/// Cuts a group by the next bit of its names' hashes, and what is still too large by further ones: where a wheel goes
/// depends on its name, and a cut on the size of what is cut. Each half has half of the `room`.
fn halved(
    group: Vec<(Digest, GroupedWheel)>,
    room: usize,
    max_size: u64,
    bit: usize,
) -> Vec<Vec<WheelInstall>> {
    const BITS: usize = 8 * 31;
    let size: u64 = group.iter().map(|(_, wheel)| wheel.size).sum();
    if group.is_empty() {
        return Vec::new();
    }
    if size <= max_size || room < 2 || group.len() < 2 || bit == BITS {
        return vec![group.into_iter().map(|(_, wheel)| wheel.install).collect()];
    }
    let is_second = |hash: &Digest| hash.bytes()[1 + bit / 8] >> (bit % 8) & 1 == 1;
    let (second, first): (Vec<_>, Vec<_>) = group.into_iter().partition(|(hash, _)| is_second(hash));
    let mut layers = halved(first, room - room / 2, max_size, bit + 1);
    layers.extend(halved(second, room / 2, max_size, bit + 1));
    layers
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::plan::WheelPlacement;

    const MIB: u64 = 1 << 20;

    fn candidate(name: &str, is_component: bool, size: u64) -> GroupedWheel {
        let install = WheelInstall {
            distribution: name.to_owned(),
            version: "1".into(),
            filename: format!("{name}-1-py3-none-any.whl"),
            wheel: Digest::of(format!("{name} {size}")),
            direct_url: None,
            unpacked: size,
            metadata: Digest::of(name),
            requested: false,
            relaxed: BTreeMap::new(),
            place: WheelPlacement::SitePackages,
            part: None,
        };
        GroupedWheel { install, is_component, size }
    }

    fn shown(layers: &[Vec<WheelInstall>]) -> Vec<String> {
        let wheel = |wheel: &WheelInstall| match wheel.part {
            Some(part) => format!("{} {}/{}", wheel.distribution, part.index + 1, part.of),
            None => wheel.distribution.clone(),
        };
        layers.iter().map(|layer| layer.iter().map(wheel).collect::<Vec<_>>().join(", ")).collect()
    }

    fn check(budget: usize, max_size: u64, wheels: &[(&str, bool, u64)], expected: &[&str]) {
        let candidates =
            wheels.iter().map(|(name, is_component, mib)| candidate(name, *is_component, mib * MIB));
        let limits = Limits { budget, max_size: max_size * MIB };
        assert_eq!(shown(&grouped(candidates.collect(), &limits)), expected);
    }

    #[test]
    fn components_and_large_wheels_are_alone_and_cut_where_there_is_room() {
        let wheels =
            [("torch", false, 1500), ("cublas", true, 10), ("jaxlib", false, 400), ("six", false, 1)];
        check(40, 1024, &wheels, &["cublas", "jaxlib", "torch 1/2", "torch 2/2", "six"]);
        check(40, 500, &wheels, &["cublas", "jaxlib", "torch 1/3", "torch 2/3", "torch 3/3", "six"]);
        check(12, 100, &wheels, &["cublas", "jaxlib", "torch 1/2", "torch 2/2", "six"]);
        check(4, 1024, &wheels, &["cublas", "jaxlib", "torch", "six"]);
        check(3, 1024, &wheels, &["jaxlib", "torch", "cublas, six"]);
        check(1, 1024, &wheels, &["cublas, jaxlib, six, torch"]);
    }

    #[test]
    fn groups_that_are_too_large_are_cut() {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
        let wheels = names.map(|name| (name, false, 30));
        let layers = |budget, max_size| {
            let limits = Limits { budget, max_size: max_size * MIB };
            grouped(wheels.map(|(name, _, mib)| candidate(name, false, mib * MIB)).to_vec(), &limits).len()
        };
        assert_eq!((layers(1, 100), layers(40, 1024), layers(40, 30)), (1, 6, 11));
    }

    fn wheel() -> impl Strategy<Value = (String, bool, u64)> {
        ("[a-z]{1,3}", prop::bool::weighted(0.1), prop_oneof![4 => 1..60u64, 1 => 64..3000u64])
    }

    /// The layers that are not among `others`.
    fn without(layers: &[Vec<WheelInstall>], others: &[Vec<WheelInstall>]) -> Vec<Vec<WheelInstall>> {
        layers.iter().filter(|layer| !others.contains(layer)).cloned().collect()
    }

    fn wheels_of(layers: &[Vec<WheelInstall>]) -> BTreeSet<String> {
        layers.iter().flatten().map(|wheel| wheel.distribution.clone()).collect()
    }

    proptest! {
        #[test]
        fn every_wheel_is_in_some_layer_once_and_a_small_one_changes_no_other_layer(
            wheels in prop::collection::btree_map("[a-z]{1,4}", wheel(), 0..40),
            (name, _, _) in wheel(),
            size in 1..60u64,
            budget in 1..60usize,
            max_size in prop_oneof![20..200u64, Just(1024)],
        ) {
            let limits = Limits { budget, max_size: max_size * MIB };
            let mut candidates: Vec<GroupedWheel> = wheels
                .iter()
                .map(|(name, (_, is_component, mib))| candidate(name, *is_component, mib * MIB))
                .collect();
            let before = grouped(candidates.clone(), &limits);
            prop_assert!(before.len() <= budget);
            let mut parts: BTreeMap<&str, Vec<(usize, usize)>> = BTreeMap::new();
            for wheel in before.iter().flatten() {
                let part = wheel.part.map_or((0, 1), |part| (part.index, part.of));
                parts.entry(&wheel.distribution).or_default().push(part);
            }
            prop_assert_eq!(parts.len(), wheels.len());
            for parts in parts.into_values() {
                let expected: Vec<_> = (0..parts.len()).map(|index| (index, parts.len())).collect();
                prop_assert_eq!(parts, expected);
            }

            candidates.push(candidate(&format!("new-{name}"), false, size * MIB));
            candidates.rotate_right(1);
            let after = grouped(candidates, &limits);
            let rewritten = without(&before, &after);
            prop_assert!(rewritten.len() <= 1, "{:?}", rewritten);
            // A layer that is full is cut, into as many as its wheels need: what is written is that layer's, and the new wheel.
            let written = wheels_of(&without(&after, &before));
            let mut expected = wheels_of(&rewritten);
            expected.insert(format!("new-{name}"));
            prop_assert_eq!(written, expected);
        }
    }
}
