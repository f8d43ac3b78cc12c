//! Cuts a wheel's files into parts of about one size, each of which is a layer.

use std::cmp::Reverse;

/// The part that each of `files` falls into, by path and size in bytes: the largest first, each into the part that has
/// least so far. The same files fall into the same parts, whatever their order.
///
/// A file is never cut: a part may be larger than the others by a file.
pub fn parts(files: &[(&str, u64)], of: usize) -> Vec<usize> {
    let mut largest_first: Vec<usize> = (0..files.len()).collect();
    largest_first.sort_by_key(|file| (Reverse(files[*file].1), files[*file].0));
    let mut sizes = vec![0; of.max(1)];
    let mut parts = vec![0; files.len()];
    for file in largest_first {
        let least = (0..sizes.len()).min_by_key(|part| (sizes[*part], *part)).unwrap_or_default();
        parts[file] = least;
        sizes[least] += files[file].1;
    }
    parts
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn check(files: &[(&str, u64)], of: usize, expected: &[usize]) {
        assert_eq!(parts(files, of), expected);
    }

    #[test]
    fn large_files_are_apart_and_small_ones_fill_up() {
        let files = [("lib/libcpu.so", 400), ("lib/libcuda.so", 900), ("__init__.py", 5), ("RECORD", 1)];
        check(&files, 2, &[1, 0, 1, 1]);
        check(&files, 1, &[0, 0, 0, 0]);
        check(&files, 5, &[1, 0, 2, 3]);
        check(&[("a", 5), ("b", 5), ("c", 0)], 2, &[0, 1, 0]);
        check(&[], 3, &[]);
    }

    proptest! {
        #[test]
        fn every_file_is_in_one_part_whatever_the_order_and_parts_are_even(
            files in prop::collection::btree_map("[a-z]{1,8}", 0..1000u64, 0..50),
            of in 1..8usize,
        ) {
            let files: Vec<(&str, u64)> = files.iter().map(|(path, size)| (path.as_str(), *size)).collect();
            let found = parts(&files, of);
            let mut sizes = vec![0; of];
            files.iter().zip(&found).for_each(|((_, size), part)| sizes[*part] += size);
            let total: u64 = files.iter().map(|(_, size)| size).sum();
            let largest = files.iter().map(|(_, size)| *size).max().unwrap_or_default();
            prop_assert_eq!(sizes.iter().sum::<u64>(), total);
            prop_assert!(sizes.iter().all(|size| *size <= total / of as u64 + largest));

            let reversed: Vec<_> = files.iter().rev().copied().collect();
            let by_path = |files: &[(&str, u64)], parts: Vec<usize>| -> BTreeMap<String, usize> {
                files.iter().map(|(path, _)| (*path).to_owned()).zip(parts).collect()
            };
            prop_assert_eq!(by_path(&files, found), by_path(&reversed, parts(&reversed, of)));
        }
    }
}
