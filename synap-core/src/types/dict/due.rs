//! The earliest deadline of many segments: a tree of minima over their indices.

/// "No deadline".
pub const NEVER: i64 = i64::MAX;

/// `nodes[1]` is the root, the children of `i` are `2i` and `2i + 1`, the leaves are the second half.
#[derive(Clone)]
pub struct DueTree {
    nodes: Vec<i64>,
}

impl DueTree {
    pub fn new() -> DueTree {
        DueTree { nodes: vec![NEVER; 2] }
    }

    pub fn min(&self) -> i64 {
        self.nodes[1]
    }

    pub fn get(&self, index: usize) -> i64 {
        self.nodes.get(self.leaves() + index).copied().unwrap_or(NEVER)
    }

    pub fn set(&mut self, index: usize, due: i64) {
        if index >= self.leaves() {
            if due == NEVER {
                return;
            }
            self.grow((index + 1).next_power_of_two());
        }
        let mut at = self.leaves() + index;
        self.nodes[at] = due;
        while at > 1 {
            at /= 2;
            let min = self.nodes[2 * at].min(self.nodes[2 * at + 1]);
            if self.nodes[at] == min {
                break;
            }
            self.nodes[at] = min;
        }
    }

    /// Some index whose deadline is not after `now`.
    pub fn first_until(&self, now: i64) -> Option<usize> {
        if self.min() > now {
            return None;
        }
        let mut at = 1;
        while at < self.leaves() {
            at = if self.nodes[2 * at] <= now { 2 * at } else { 2 * at + 1 };
        }
        Some(at - self.leaves())
    }

    pub fn allocated(&self) -> usize {
        self.nodes.capacity() * size_of::<i64>()
    }

    fn leaves(&self) -> usize {
        self.nodes.len() / 2
    }

    fn grow(&mut self, leaves: usize) {
        let mut nodes = vec![NEVER; 2 * leaves];
        let old = self.leaves();
        nodes[leaves..leaves + old].copy_from_slice(&self.nodes[old..]);
        for at in (1..leaves).rev() {
            nodes[at] = nodes[2 * at].min(nodes[2 * at + 1]);
        }
        self.nodes = nodes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_the_minimum(steps in prop::collection::vec((0usize..40, prop_oneof![0i64..100, Just(NEVER)]), 0..200)) {
            let (mut tree, mut model) = (DueTree::new(), [NEVER; 40]);
            for (index, due) in steps {
                tree.set(index, due);
                model[index] = due;
                prop_assert_eq!(tree.min(), *model.iter().min().unwrap());
                prop_assert_eq!(tree.get(index), due);
                match tree.first_until(50) {
                    Some(index) => prop_assert!(model[index] <= 50),
                    None => prop_assert!(model.iter().all(|&due| due > 50)),
                }
            }
        }
    }
}
