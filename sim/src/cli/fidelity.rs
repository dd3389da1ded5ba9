//! `arc-sim fidelity`: what a comparison with all recordings comes to. Never decides what is equal.

use std::path::Path;

use serde_json::json;

use super::Io;
use crate::conform::{fidelity, steer};
use crate::exit::Exit;

pub(super) fn fidelity(dir: &Path, schedules: u64, json: bool, io: &mut Io<'_>) -> Exit {
    let search = steer::Search { first: 0, schedules: schedules.max(1), branches: 0 };
    let rows = match fidelity::measure(dir, search) {
        Ok(rows) => rows,
        Err(said) => {
            io.say(&format!("error: {said}\n"));
            return Exit::Rejected;
        }
    };
    for row in &rows {
        let score = row.best.score;
        if json {
            let line = json!({
                "v": 1, "type": "fidelity", "scenario": row.scenario, "release": row.best.release.to_string(),
                "objects": score.objects, "equal": score.equal(), "accepted": score.accepted, "unequal": score.unequal,
                "seed": row.best.schedule.seed, "tempo": row.best.schedule.tempo,
                "follow": row.best.schedule.follow,
            });
            io.print(&format!("{line}\n"));
        } else {
            io.print(&format!(
                "{:<24} {:<8} {:>4} objects {:>4} equal {:>3} accepted {:>3} unequal  {{ seed: {}, tempo: {}, follow: {} }}\n",
                row.scenario,
                row.best.release.to_string(),
                score.objects,
                score.equal(),
                score.accepted,
                score.unequal,
                row.best.schedule.seed,
                row.best.schedule.tempo,
                row.best.schedule.follow
            ));
        }
    }
    if !json {
        io.print(&format!("\n{}", fidelity::table(&rows)));
    }
    if rows.iter().all(|r| r.best.score.unequal == 0) { Exit::Fine } else { Exit::Failed }
}
