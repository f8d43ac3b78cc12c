//! The layers of many plans, split over machines that work beside each other.
//!
//! The split is a function of the plans alone, so that every machine computes the same one and nobody hands out work.
//! Layers that are made of the same wheel or the same packages go to one machine, which fetches these once; the largest
//! go first, each time to the machine that has the least. What is together more than a tenth above the share of a machine
//! is split layer by layer: then its wheels are fetched by several.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::oci::Digest;

/// A layer to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerWork {
    /// Its key.
    pub key: Digest,
    /// Its size in bytes, about.
    pub bytes: u64,
    /// The digests of the parts that it is made of: wheels, or the stack of a base.
    pub parts: BTreeSet<Digest>,
    /// True if it is made with all layers of the same parts, or not at all: those of a base.
    pub in_one: bool,
}

/// The layers of each machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayersOfShards {
    /// By the number of the machine, from 0 on.
    pub shards: Vec<LayersOfShard>,
}

/// The layers of one machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LayersOfShard {
    /// Their keys.
    pub keys: BTreeSet<Digest>,
    /// The sum of their sizes in bytes.
    pub bytes: u64,
}

impl LayersOfShards {
    /// The split of `layers`, of which no two have one key, over `count` machines.
    pub fn of(layers: &[LayerWork], count: usize) -> Self {
        let count = count.max(1);
        let share = layers.iter().map(|layer| layer.bytes).sum::<u64>().div_ceil(count as u64);
        let most = share + share / 10;
        let mut units = Vec::new();
        for unit in connected(layers) {
            match unit.bytes() > most && !unit.layers.iter().any(|layer| layer.in_one) {
                true => units.extend(unit.layers.into_iter().map(|layer| WorkUnit { layers: vec![layer] })),
                false => units.push(unit),
            }
        }
        units.sort_by_key(|unit| (Reverse(unit.bytes()), unit.first_key()));
        let mut shards = vec![LayersOfShard::default(); count];
        for unit in units {
            let Some(least) = shards.iter_mut().min_by_key(|shard| shard.bytes) else { continue };
            least.bytes += unit.bytes();
            least.keys.extend(unit.layers.iter().map(|layer| layer.key));
        }
        Self { shards }
    }
}

/// Layers that one machine makes.
struct WorkUnit<'a> {
    layers: Vec<&'a LayerWork>,
}

impl WorkUnit<'_> {
    fn bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.bytes).sum()
    }

    fn first_key(&self) -> Option<Digest> {
        self.layers.iter().map(|layer| layer.key).min()
    }
}

/// The layers that share parts, directly or by others between them.
fn connected(layers: &[LayerWork]) -> Vec<WorkUnit<'_>> {
    let mut roots = Roots((0..layers.len()).collect());
    let mut first_with: BTreeMap<Digest, usize> = BTreeMap::new();
    for (index, layer) in layers.iter().enumerate() {
        for part in &layer.parts {
            let first = *first_with.entry(*part).or_insert(index);
            roots.join(first, index);
        }
    }
    let mut units: BTreeMap<usize, WorkUnit<'_>> = BTreeMap::new();
    for (index, layer) in layers.iter().enumerate() {
        let unit = units.entry(roots.root(index)).or_insert_with(|| WorkUnit { layers: Vec::new() });
        unit.layers.push(layer);
    }
    units.into_values().collect()
}

/// Disjoint sets of numbers, each by one of its members.
struct Roots(Vec<usize>);

impl Roots {
    fn root(&mut self, mut index: usize) -> usize {
        while self.0[index] != index {
            self.0[index] = self.0[self.0[index]];
            index = self.0[index];
        }
        index
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.root(one), self.root(other));
        self.0[other] = one;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layer(name: &str, bytes: u64, parts: &[&str]) -> LayerWork {
        let parts = parts.iter().map(Digest::of).collect();
        LayerWork { key: Digest::of(name), bytes, parts, in_one: name.starts_with("base") }
    }

    /// The names of the layers of each shard.
    fn check(layers: &[(&str, u64, &[&str])], count: usize, expected: &[&str]) {
        let works: Vec<LayerWork> =
            layers.iter().map(|(name, bytes, parts)| layer(name, *bytes, parts)).collect();
        let names = |shard: &LayersOfShard| {
            let names = layers.iter().map(|(name, _, _)| *name);
            names.filter(|name| shard.keys.contains(&Digest::of(name))).collect::<Vec<_>>().join(" ")
        };
        let split = LayersOfShards::of(&works, count);
        assert_eq!(split.shards.iter().map(names).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_largest_go_first_each_to_the_machine_with_the_least() {
        let layers: &[(&str, u64, &[&str])] = &[("a", 5, &[]), ("b", 4, &[]), ("c", 3, &[]), ("d", 3, &[])];
        check(layers, 2, &["a c", "b d"]);
        check(layers, 1, &["a b c d"]);
        check(&layers[..1], 3, &["a", "", ""]);
    }

    #[test]
    fn layers_of_one_wheel_stay_together_unless_they_are_more_than_a_share() {
        check(
            &[("a", 4, &["x"]), ("b", 3, &["x", "y"]), ("c", 2, &["y"]), ("d", 10, &[])],
            2,
            &["d", "a b c"],
        );
        check(&[("a", 4, &["x"]), ("b", 3, &["x"]), ("c", 3, &["x"]), ("d", 2, &[])], 2, &["a d", "b c"]);
        check(&[("base1", 4, &["x"]), ("base2", 4, &["x"]), ("c", 1, &[])], 2, &["base1 base2", "c"]);
    }

    proptest! {
        #[test]
        fn every_layer_is_in_one_shard_and_the_order_of_the_layers_means_nothing(
            sizes in prop::collection::vec((1..100u64, 0..6u8), 1..60),
            count in 1..9usize,
            turn in 0..60usize,
        ) {
            let mut layers: Vec<LayerWork> = sizes
                .iter()
                .enumerate()
                .map(|(index, (bytes, part))| layer(&format!("l{index}"), *bytes, &[&format!("p{part}")]))
                .collect();
            let split = LayersOfShards::of(&layers, count);
            let all: Vec<Digest> = split.shards.iter().flat_map(|shard| shard.keys.iter().copied()).collect();
            prop_assert_eq!(all.len(), layers.len());
            prop_assert_eq!(all.into_iter().collect::<BTreeSet<_>>().len(), layers.len());
            let turn = turn % layers.len();
            layers.rotate_left(turn);
            prop_assert_eq!(LayersOfShards::of(&layers, count), split);
        }

        #[test]
        fn no_machine_has_more_than_the_share_and_the_largest_that_is_not_split(
            sizes in prop::collection::vec(1..100u64, 1..60),
            count in 1..9usize,
        ) {
            let layers: Vec<LayerWork> =
                sizes.iter().enumerate().map(|(index, bytes)| layer(&format!("l{index}"), *bytes, &[])).collect();
            let split = LayersOfShards::of(&layers, count);
            let share = sizes.iter().sum::<u64>().div_ceil(count as u64);
            let most = split.shards.iter().map(|shard| shard.bytes).max().unwrap();
            prop_assert!(most <= share + sizes.iter().max().unwrap());
        }
    }
}
