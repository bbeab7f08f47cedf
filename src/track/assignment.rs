//! The best way to pair rows with columns, by the Hungarian method with shortest augmenting paths (Jonker and Volgenant,
//! 1987). Ties go to the lower column, then the lower row, so that the same gains give the same pairs.
//!
//! Only what is connected by possible pairs is solved together: on a belt those are a few things each.

/// A possible pair and what it gains, more than zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pair {
    pub(super) row: u32,
    pub(super) column: u32,
    pub(super) gain: f32,
}

/// Room for the work, kept from frame to frame.
#[derive(Debug, Default)]
pub(super) struct Solver {
    /// The parent of each row and, after the rows, of each column in a forest of what is connected.
    parents: Vec<u32>,
    /// Pairs by component.
    ordered: Vec<(u32, Pair)>,
    rows: Vec<u32>,
    columns: Vec<u32>,
    /// Costs of one component, row by row.
    costs: Vec<f32>,
    row_potential: Vec<f32>,
    column_potential: Vec<f32>,
    /// The row of each column plus one; zero: none.
    row_of: Vec<usize>,
    way: Vec<usize>,
    least: Vec<f32>,
    used: Vec<bool>,
}

impl Solver {
    /// Finds the pairs of the highest gain in sum, no row or column twice, and tells them.
    pub(super) fn solve(&mut self, rows: usize, columns: usize, pairs: &[Pair], mut tell: impl FnMut(usize, usize)) {
        self.connect(rows, columns, pairs);
        let ordered = std::mem::take(&mut self.ordered);
        for component in ordered.chunk_by(|a, b| a.0 == b.0) {
            if let [(_, only)] = component {
                tell(only.row as usize, only.column as usize);
            } else {
                self.solve_component(component, &mut tell);
            }
        }
        self.ordered = ordered;
    }

    fn connect(&mut self, rows: usize, columns: usize, pairs: &[Pair]) {
        self.parents.clear();
        self.parents.extend(0..(rows + columns) as u32);
        for pair in pairs {
            let (a, b) = (root(&mut self.parents, pair.row), root(&mut self.parents, rows as u32 + pair.column));
            let (low, high) = (a.min(b), a.max(b));
            self.parents[high as usize] = low;
        }
        self.ordered.clear();
        for pair in pairs {
            self.ordered.push((root(&mut self.parents, pair.row), *pair));
        }
        self.ordered.sort_unstable_by_key(|(component, pair)| (*component, pair.row, pair.column));
    }

    fn solve_component(&mut self, component: &[(u32, Pair)], tell: &mut impl FnMut(usize, usize)) {
        let distinct = |into: &mut Vec<u32>, of: fn(&Pair) -> u32| {
            into.clear();
            into.extend(component.iter().map(|(_, pair)| of(pair)));
            into.sort_unstable();
            into.dedup();
        };
        distinct(&mut self.rows, |pair| pair.row);
        distinct(&mut self.columns, |pair| pair.column);
        // The method wants no more rows than columns.
        let is_turned = self.rows.len() > self.columns.len();
        let (height, width) = (self.rows.len().min(self.columns.len()), self.rows.len().max(self.columns.len()));
        self.costs.clear();
        self.costs.resize(height * width, 0.0);
        for (_, pair) in component {
            let row = self.rows.binary_search(&pair.row).expect("every row is listed");
            let column = self.columns.binary_search(&pair.column).expect("every column is listed");
            let (row, column) = if is_turned { (column, row) } else { (row, column) };
            self.costs[row * width + column] = -pair.gain;
        }
        self.augment(height, width);
        for column in 0..width {
            let Some(row) = self.row_of[column + 1].checked_sub(1) else { continue };
            // Where there is nothing to gain, there is no pair.
            if self.costs[row * width + column] < 0.0 {
                let (row, column) = if is_turned { (column, row) } else { (row, column) };
                tell(self.rows[row] as usize, self.columns[column] as usize);
            }
        }
    }

    /// Gives each row a column at the least cost in sum. Rows and columns count from one here; zero is where a path begins.
    fn augment(&mut self, height: usize, width: usize) {
        reset(&mut self.row_potential, height + 1, 0.0);
        reset(&mut self.column_potential, width + 1, 0.0);
        reset(&mut self.row_of, width + 1, 0);
        reset(&mut self.way, width + 1, 0);
        for row in 1..=height {
            self.row_of[0] = row;
            reset(&mut self.least, width + 1, f32::INFINITY);
            reset(&mut self.used, width + 1, false);
            let mut column = 0;
            while self.row_of[column] != 0 {
                column = self.step(column, width);
            }
            while column != 0 {
                let before = self.way[column];
                self.row_of[column] = self.row_of[before];
                column = before;
            }
        }
    }

    /// Extends the shortest path from `column` by one, and says to which column.
    fn step(&mut self, column: usize, width: usize) -> usize {
        self.used[column] = true;
        let row = self.row_of[column];
        let costs = &self.costs[(row - 1) * width..row * width];
        let (mut delta, mut next) = (f32::INFINITY, 0);
        for other in 1..=width {
            if self.used[other] {
                continue;
            }
            let reduced = costs[other - 1] - self.row_potential[row] - self.column_potential[other];
            if reduced < self.least[other] {
                (self.least[other], self.way[other]) = (reduced, column);
            }
            if self.least[other] < delta {
                (delta, next) = (self.least[other], other);
            }
        }
        for other in 0..=width {
            if self.used[other] {
                self.row_potential[self.row_of[other]] += delta;
                self.column_potential[other] -= delta;
            } else {
                self.least[other] -= delta;
            }
        }
        next
    }
}

fn reset<T: Copy>(numbers: &mut Vec<T>, len: usize, value: T) {
    numbers.clear();
    numbers.resize(len, value);
}

/// The root of a node, with the path to it halved.
fn root(parents: &mut [u32], mut node: u32) -> u32 {
    while parents[node as usize] != node {
        let above = parents[parents[node as usize] as usize];
        parents[node as usize] = above;
        node = above;
    }
    node
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Rng;

    fn best(rows: &mut Vec<u32>, pairs: &[Pair]) -> f32 {
        let Some(row) = rows.pop() else { return 0.0 };
        let mut most = best(rows, pairs);
        for pair in pairs.iter().filter(|pair| pair.row == row) {
            let rest: Vec<_> = pairs.iter().filter(|other| other.column != pair.column).copied().collect();
            most = most.max(pair.gain + best(rows, &rest));
        }
        rows.push(row);
        most
    }

    #[test]
    fn no_other_pairs_gain_more() {
        let mut rng = Rng::new(1, 0);
        let mut solver = Solver::default();
        for _ in 0..500 {
            let (rows, columns) = (rng.between(1, 6), rng.between(1, 6));
            let mut pairs = Vec::new();
            for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
                if rng.chance(60) {
                    pairs.push(Pair { row: row as u32, column: column as u32, gain: rng.between(1, 64) as f32 / 64.0 });
                }
            }
            let (mut found, mut used) = (0.0, (vec![false; 6], vec![false; 6]));
            solver.solve(rows as usize, columns as usize, &pairs, |row, column| {
                assert!(!std::mem::replace(&mut used.0[row], true) && !std::mem::replace(&mut used.1[column], true));
                found += pairs.iter().find(|pair| (pair.row, pair.column) == (row as u32, column as u32)).unwrap().gain;
            });
            let expected = best(&mut (0..rows as u32).collect(), &pairs);
            assert!((found - expected).abs() < 1e-4, "{found} {expected} {pairs:?}");
        }
    }

    #[test]
    fn five_hundred_that_could_all_be_each_other_are_paired() {
        let size = 512;
        let mut rng = Rng::new(2, 0);
        let pairs: Vec<_> = (0..size * size)
            .map(|at| Pair { row: at / size, column: at % size, gain: rng.fraction() as f32 + 0.001 })
            .collect();
        let mut count = 0;
        Solver::default().solve(size as usize, size as usize, &pairs, |_, _| count += 1);
        assert_eq!(count, size);
    }
}
