//! `arc-sim fidelity`: what a comparison with all recordings comes to. Never decides what is equal.

use std::path::Path;

use serde_json::json;

use super::Io;
use crate::conform::{fidelity, sabotage, steer};
use crate::exit::Exit;

pub(super) fn fidelity(dir: &Path, schedules: u64, json: bool, turn: bool, io: &mut Io<'_>) -> Exit {
    let search = steer::Search { first: 0, schedules: schedules.max(1), branches: 0 };
    let rows = match fidelity::measure(dir, search) {
        Ok(rows) => rows,
        Err(said) => {
            io.say(&format!("error: {said}\n"));
            return Exit::Rejected;
        }
    };
    if turn {
        let found = sabotage::sabotage(&rows);
        let recorded: Vec<_> = rows.iter().map(|r| (r.scenario.as_str(), r.best.release)).collect();
        io.print(&sabotage::report(&found, &recorded));
        return Exit::Fine;
    }
    for row in &rows {
        let score = row.best.score;
        if json {
            let line = json!({
                "v": 1, "type": "fidelity", "scenario": row.scenario, "release": row.best.release.to_string(),
                "objects": score.objects, "equal": score.equal(), "accepted": score.accepted, "unequal": score.unequal,
                "left": row.best.left.items, "left_equal": row.best.left.equal, "schedule": row.best.schedule,
            });
            io.print(&format!("{line}\n"));
        } else {
            io.print(&format!(
                "{:<24} {:<8} {:>4} objects {:>4} equal {:>3} accepted {:>3} unequal; {} of {} left as recorded\n",
                row.scenario,
                row.best.release.to_string(),
                score.objects,
                score.equal(),
                score.accepted,
                score.unequal,
                row.best.left.equal,
                row.best.left.items
            ));
        }
    }
    if !json {
        io.print(&format!("\n{}\n{}", fidelity::table(&rows), fidelity::reasons(&rows)));
    }
    if rows.iter().all(|r| r.best.score.unequal == 0) { Exit::Fine } else { Exit::Failed }
}
