//! Two histories: equal, or where they part. Never folds: what reaches it counts.

use arc_api::Duration;

use super::event::Who;
use super::history::Step;
use super::turns::same_turns;

/// Waits below this are races of one host and compared with nothing.
pub const SHORT: Duration = Duration::from_secs(1);

/// Where two histories part.
#[derive(Clone, PartialEq, Debug)]
pub struct Difference {
    /// Whose steps part.
    pub who: Who,
    /// Place in the recorded history.
    pub recorded: Option<usize>,
    /// Place in the simulated history.
    pub simulated: Option<usize>,
    /// How.
    pub how: How,
}

/// How two histories part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// Another step, or none.
    Step,
    /// The same step, after another wait.
    Wait,
}

/// How far two waits may be apart: recordings give tenths of a second, and scripts poll.
pub fn tolerance(longer: Duration) -> Duration {
    Duration::from_micros(700_000 + longer.as_micros() as u64 / 20)
}

/// Whether two waits are one.
pub fn same_wait(a: Duration, b: Duration) -> bool {
    let (short, long) = (a.min(b), a.max(b));
    long < SHORT || long.saturating_sub(short) <= tolerance(long)
}

/// Whether two steps came after one wait: since people acted or, as their acts fall a moment before a step here and a moment
/// after it there, since the step before.
fn same_pause(a: &Step, b: &Step) -> bool {
    same_wait(a.waited, b.waited) || same_wait(a.gap, b.gap)
}

const WRITERS: [Who; 3] = [Who::Manager, Who::Listener, Who::Other];

/// Whether something was refused about as often in one go: how many retries fit in before the world changes is a race, whether
/// there are some or hundreds is not.
fn same_times(a: u32, b: u32) -> bool {
    a.max(b) <= 4 * a.min(b) + 4
}

/// Where two histories part first, writer by writer: two writers of one object run independently.
pub fn first_difference(recorded: &[Step], simulated: &[Step]) -> Option<Difference> {
    WRITERS.into_iter().filter_map(|who| lane_difference(who, recorded, simulated)).min_by_key(|d| {
        let at = |n: Option<usize>, steps: &[Step]| n.map(|n| steps[n].at);
        at(d.recorded, recorded).or(at(d.simulated, simulated))
    })
}

fn lane(who: Who, steps: &[Step]) -> impl Iterator<Item = (usize, &Step)> {
    steps.iter().enumerate().filter(move |(_, s)| s.who == who)
}

fn lane_difference(who: Who, recorded: &[Step], simulated: &[Step]) -> Option<Difference> {
    let (mut left, mut right) = (lane(who, recorded).peekable(), lane(who, simulated).peekable());
    loop {
        // A request whose caller was killed meanwhile is logged as carried out, as timed out, or not at all.
        if let Some((_, s)) = right.peek()
            && s.unheard
            && left.peek().is_none_or(|(_, l)| !l.same(s))
        {
            right.next();
            continue;
        }
        let (l, r) = (left.next(), right.next());
        let how = match (l, r) {
            (None, None) => return None,
            (Some((_, s)), None) | (None, Some((_, s))) if s.last => return None,
            (Some((_, a)), Some((_, b)))
                if a.same(b) && same_pause(a, b) && same_turns(a.turns, b.turns) && same_times(a.times, b.times) =>
            {
                continue;
            }
            (Some((_, a)), Some((_, b))) if a.same(b) => How::Wait,
            _ => How::Step,
        };
        return Some(Difference { who, recorded: l.map(|(n, _)| n), simulated: r.map(|(n, _)| n), how });
    }
}

/// How far two histories are apart: steps that one of them has alone, and a little for every wait that differs.
pub fn distance(recorded: &[Step], simulated: &[Step]) -> usize {
    WRITERS
        .into_iter()
        .map(|who| {
            let left: Vec<&Step> = lane(who, recorded).map(|(_, s)| s).collect();
            let right: Vec<&Step> = lane(who, simulated).map(|(_, s)| s).collect();
            edits(&left, &right)
        })
        .sum()
}

/// Edit distance without replacement; a wait that differs costs one, a step two, one whose answer nobody heard nothing.
fn edits(left: &[&Step], right: &[&Step]) -> usize {
    let same = left.iter().zip(right).take_while(|(a, b)| a.same(b) && same_pause(a, b)).count();
    let (left, right) = (&left[same..], &right[same..]);
    let cost = |step: &Step| if step.unheard { 0 } else { 2 };
    let mut row: Vec<usize> = vec![0; right.len() + 1];
    for (j, b) in right.iter().enumerate() {
        row[j + 1] = row[j] + cost(b);
    }
    for a in left {
        let mut diagonal = row[0];
        row[0] += cost(a);
        for (j, b) in right.iter().enumerate() {
            let through = if a.same(b) { diagonal + usize::from(!same_pause(a, b)) } else { usize::MAX };
            diagonal = row[j + 1];
            row[j + 1] = through.min(row[j] + cost(b)).min(diagonal + cost(a));
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use arc_api::Time;

    fn step(who: Who, verb: &str, at: u64, waited: u64) -> Step {
        let waited = Duration::from_millis(waited);
        Step { waited, gap: waited, code: 200, ..Step::new(who, verb.into(), Time::from_millis(at)) }
    }

    #[test]
    fn short_waits_are_races_and_long_ones_are_compared() {
        let ms = Duration::from_millis;
        assert!(same_wait(ms(0), ms(900)));
        assert!(same_wait(ms(50_000), ms(51_500)) && !same_wait(ms(50_000), ms(56_000)));
        assert!(same_wait(ms(400), ms(1_050)) && !same_wait(ms(100), ms(5_000)));
    }

    #[test]
    fn retries_in_one_go_are_some_or_many() {
        assert!(same_times(2, 8) && same_times(6, 20) && !same_times(1, 9) && !same_times(10, 200));
    }

    #[test]
    fn writers_are_compared_one_by_one() {
        let (m, l) = (Who::Manager, Who::Listener);
        let one = [step(m, "create", 0, 0), step(l, "patch", 1, 0), step(m, "delete", 2, 0)];
        let other = [step(m, "create", 0, 0), step(m, "delete", 1, 0), step(l, "patch", 2, 0)];
        assert_eq!(first_difference(&one, &other), None);
        assert_eq!(distance(&one, &other), 0);
    }

    #[test]
    fn what_a_killed_caller_asked_for_may_be_logged_or_not() {
        let m = Who::Manager;
        let logged = [step(m, "create", 0, 0), step(m, "patch", 5_000, 5_000), step(m, "delete", 6_000, 0)];
        let mut unheard = logged.clone();
        unheard[1].unheard = true;
        let bare = [logged[0].clone(), logged[2].clone()];
        assert_eq!(first_difference(&logged, &unheard), None);
        assert_eq!(first_difference(&bare, &unheard), None);
        assert_eq!(distance(&bare, &unheard), 0);
        assert!(first_difference(&logged, &bare).is_some());
    }

    #[test]
    fn the_first_difference_is_told_with_its_kind() {
        let m = Who::Manager;
        let one = [step(m, "create", 0, 0), step(m, "patch", 5_000, 5_000), step(m, "delete", 6_000, 0)];
        let slow = [step(m, "create", 0, 0), step(m, "patch", 9_000, 9_000), step(m, "delete", 9_500, 0)];
        let found = first_difference(&one, &slow).unwrap_or_else(|| panic!("equal"));
        assert_eq!((found.how, found.recorded, found.simulated), (How::Wait, Some(1), Some(1)));
        assert_eq!(distance(&one, &slow), 1);
        let found = first_difference(&one, &one[..2]).unwrap_or_else(|| panic!("equal"));
        assert_eq!((found.how, found.recorded, found.simulated), (How::Step, Some(2), None));
        assert_eq!(distance(&one, &one[..2]), 2);
    }
}
