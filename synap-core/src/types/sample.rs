//! Choosing by chance, each item with the same probability.

use hashbrown::HashSet;

/// A sequence of random numbers from one (splitmix64).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ number >> 31
    }
}

/// A random number below `limit`.
#[inline]
pub fn below(random: u64, limit: usize) -> usize {
    ((u128::from(random) * limit as u128) >> 64) as usize
}

/// `count` of the items, or all, in their order. Each is taken with the probability that makes all choices equal:
/// those still wanted among those still to come. O(items).
pub fn choose<I: ExactSizeIterator>(items: I, count: usize, numbers: &mut Numbers) -> Vec<I::Item> {
    let mut left = items.len();
    let mut wanted = count.min(left);
    let mut chosen = Vec::with_capacity(wanted);
    for item in items {
        if wanted == 0 {
            break;
        }
        if below(numbers.draw(), left) < wanted {
            chosen.push(item);
            wanted -= 1;
        }
        left -= 1;
    }
    chosen
}

/// `count` different numbers below `len`, or all. O(count).
pub fn indices(len: usize, count: usize, numbers: &mut Numbers) -> Vec<usize> {
    if count >= len / 3 {
        return choose(0..len, count, numbers);
    }
    let mut seen = HashSet::with_capacity(count);
    let mut chosen = Vec::with_capacity(count);
    while chosen.len() < count {
        let index = below(numbers.draw(), len);
        if seen.insert(index) {
            chosen.push(index);
        }
    }
    chosen
}

/// The sum over `count` items, of which at most `samples` are looked at, evenly spread; at least one.
pub fn estimate(count: usize, samples: usize, mut of_item: impl FnMut(usize) -> usize) -> usize {
    let samples = samples.max(1);
    if count <= samples {
        return (0..count).map(of_item).sum();
    }
    let place = |sample: usize| (sample as u128 * count as u128 / samples as u128) as usize;
    let sum: usize = (0..samples).map(|sample| of_item(place(sample))).sum();
    (sum as u128 * count as u128 / samples as u128) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_as_probable() {
        for count in [1, 3, 4, 9, 10, 11] {
            for pick in [
                (|count, seed| choose(0..10, count, &mut Numbers(seed))) as fn(usize, u64) -> Vec<usize>,
                |count, seed| indices(10, count, &mut Numbers(seed)),
            ] {
                let mut counts = [0_usize; 10];
                for seed in 0..20_000 {
                    let mut picked = pick(count, seed * 7919);
                    picked.iter().for_each(|&index| counts[index] += 1);
                    picked.sort_unstable();
                    picked.dedup();
                    assert_eq!(picked.len(), count.min(10), "all are different");
                }
                let expected = 2000 * count.min(10);
                assert!(counts.iter().all(|&found| found.abs_diff(expected) < 300), "{count}: {counts:?}");
            }
        }
    }
}
