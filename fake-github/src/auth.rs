//! Who may ask: credentials, the three bootstrap steps, and the lives of tokens (actions-service.md §1).
//!
//! Tokens are counters with a record. Their expiry is looked at when they are used, so it costs no timer.

use std::sync::Arc;

use arc_api::service::{Auth, Credentials, ServiceOk, ServiceReply};
use arc_api::{Duration, RunnerId, ScaleSetId, SessionId, Str, Time, Token};

use crate::error::{Refusal, Why, refuse, refused};
use crate::event::{ServiceEvent, TokenKind};
use crate::state::GitHub;

/// What the service knows of a token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenRecord {
    pub(crate) token: Token,
    pub(crate) kind: TokenKind,
    pub(crate) tenant: u32,
    /// Session or runner it belongs to; for bootstrap and admin tokens the number of the credential, 0 if none.
    pub(crate) subject: u64,
    pub(crate) usable_from: Time,
    pub(crate) expires: Time,
    pub(crate) is_revoked: bool,
}

/// Whether a credential works.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CredentialState {
    /// It does.
    #[default]
    Valid,
    /// It was withdrawn.
    Revoked,
    /// Its time is over.
    Expired,
    /// Nobody ever issued it.
    NeverExisted,
    /// It is good, but not for managing runners of this scope.
    WrongScope,
}

/// What the world says about one credential at one tenant (or everywhere).
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    credentials: Arc<Credentials>,
    tenant: Option<u32>,
    state: CredentialState,
}

/// `https://github.com/my-org` → `my-org`; scheme, host, outer slashes and case do not matter (§1.1).
pub fn tenant_path(url: &str) -> Str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
    Str::from(rest.trim_matches('/').to_ascii_lowercase())
}

impl GitHub {
    /// Says whether a credential works at a tenant (`None`: at every tenant that has no statement of its own).
    pub fn set_credential(&mut self, tenant: Option<&str>, credentials: &Arc<Credentials>, state: CredentialState) {
        let tenant = tenant.map(|path| self.tenant_of(path));
        let standings = Arc::make_mut(&mut self.standings);
        match standings.iter_mut().find(|s| s.tenant == tenant && s.credentials == *credentials) {
            Some(standing) => standing.state = state,
            None => standings.push(Standing { credentials: Arc::clone(credentials), tenant, state }),
        }
    }

    fn standing(&self, credentials: &Credentials, tenant: Option<u32>) -> CredentialState {
        let known = || self.standings.iter().filter(|s| *s.credentials == *credentials);
        let stated = match tenant {
            Some(_) => known().find(|s| s.tenant == tenant).or_else(|| known().find(|s| s.tenant.is_none())),
            // An App is asked for before its tenant is known: it works if it works anywhere.
            None => known().find(|s| s.state == CredentialState::Valid).or_else(|| known().next()),
        };
        match stated {
            Some(standing) => standing.state,
            None if self.settings.strict_credentials => CredentialState::NeverExisted,
            None => CredentialState::Valid,
        }
    }

    /// The number of a credential, from 1 on.
    pub(crate) fn credential(&mut self, credentials: &Arc<Credentials>) -> u64 {
        match self.credentials.iter().position(|known| known == credentials) {
            Some(at) => at as u64 + 1,
            None => {
                Arc::make_mut(&mut self.credentials).push(Arc::clone(credentials));
                self.credentials.len() as u64
            }
        }
    }

    pub(crate) fn issue(
        &mut self,
        kind: TokenKind,
        tenant: u32,
        subject: u64,
        now: Time,
        ttl: Duration,
    ) -> (Token, Time) {
        let token = Token(self.next.token);
        self.next.token += 1;
        let expires = now.after(ttl);
        let record = TokenRecord { token, kind, tenant, subject, usable_from: now, expires, is_revoked: false };
        self.tokens.insert(token.0, record);
        self.emit(ServiceEvent::TokenIssued { token, kind, expires });
        (token, expires)
    }

    fn live_token(&self, token: Token, kind: TokenKind, now: Time) -> Option<&TokenRecord> {
        let record = self.tokens.get(token.0)?;
        let is_live = record.kind == kind && !record.is_revoked && record.usable_from <= now && now < record.expires;
        is_live.then_some(record)
    }

    /// Step A.
    pub(crate) fn access_token(&mut self, auth: &Auth, now: Time) -> ServiceReply {
        let Auth::Secret(credentials) = auth else { return refused(&Why::BadCredentials) };
        let Credentials::App { .. } = **credentials else { return refused(&Why::BadCredentials) };
        check(self.standing(credentials, None), &Why::NotFound)?;
        let subject = self.credential(credentials);
        let ttl = self.settings.profile.installation_ttl;
        // Differs: an installation belongs to one account; which one shows only at step B, so the token has no tenant.
        Ok(ServiceOk::Token(self.issue(TokenKind::Installation, u32::MAX, subject, now, ttl).0))
    }

    /// Step B.
    pub(crate) fn registration_token(&mut self, auth: &Auth, url: &str, now: Time) -> ServiceReply {
        let tenant = self.tenant_of(&tenant_path(url));
        let subject = match auth {
            Auth::Secret(credentials) if matches!(**credentials, Credentials::Pat(_)) => self.credential(credentials),
            Auth::Installation(token) => match self.live_token(*token, TokenKind::Installation, now) {
                Some(record) => record.subject,
                None => return refused(&Why::BadCredentials),
            },
            _ => return refused(&Why::BadCredentials),
        };
        check(self.standing(&self.credentials[subject as usize - 1], Some(tenant)), &Why::BadCredentials)?;
        let (ttl, lag) = (self.tenant(tenant).profile.registration_ttl, self.tenant(tenant).profile.registration_lag);
        let (token, _) = self.issue(TokenKind::Registration, tenant, subject, now, ttl);
        if let Some(record) = self.tokens.get_mut(token.0) {
            record.usable_from = now.after(lag);
        }
        Ok(ServiceOk::Token(token))
    }

    /// Step C. The token is asked first, the body second, as a server behind an authenticating proxy does.
    pub(crate) fn runner_registration(&mut self, auth: &Auth, url: &str, has_body: bool, now: Time) -> ServiceReply {
        let tenant = self.tenant_of(&tenant_path(url));
        let Auth::Registration(token) = auth else { return refused(&Why::RegistrationToken) };
        let subject = match self.live_token(*token, TokenKind::Registration, now) {
            Some(record) if record.tenant == tenant => record.subject,
            _ => return refused(&Why::RegistrationToken),
        };
        let profile = &self.tenant(tenant).profile;
        if !has_body && profile.empty_registration_status != 0 {
            return refused(&Why::EmptyRegistration(profile.empty_registration_status));
        }
        let (token, expires) = self.issue(TokenKind::Admin, tenant, subject, now, profile.admin_ttl);
        Ok(ServiceOk::Admin { token, expires })
    }

    /// The tenant of an admin call.
    pub(crate) fn admin(&self, auth: &Auth, now: Time) -> Result<u32, Refusal> {
        match auth {
            Auth::Admin(token) => self.live_token(*token, TokenKind::Admin, now).map(|record| record.tenant),
            _ => None,
        }
        .ok_or_else(|| refuse(&Why::BadToken))
    }

    /// The session of a queue call, if its token and it are alive.
    pub(crate) fn queue(&self, auth: &Auth, id: ScaleSetId, now: Time) -> Result<SessionId, Refusal> {
        let Auth::Queue(token) = auth else { return Err(refuse(&Why::BadToken)) };
        // Nobody acts for a ghost, least of all the owner that closed it.
        let session =
            self.session_of(id).filter(|session| !session.is_ghost).map_or(SessionId(0), |session| session.id);
        match self.live_token(*token, TokenKind::Queue, now) {
            Some(record) if session.0 != 0 && record.subject == session.0 => Ok(session),
            _ => Err(refuse(&Why::BadToken)),
        }
    }

    /// The runner of a JIT configuration, whatever became of it.
    pub(crate) fn runner_of_jit(&self, jit: Token) -> Option<RunnerId> {
        let record = self.tokens.get(jit.0).filter(|record| record.kind == TokenKind::Jit && !record.is_revoked)?;
        Some(RunnerId(record.subject as i64))
    }

    /// The runner of a runner call, whatever became of it.
    pub(crate) fn runner_of_token(&self, auth: &Auth) -> Option<(RunnerId, Token)> {
        let Auth::Runner(token) = auth else { return None };
        let record = self.tokens.get(token.0).filter(|record| record.kind == TokenKind::Runner)?;
        Some((RunnerId(record.subject as i64), *token))
    }

    /// Makes every live token of a kind worthless now, at one tenant or everywhere. Returns how many there were.
    pub fn revoke_tokens(&mut self, tenant: Option<&str>, kind: TokenKind, now: Time) -> usize {
        let tenant = match tenant.map(|path| self.find_tenant(path)) {
            Some(None) => return 0,
            Some(found) => found,
            None => None,
        };
        let is_meant = |record: &&TokenRecord| {
            record.kind == kind
                && !record.is_revoked
                && now < record.expires
                && tenant.is_none_or(|t| t == record.tenant)
        };
        let tokens: Vec<Token> = self.tokens.iter().filter(is_meant).map(|record| record.token).collect();
        tokens.iter().for_each(|token| self.revoke_token(*token));
        tokens.len()
    }

    /// Makes one token worthless.
    pub fn revoke_token(&mut self, token: Token) {
        if let Some(record) = self.tokens.get_mut(token.0) {
            record.is_revoked = true;
            let kind = record.kind;
            self.emit(ServiceEvent::TokenRevoked { token, kind });
        }
    }

    /// Moves the end of a token's life, wherever it was.
    pub fn set_token_expiry(&mut self, token: Token, expires: Time) {
        if let Some(record) = self.tokens.get_mut(token.0) {
            record.expires = expires;
        }
    }
}

fn check(state: CredentialState, unknown: &Why) -> Result<(), Refusal> {
    match state {
        CredentialState::Valid => Ok(()),
        CredentialState::Revoked | CredentialState::Expired => Err(refuse(&Why::BadCredentials)),
        CredentialState::NeverExisted => Err(refuse(unknown)),
        CredentialState::WrongScope => Err(refuse(&Why::WrongScope)),
    }
}
