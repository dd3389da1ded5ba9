//! The listener's `config.json`: what the controller writes into the config secret and the listener process reads. Never
//! fetches anything.
//!
//! Source: arc-controllers.md §6.2, Q-CONFIG-FORMAT-ORPHAN; members and their order of a_basic/0.9.1, a_basic/0.11.0
//! and a_basic/0.14.2.

use arc_api::service::Credentials;
use arc_api::{ScaleSetId, Str, format_smolstr};
use serde_json::{Value, json};

use crate::behaviour::ConfigFormat;

/// Key of the config secret that holds the text.
pub const KEY: &str = "config.json";

/// What a listener process is told.
#[derive(Clone, PartialEq, Debug)]
pub struct ListenerConfig {
    /// `githubConfigUrl`.
    pub configure_url: Str,
    /// What the GitHub secret held when the config was written.
    pub credentials: Credentials,
    /// The scale set to listen to.
    pub runner_scale_set_id: ScaleSetId,
    /// The AutoscalingRunnerSet's name.
    pub runner_scale_set_name: Str,
    /// Where the runner set lives.
    pub ephemeral_runner_set_namespace: Str,
    /// The runner set that is patched.
    pub ephemeral_runner_set_name: Str,
    /// Upper limit.
    pub max_runners: i32,
    /// Idle spares.
    pub min_runners: i32,
    /// Root CA of the server, PEM; empty for the system's.
    pub server_root_ca: Str,
    /// `listenerMetrics` (0.11.0 on).
    pub metrics: Option<Value>,
}

impl ListenerConfig {
    /// The text, in the keys of one generation of images.
    pub fn to_json(&self, format: ConfigFormat) -> Str {
        let (token, app_id, installation, key) = match &self.credentials {
            Credentials::Pat(token) => (token.as_str(), "", "", ""),
            Credentials::App { app_id, installation_id, private_key } => {
                ("", app_id.as_str(), installation_id.as_str(), private_key.as_str())
            }
        };
        let number = |text: &str| text.parse::<i64>().unwrap_or_default();
        let value = match format {
            ConfigFormat::Camel => json!({
                "configureUrl": self.configure_url,
                "appID": number(app_id),
                "appInstallationID": number(installation),
                "appPrivateKey": key,
                "token": token,
                "ephemeralRunnerSetNamespace": self.ephemeral_runner_set_namespace,
                "ephemeralRunnerSetName": self.ephemeral_runner_set_name,
                "maxRunners": self.max_runners,
                "minRunners": self.min_runners,
                "runnerScaleSetId": self.runner_scale_set_id,
                "runnerScaleSetName": self.runner_scale_set_name,
                "serverRootCA": self.server_root_ca,
                "logLevel": "debug",
                "logFormat": "text",
                "metricsAddr": "",
                "metricsEndpoint": "",
            }),
            ConfigFormat::SnakeWithoutPrefix => json!({
                "configure_url": self.configure_url,
                "app_id": number(app_id),
                "app_installation_id": number(installation),
                "app_private_key": key,
                "token": token,
                "ephemeral_runner_set_namespace": self.ephemeral_runner_set_namespace,
                "ephemeral_runner_set_name": self.ephemeral_runner_set_name,
                "max_runners": self.max_runners,
                "min_runners": self.min_runners,
                "runner_scale_set_id": self.runner_scale_set_id,
                "runner_scale_set_name": self.runner_scale_set_name,
                "server_root_ca": self.server_root_ca,
                "log_level": "debug",
                "log_format": "text",
                "metrics_addr": "",
                "metrics_endpoint": "",
                "metrics": self.metrics,
            }),
            ConfigFormat::Snake => json!({
                "configure_url": self.configure_url,
                "vault_type": "",
                "vault_lookup_key": "",
                "github_app_id": app_id,
                "github_app_installation_id": number(installation),
                "github_app_private_key": key,
                "github_token": token,
                "ephemeral_runner_set_namespace": self.ephemeral_runner_set_namespace,
                "ephemeral_runner_set_name": self.ephemeral_runner_set_name,
                "max_runners": self.max_runners,
                "min_runners": self.min_runners,
                "runner_scale_set_id": self.runner_scale_set_id,
                "runner_scale_set_name": self.runner_scale_set_name,
                "server_root_ca": self.server_root_ca,
                "log_level": "debug",
                "log_format": "text",
                "metrics_addr": "",
                "metrics_endpoint": "",
                "metrics": self.metrics,
            }),
        };
        value.to_string().into()
    }

    /// Reads the text as an image of one generation does: keys of the other generation are unknown to it and ignored.
    ///
    /// # Errors
    /// The line the listener logs before it exits. Keys of the wrong generation leave the URL empty (recorded:
    /// upgrade-from-0.9.3/0.14.2, Q-CONFIG-FORMAT-ORPHAN); wrong keys in the secret leave no credentials (c_token/0.14.2).
    pub fn from_json(text: &str, format: ConfigFormat) -> Result<ListenerConfig, Str> {
        let value: Value = serde_json::from_str(text)
            .map_err(|e| format_smolstr!("Failed to read config: failed to decode config: {e}"))?;
        let get = |old: &str, new: &str| match format {
            ConfigFormat::Camel => &value[old],
            ConfigFormat::SnakeWithoutPrefix => &value[new.trim_start_matches("github_")],
            ConfigFormat::Snake => &value[new],
        };
        let words = |old, new| get(old, new).as_str().map(Str::from).unwrap_or_default();
        let number = |old, new| get(old, new).as_i64().unwrap_or_default();
        let id = |v: &Value| match v {
            Value::Number(n) if n.as_i64() != Some(0) => Str::from(n.to_string()),
            Value::String(s) => Str::from(s.as_str()),
            _ => Str::default(),
        };
        let invalid = |why| format_smolstr!("Failed to read config: failed to validate config: {why}");
        let configure_url = words("configureUrl", "configure_url");
        if configure_url.is_empty() {
            return Err(invalid("GitHubConfigUrl is not provided"));
        }
        let token = words("token", "github_token");
        let app_id = id(get("appID", "github_app_id"));
        let installation_id = id(get("appInstallationID", "github_app_installation_id"));
        let private_key = words("appPrivateKey", "github_app_private_key");
        let app = [&app_id, &installation_id, &private_key].iter().filter(|v| !v.is_empty()).count();
        let credentials = match (token.is_empty(), app) {
            (false, 0) => Credentials::Pat(token),
            (true, 3) => Credentials::App { app_id, installation_id, private_key },
            (true, 0) => {
                return Err(invalid(
                    "no credentials provided: either a PAT or GitHub App credentials should be provided",
                ));
            }
            (false, _) => {
                return Err(invalid("both PAT and GitHub App credentials provided. should only provide one"));
            }
            (true, _) => return Err(invalid("GitHub App credentials are incomplete")),
        };
        let metrics = get("metrics", "metrics");
        Ok(ListenerConfig {
            configure_url,
            credentials,
            runner_scale_set_id: ScaleSetId(number("runnerScaleSetId", "runner_scale_set_id")),
            runner_scale_set_name: words("runnerScaleSetName", "runner_scale_set_name"),
            ephemeral_runner_set_namespace: words("ephemeralRunnerSetNamespace", "ephemeral_runner_set_namespace"),
            ephemeral_runner_set_name: words("ephemeralRunnerSetName", "ephemeral_runner_set_name"),
            max_runners: number("maxRunners", "max_runners") as i32,
            min_runners: number("minRunners", "min_runners") as i32,
            server_root_ca: words("serverRootCA", "server_root_ca"),
            metrics: (!metrics.is_null()).then(|| metrics.clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(credentials: Credentials) -> ListenerConfig {
        ListenerConfig {
            configure_url: "https://github.com/my-org".into(),
            credentials,
            runner_scale_set_id: ScaleSetId(7),
            runner_scale_set_name: "demo".into(),
            ephemeral_runner_set_namespace: "arc-runners".into(),
            ephemeral_runner_set_name: "demo-abcde".into(),
            max_runners: 3,
            min_runners: 1,
            server_root_ca: Str::default(),
            metrics: None,
        }
    }

    #[test]
    fn each_generation_reads_what_it_wrote() {
        let app = Credentials::App { app_id: "12".into(), installation_id: "34".into(), private_key: "key".into() };
        for credentials in [Credentials::Pat("pat".into()), app] {
            for format in [ConfigFormat::Camel, ConfigFormat::SnakeWithoutPrefix, ConfigFormat::Snake] {
                let config = config(credentials.clone());
                assert_eq!(ListenerConfig::from_json(&config.to_json(format), format), Ok(config));
            }
        }
    }

    #[test]
    fn an_image_of_the_other_generation_finds_no_url() {
        let text = config(Credentials::Pat("pat".into())).to_json(ConfigFormat::Snake);
        assert_eq!(
            ListenerConfig::from_json(&text, ConfigFormat::Camel),
            Err("Failed to read config: failed to validate config: GitHubConfigUrl is not provided".into())
        );
    }

    #[test]
    fn the_images_of_0_11_0_and_0_12_0_find_no_credentials_in_each_others_config() {
        for (wrote, reads) in [
            (ConfigFormat::Snake, ConfigFormat::SnakeWithoutPrefix),
            (ConfigFormat::SnakeWithoutPrefix, ConfigFormat::Snake),
        ] {
            let text = config(Credentials::Pat("pat".into())).to_json(wrote);
            let why = ListenerConfig::from_json(&text, reads).expect_err("no credentials");
            assert!(why.contains("no credentials provided: either a PAT"), "{why}");
        }
    }

    #[test]
    fn a_config_without_credentials_is_refused() {
        let text = config(Credentials::Pat(Str::default())).to_json(ConfigFormat::Snake);
        let why = ListenerConfig::from_json(&text, ConfigFormat::Snake).expect_err("no credentials");
        assert!(why.contains("no credentials provided: either a PAT"), "{why}");
    }
}
