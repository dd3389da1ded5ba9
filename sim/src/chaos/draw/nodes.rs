//! Draws faults of nodes, pods, containers and volumes. Never decides when.

use arc_api::format_smolstr;

use super::super::draws::Draws;
use super::Shape;
use crate::plan::fault::*;
use crate::plan::{Fault, Glob};

pub(super) fn draw(id: &str, d: &mut Draws, shape: &Shape<'_>) -> Option<Fault> {
    let dind = shape.has_dind();
    Some(match id {
        "node_fault" => Fault::NodeFault(NodeFault {
            mode: d.one(&[NodeMode::Drain, NodeMode::PressureEviction, NodeMode::PowerOff, NodeMode::Vanish]),
            target: format_smolstr!("n{}", d.between(1, shape.nodes)),
            grace: d.one(&[None, None, Some(crate::plan::Dur::secs(5))]),
            before_status: d.one_in(4),
            object_removed_after: None,
            returns_after: None,
        }),
        "pod_reject" => Fault::PodReject(PodReject {
            reason: d.one(&[RejectReason::OutOfPods, RejectReason::OutOfCpu, RejectReason::OutOfMemory]),
            target: d.one(&[PodTarget::Runner, PodTarget::Runner, PodTarget::Listener]),
            probability: d.share(),
            count: Some(d.count(5)),
            scale_set: shape.some_set(d),
        }),
        "pod_delay" => Fault::PodDelay(PodDelay {
            mode: d.one(&[PodDelayMode::Unschedulable, PodDelayMode::SlowStart, PodDelayMode::ImagePullError]),
            by: Some(d.varying(500, 90_000)),
            target: d.one(&[PodTarget::Runner, PodTarget::Runner, PodTarget::Listener]),
            probability: d.share(),
            count: Some(d.count(8)),
            scale_set: shape.some_set(d),
        }),
        "init_fail" if dind => Fault::InitFail(InitFail {
            mode: d.one(&[InitMode::StartError, InitMode::Exit, InitMode::NeverCompletes]),
            code: Some(1),
            container: Glob::default(),
            probability: d.share(),
            count: Some(d.count(4)),
            scale_set: None,
        }),
        "container_exit" => {
            let target = d.one(&[
                ContainerTarget::Runner,
                ContainerTarget::Runner,
                ContainerTarget::Listener,
                ContainerTarget::Controller,
            ]);
            let phase = d.one(&[
                None,
                Some(ExitPhase::BeforeConnect),
                Some(ExitPhase::BeforeJob),
                Some(ExitPhase::MidJob),
                Some(ExitPhase::AfterJob),
            ]);
            Fault::ContainerExit(ContainerExit {
                target,
                code: d.one(&[1, 0, 2, 137, 7]),
                reason: d.one(&[ExitReason::Error, ExitReason::Error, ExitReason::OomKilled]),
                phase: phase.filter(|_| target == ContainerTarget::Runner),
                after: d.delay(0, 20),
                times: Some(d.count(5)),
                probability: d.share(),
                pod: Glob::default(),
                scale_set: None,
            })
        }
        "sidecar_fault" if dind || shape.injected => {
            let of = if dind { SidecarTarget::Dind } else { SidecarTarget::Injected };
            let modes: &[SidecarMode] = match of {
                SidecarTarget::Dind => &[SidecarMode::ReadyDelay, SidecarMode::CrashAtStart, SidecarMode::CrashMidJob],
                SidecarTarget::Injected => {
                    &[SidecarMode::CrashAtStart, SidecarMode::CrashMidJob, SidecarMode::OutlivesMain]
                }
            };
            Fault::SidecarFault(SidecarFault {
                target: of,
                mode: d.one(modes),
                delay: Some(d.varying(100, 40_000)),
                code: d.one(&[137, 1]),
                probability: d.share(),
                count: Some(d.count(4)),
                scale_set: None,
            })
        }
        "volume_fault" if shape.has(|m| m == crate::plan::world::ContainerMode::Kubernetes) => {
            Fault::VolumeFault(VolumeFault {
                mode: VolumeMode::SlowAttach,
                by: Some(d.varying(500, 60_000)),
                target: d.one(&[PodTarget::Runner, PodTarget::Workflow]),
                probability: d.share(),
                scale_set: None,
            })
        }
        "exec_cut" if shape.has_hooks() => Fault::ExecCut(ExecCut {
            mode: d.one(&[ExecMode::CleanClose, ExecMode::Reset]),
            after_idle: d.one(&[None, Some(crate::plan::Dur::secs(10))]),
            count: Some(d.count(3)),
            scale_set: None,
        }),
        _ => return None,
    })
}
