//! A loop is told by two of its turns and their number: how many turns fit into a time depends on how fast containers start.
//! That there is a loop, what a turn does and how long it takes is compared like everything else. Never joins what is done twice.

use arc_api::Duration;

use super::compare::same_wait;
use super::event::Who;
use super::history::Step;

/// A turn that is shorter is no loop that anybody waits in, but retries, whose number is compared.
const TURN: Duration = Duration::from_millis(300);
/// Most steps of a turn.
const LONGEST: usize = 6;

/// Whether two loops made as many turns, as far as that can be said: one, or one in eight, more or less.
pub fn same_turns(a: u32, b: u32) -> bool {
    a.abs_diff(b) <= if a.min(b) < 3 { 0 } else { (a.max(b) / 8).max(1) }
}

/// Leaves two turns of every loop of three or more.
pub fn fold_turns(steps: &mut Vec<Step>) {
    for who in [Who::Manager, Who::Listener, Who::Other] {
        let lane: Vec<usize> = (0..steps.len()).filter(|n| steps[*n].who == who).collect();
        let mut gone = Vec::new();
        let mut at = 0;
        while at < lane.len() {
            let found = (1..=LONGEST).find_map(|period| {
                let turns = turns(steps, &lane[at..], period);
                (turns >= 3).then_some((period, turns))
            });
            let Some((period, turns)) = found else {
                at += 1;
                continue;
            };
            lane[at..at + 2 * period].iter().for_each(|n| steps[*n].turns = turns as u32);
            gone.extend(&lane[at + 2 * period..at + turns * period]);
            at += turns * period;
        }
        gone.into_iter().rev().for_each(|n| drop(steps.remove(n)));
    }
}

/// How often a lane's first `period` steps come at its beginning.
fn turns(steps: &[Step], lane: &[usize], period: usize) -> usize {
    let step = |n: usize| &steps[lane[n]];
    let mut turns = 1;
    while (turns + 1) * period <= lane.len() {
        let (from, to) = (turns * period, (turns + 1) * period);
        let long = step(from).at.since(step(from - period).at) >= TURN;
        // The first turn begins after what came before the loop, the others after each other.
        let alike = (from..to).all(|n| {
            let (now, before) = (step(n), step(n - period));
            now.same(before) && (turns == 1 && n == from || same_wait(now.waited, before.waited))
        });
        if !(long && alike) {
            break;
        }
        turns += 1;
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;
    use arc_api::Time;

    fn step(verb: &str, at_ms: u64, waited_ms: u64) -> Step {
        Step { waited: Duration::from_millis(waited_ms), ..Step::new(Who::Other, verb.into(), Time(at_ms * 1000)) }
    }

    #[test]
    fn a_loop_is_two_turns_and_their_number() {
        let mut steps = vec![step("start", 0, 0)];
        for n in 0..9 {
            steps.push(step("exit", n * 700 + 50, 50));
            steps.push(step("start", n * 700 + 700, 650));
        }
        fold_turns(&mut steps);
        let told: Vec<_> = steps.iter().map(|s| (s.verb.as_str(), s.turns)).collect();
        assert_eq!(told, [("start", 9), ("exit", 9), ("start", 9), ("exit", 9), ("start", 1)]);
        assert!(same_turns(9, 10) && same_turns(21, 24) && !same_turns(9, 11) && !same_turns(2, 3));
    }

    #[test]
    fn retries_and_things_done_twice_are_no_loop() {
        let retries: Vec<Step> = (0..5).map(|n| step("E17", n * 20, 20)).collect();
        let twice = vec![step("E7", 0, 0), step("E7", 3000, 3000)];
        for steps in [retries, twice] {
            let mut folded = steps.clone();
            fold_turns(&mut folded);
            assert_eq!(folded, steps);
        }
    }
}
