//! From the GitHub secret to the key of a service client. Reads a Secret that somebody else fetched; never fetches.

use std::sync::Arc;

use arc_api::Str;
use arc_api::core::Secret;
use arc_api::service::Credentials;

use crate::call::ClientKey;

/// Reads the credentials of a GitHub secret.
///
/// # Errors
/// The text ARC logs when the secret holds neither a token nor a complete App, or both.
/// Source: arc-controllers.md §2.6.
pub fn credentials(secret: &Secret) -> Result<Credentials, Str> {
    let value = |key: &str| secret.data.get(key).filter(|v| !v.is_empty()).cloned();
    let app = (value("github_app_id"), value("github_app_installation_id"), value("github_app_private_key"));
    match (value("github_token"), app) {
        (Some(token), (None, None, None)) => Ok(Credentials::Pat(token)),
        (None, (Some(app_id), Some(installation_id), Some(private_key))) => {
            Ok(Credentials::App { app_id, installation_id, private_key })
        }
        (None, (None, None, None)) => {
            Err("no credentials provided. either a PAT or GitHub App credentials should be provided".into())
        }
        (Some(_), _) => Err("both PAT and GitHub App credentials provided. should only provide one".into()),
        (None, _) => Err("GitHub App credentials are incomplete".into()),
    }
}

/// The client that an object's service calls go through.
///
/// # Errors
/// As [`credentials`].
pub fn client_key(url: &Str, secret: &Secret) -> Result<Arc<ClientKey>, Str> {
    Ok(Arc::new(ClientKey {
        url: url.clone(),
        namespace: secret.metadata.namespace.clone(),
        credentials: Arc::new(credentials(secret)?),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arc_api::meta::labels;

    fn secret(pairs: &[(&str, &str)]) -> Secret {
        Secret { data: labels(pairs.iter().copied()), ..Secret::default() }
    }

    #[test]
    fn exactly_one_kind_of_credentials_is_accepted() {
        assert_eq!(credentials(&secret(&[("github_token", "pat")])), Ok(Credentials::Pat("pat".into())));
        assert!(credentials(&secret(&[])).is_err());
        assert!(credentials(&secret(&[("wrong", "x")])).is_err());
        assert!(credentials(&secret(&[("github_token", "pat"), ("github_app_id", "1")])).is_err());
        assert!(credentials(&secret(&[("github_app_id", "1")])).is_err());
    }
}
