//! Whole lives of pods, from creation to the last DELETE, as watchers see them.

mod rig;

use arc_api::Duration;
use arc_api::kube::DeleteOptions;
use arc_api::{Kind, Time};
use fake_kube::cluster::ClusterSettings;
use rig::{Rig, pod};

#[test]
fn a_runner_lives_as_recorded() {
    // golden/arc/a_basic/0.14.2: Pending creating, Running, Succeeded; then ARC deletes the finished pod.
    let mut rig = Rig::new(ClusterSettings::default());
    rig.behave("runner", |b| b.exits = Some((Duration::from_secs(3), 0)));
    rig.create(pod("p", &["runner"], |_| {}));
    rig.secs(10);
    rig.delete(Kind::Pod, "default", "p", DeleteOptions::default()).expect("deleted");
    rig.secs(1);
    assert_eq!(
        rig.life("p"),
        [
            "Pending",
            "Pending runner:ContainerCreating",
            "Running runner:running",
            "Succeeded runner:Completed(0)",
            "gone"
        ]
    );
    assert_eq!(rig.next(), Time::NEVER);
}
