//! Authentication of ServiceAccount tokens. A token is the identity of its account at issue; nothing is signed.

use std::sync::Arc;

use arc_api::core::ServiceAccount;
use arc_api::kube::{Identity, KubeOk, KubeReply, Reason, Status};
use arc_api::meta::Key;
use arc_api::{Duration, Kind, Time};

use crate::status::{self, Refusal};
use crate::store::Store;

/// A terminating account goes on authenticating for this long.
///
/// Source: kubernetes-api.md §6.3 (recorded: b_sa_token/0.14.2; until +58 s 200, from +62 s 401).
pub const TERMINATING_ACCOUNT_GRACE: Duration = Duration::from_secs(60);

/// 401 unless the account of the token is alive.
pub(crate) fn authenticate(store: &Store, who: &Identity, now: Time) -> Result<(), Refusal> {
    let Identity::ServiceAccount { account, uid } = who else { return Ok(()) };
    match store.typed::<ServiceAccount>(account) {
        Some(live)
            if live.metadata.uid == *uid
                && live.metadata.deletion_timestamp.is_none_or(|t| now <= t.after(TERMINATING_ACCOUNT_GRACE)) =>
        {
            Ok(())
        }
        _ => Err(Arc::new(Status::new(Reason::Unauthorized, "Unauthorized"))),
    }
}

/// Answers a TokenRequest: also for a terminating account, whose tokens are dead from the start.
pub(crate) fn issue(store: &Store, key: &Key) -> KubeReply {
    match store.typed::<ServiceAccount>(key) {
        Some(account) => Ok(KubeOk::Token { account: key.clone(), uid: account.metadata.uid }),
        None => Err(status::not_found(Kind::ServiceAccount, &key.name)),
    }
}
