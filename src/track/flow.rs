//! What things have in common in how they move: on a belt all go on, stop and come back together, so that one that is
//! hidden is where the others say.

use super::motion::square;

/// Steps that differ from the common one by less than this share of a box agree with it.
const AGREES: f32 = 0.06;
/// And by this share of the step.
const AGREES_SHARE: f32 = 0.15;

/// How one thing moved since the frame before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Pixels along x and y.
    pub(super) by: [f32; 2],
    /// The size of its box.
    pub(super) scale: f32,
}

impl Step {
    /// Whether this is how all move.
    pub(super) fn agrees(&self, common: [f32; 2]) -> bool {
        let off = square(self.by[0] - common[0]) + square(self.by[1] - common[1]);
        let length = (square(common[0]) + square(common[1])).sqrt();
        off <= square(AGREES * self.scale + AGREES_SHARE * length)
    }
}

/// The step that at least two things and at least two thirds of all have in common. `room` is for the work.
pub(super) fn common(steps: &[Step], room: &mut Vec<f32>) -> Option<[f32; 2]> {
    if steps.len() < 2 {
        return None;
    }
    let mut median = |axis: usize| {
        room.clear();
        room.extend(steps.iter().map(|step| step.by[axis]));
        room.sort_unstable_by(f32::total_cmp);
        (room[(room.len() - 1) / 2] + room[room.len() / 2]) / 2.0
    };
    let common = [median(0), median(1)];
    let agreeing = steps.iter().filter(|step| step.agrees(common)).count();
    (agreeing >= 3 && 3 * agreeing >= 2 * steps.len()).then_some(common)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(by: &[[f32; 2]]) -> Vec<Step> {
        by.iter().map(|&by| Step { by, scale: 40.0 }).collect()
    }

    #[test]
    fn a_belt_is_what_most_agree_on() {
        let room = &mut Vec::new();
        assert_eq!(common(&steps(&[[10.0, 0.0], [10.5, 0.0], [-30.0, 4.0], [9.5, 0.0]]), room), Some([9.75, 0.0]));
        assert_eq!(common(&steps(&[[10.0, 0.0], [-10.0, 0.0]]), room), None);
        assert_eq!(common(&steps(&[[10.0, 0.0]]), room), None);
        assert_eq!(common(&[], room), None);
    }
}
