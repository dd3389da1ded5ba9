//! The version gate: which version labels a controller accepts. Never deletes; the pass does.
//!
//! Source: arc-controllers.md §1.6 (apis/actions.github.com/v1alpha1/version.go), recorded in d_version_gate of every release.

use arc_api::crd::AutoscalingRunnerSet;

use crate::behaviour::VersionGate;
use crate::labels::VERSION;
use crate::reconcile::Settings;

/// Whether the gate lets the set through; [`VersionGate::Report`] lets everything through.
pub(super) fn is_accepted(ars: &AutoscalingRunnerSet, settings: &Settings) -> bool {
    let label = label_of(ars);
    let build = settings.version.as_str();
    if build == "dev" || build == label || build.starts_with("canary-") {
        return true;
    }
    match settings.behaviour.ars_version_gate {
        VersionGate::Exact => false,
        VersionGate::Minor => same_minor(build, label),
        VersionGate::Report => true,
    }
}

/// Whether the corrected controller reports a skew: it would not have been accepted by the minor rule. A build without a
/// number (a development build) matches everything.
pub(super) fn is_skewed(ars: &AutoscalingRunnerSet, settings: &Settings) -> bool {
    let build = settings.version.as_str();
    settings.behaviour.ars_version_gate == VersionGate::Report
        && parse(build).is_some()
        && build != label_of(ars)
        && !same_minor(build, label_of(ars))
}

pub(super) fn label_of(ars: &AutoscalingRunnerSet) -> &str {
    ars.metadata.label(VERSION).map_or("", |v| v.as_str())
}

fn same_minor(build: &str, label: &str) -> bool {
    matches!((parse(build), parse(label)), (Some(a), Some(b)) if a == b)
}

/// Major and minor of `MAJOR.MINOR[.PATCH…]`: plain decimals without leading zeros; whatever follows the third number's
/// digits is ignored, a patch that has none is not.
fn parse(version: &str) -> Option<(u32, u32)> {
    let number = |text: &str| {
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        (plain && (text == "0" || !text.starts_with('0'))).then(|| text.parse().ok()).flatten()
    };
    let mut parts = version.splitn(3, '.');
    let (major, minor) = (number(parts.next()?)?, number(parts.next()?)?);
    if let Some(patch) = parts.next() {
        let digits = patch.find(|c: char| !c.is_ascii_digit()).map_or(patch, |end| &patch[..end]);
        number(digits)?;
    }
    Some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_after_the_third_number_is_ignored_and_nothing_else_is_forgiven() {
        for good in ["0.14.2", "0.14", "0.14.9", "0.14.2-rc.1", "0.14.2.1", "0.14.3+7"] {
            assert!(same_minor("0.14.2", good), "{good}");
        }
        for bad in ["", "0", "0.13.2", "1.14.2", "v0.14.2", "0.014.2", "0.14-rc1", "latest", "dev", "canary-abc"] {
            assert!(!same_minor("0.14.2", bad), "{bad}");
        }
    }
}
