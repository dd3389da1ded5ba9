//! What distinguishes one simulated API server from another: its Kubernetes minor version and a few sizes.
//! Never holds state.

use arc_api::Duration;

/// Settings of one API server.
///
/// Source: kubernetes-api.md §0.3 (version switches), §3.8 (watch history).
#[derive(Clone, PartialEq, Debug)]
pub struct ApiSettings {
    /// Kubernetes minor version, e.g. 34 for 1.34.
    pub minor: u32,
    /// Whether requests of ServiceAccounts are authorized; without it everything is allowed.
    pub rbac: bool,
    /// Seeds the suffixes of generated names.
    pub seed: u64,
    /// Distinguishes the identities (uids) of several clusters in one world.
    pub cluster: u16,
    /// Where the resource version counter starts: well above 1, so that "1" is too old (§2.2 item 5).
    pub first_resource_version: u64,
    /// Watch events younger than this are kept while there is room (75 s in the real watch cache).
    pub history_window: Duration,
    /// Watch events per kind that are kept whatever their age.
    pub history_min: usize,
    /// Watch events per kind that are kept at most.
    pub history_max: usize,
    /// The gate `ContainerRestartRules` (beta, on, from 1.35).
    pub container_restart_rules: bool,
}

impl Default for ApiSettings {
    fn default() -> ApiSettings {
        ApiSettings::version(34)
    }
}

impl ApiSettings {
    /// The defaults of Kubernetes 1.`minor`.
    pub fn version(minor: u32) -> ApiSettings {
        ApiSettings {
            minor,
            rbac: true,
            seed: 0,
            cluster: 0,
            first_resource_version: 256,
            history_window: Duration::from_secs(75),
            history_min: 100,
            history_max: 102_400,
            container_restart_rules: minor >= 35,
        }
    }
    /// How often a generated name that is taken is drawn again (8 tries in all from 1.31 on).
    pub(crate) const fn name_tries(&self) -> u32 {
        if self.minor >= 31 { 8 } else { 1 }
    }
    /// Whether pods have a `metadata.generation`.
    pub(crate) const fn pod_generation(&self) -> bool {
        self.minor >= 33
    }
}
