//! Who gets in: credentials, tokens and their ends, refused runner versions, rate limits (actions-service.md §1).

mod common;

use std::sync::Arc;

use arc_api::service::*;
use arc_api::*;
use common::*;
use fake_github::*;

fn pat(text: &str) -> Arc<Credentials> {
    Arc::new(Credentials::Pat(text.into()))
}

fn fired(w: &mut World, rule: RuleId) -> usize {
    w.events().iter().filter(|event| **event == ServiceEvent::FaultFired { rule }).count()
}

fn bootstrap(w: &mut World, credentials: &Arc<Credentials>, url: &str) -> Result<Token, (u16, String)> {
    let said = |error: Arc<ServiceError>| (error.status, error.message.to_string());
    let auth = match **credentials {
        Credentials::Pat(_) => Auth::Secret(Arc::clone(credentials)),
        Credentials::App { .. } => {
            match w.call(Auth::Secret(Arc::clone(credentials)), Op::AccessToken).map_err(said)? {
                ServiceOk::Token(token) => Auth::Installation(token),
                other => panic!("{other:?}"),
            }
        }
    };
    let ServiceOk::Token(token) = w.call(auth, Op::RegistrationToken { url: url.into() }).map_err(said)? else {
        panic!()
    };
    let op = Op::RunnerRegistration { url: url.into(), has_body: true };
    match w.call(Auth::Registration(token), op).map_err(said)? {
        ServiceOk::Admin { token, .. } => Ok(token),
        other => panic!("{other:?}"),
    }
}

#[test]
fn credentials_are_what_the_world_says_they_are_per_organisation() {
    let mut w = World::of(Personality::Broker);
    let (good, bad) = (pat("good"), pat("bad"));
    assert!(bootstrap(&mut w, &good, URL).is_ok());
    for (state, status, text) in [
        (CredentialState::Revoked, 401, "Bad credentials"),
        (CredentialState::Expired, 401, "Bad credentials"),
        (CredentialState::NeverExisted, 401, "Bad credentials"),
        (CredentialState::WrongScope, 403, "Resource not accessible by personal access token"),
    ] {
        w.github.set_credential(Some("My-Org"), &bad, state);
        assert_eq!(bootstrap(&mut w, &bad, URL), Err((status, text.to_string())));
        assert!(bootstrap(&mut w, &bad, "https://github.com/other").is_ok(), "only this organisation");
    }
    let admin = bootstrap(&mut w, &good, URL).expect("valid");
    w.github.set_credential(None, &good, CredentialState::Revoked);
    assert!(
        w.call(Auth::Admin(admin), Op::GetRunner(RunnerId(1))).is_err_and(|e| e.status == 404),
        "issued tokens live on"
    );
    let app = |key: &str| {
        let private_key = key.into();
        Arc::new(Credentials::App { app_id: "1".into(), installation_id: "2".into(), private_key })
    };
    assert!(bootstrap(&mut w, &app("key"), URL).is_ok());
    w.github.set_credential(None, &app("old"), CredentialState::NeverExisted);
    assert_eq!(bootstrap(&mut w, &app("old"), URL), Err((404, "Not Found".into())));
    let mut strict = World { github: GitHub::new(Settings { strict_credentials: true, ..Settings::default() }), ..w };
    assert_eq!(bootstrap(&mut strict, &pat("x"), URL).map_err(|e| e.0).err(), Some(401));
    strict.github.set_credential(Some(ORG), &pat("x"), CredentialState::Valid);
    assert!(bootstrap(&mut strict, &pat("x"), URL).is_ok());
}

#[test]
fn tokens_end_by_age_by_revocation_and_where_the_protocol_is_told_to_break() {
    let mut w = World::of(Personality::AcquireRequired);
    w.github.tune(None, |profile| {
        profile.admin_ttl = Duration::from_secs(120);
        profile.registration_lag = Duration::from_secs(5);
    });
    let set = w.create("linux");
    let auth = Auth::Secret(pat("p"));
    let Ok(ServiceOk::Token(token)) = w.call(auth, Op::RegistrationToken { url: URL.into() }) else { panic!() };
    let step_c = |w: &mut World, has_body| {
        w.call(Auth::Registration(token), Op::RunnerRegistration { url: URL.into(), has_body })
    };
    let refused = "The registration token is not valid.";
    check_refused(step_c(&mut w, true), 401, Exception::InvalidToken, refused);
    w.wait(5.0);
    check_refused(step_c(&mut w, false), 422, Exception::None, "Validation Failed");
    let Ok(ServiceOk::Admin { token: admin, expires }) = step_c(&mut w, true) else { panic!() };
    assert_eq!(expires, w.now.after(Duration::from_secs(120)));
    w.github.tune(None, |profile| profile.empty_registration_status = 0);
    assert!(step_c(&mut w, false).is_ok());
    let other = Op::RunnerRegistration { url: "https://github.com/other".into(), has_body: true };
    check_refused(w.call(Auth::Registration(token), other), 401, Exception::InvalidToken, refused);
    w.wait(119.9);
    assert!(w.call(Auth::Admin(admin), Op::GetScaleSetById(set)).is_ok());
    w.wait(0.2);
    assert!(w.call(Auth::Admin(admin), Op::GetScaleSetById(set)).is_err_and(|e| e.status == 401));

    let held = w.listen(set);
    let job = w.job("linux");
    let message = w.message(held, 0);
    for point in [ExpiryPoint::Acknowledge, ExpiryPoint::Acquire, ExpiryPoint::Poll] {
        let queue = match w.admin(Op::RefreshSession { id: set, session: held.session }) {
            Ok(ServiceOk::Session(session)) => session.queue_token,
            other => panic!("{other:?}"),
        };
        let held = Held { queue, ..held };
        w.github.expire_token_at(set, point);
        let refused = match point {
            ExpiryPoint::Acknowledge => w.delete_message(held, message.id),
            ExpiryPoint::Acquire => w.acquire(held, &[1001]),
            _ => w.poll_through(held, 0, 5),
        };
        assert!(refused.is_err_and(|e| e.status == 401), "{point:?}");
    }
    assert_eq!(w.github.job(job).map(|job| job.state), Some(JobState::Available), "a refused acquire acquires nothing");
    assert_eq!(w.github.scale_set(set).map(|set| set.undeleted_messages().count()), Some(1));
    w.github.expire_token_at(set, ExpiryPoint::Refresh);
    let refused = w.admin(Op::RefreshSession { id: set, session: held.session });
    assert!(refused.is_err_and(|e| e.status == 401));
    w.admin = w.github.issue_admin_token(ORG, w.now);
    assert!(w.github.revoke_tokens(Some(ORG), TokenKind::Queue, w.now) >= 1);
    assert!(w.github.revoke_tokens(None, TokenKind::Admin, w.now) >= 1);
    assert_eq!(w.github.revoke_tokens(Some("nobody"), TokenKind::Admin, w.now), 0);
    assert!(w.admin(Op::GetScaleSetById(set)).is_err_and(|e| e.status == 401));
}

#[test]
fn refused_versions_are_refused_at_connect_and_at_every_poll() {
    let mut w = World::of(Personality::Broker);
    let set = w.create("linux");
    let (_, jit) = w.register(set, "r1");
    let token = w.connect(jit);
    let rule = w.github.reject_version(VersionRule::Below("2.340.0".into()));
    let text = "Runner version v2.336.0 is deprecated and cannot receive messages.";
    check_refused(w.runner_poll(token), 403, Exception::RunnerVersionTooOld, text);
    let (_, jit) = w.register(set, "r2");
    check_refused(w.try_connect(jit), 403, Exception::RunnerVersionTooOld, text);
    assert_eq!(fired(&mut w, rule), 2);
    w.github.remove_rule(rule);
    w.connect(jit);
    w.github.reject_version(VersionRule::Exactly("2.335.0".into()));
    assert_eq!(w.runner_poll(token), Ok(ServiceOk::Nothing));
    w.github.reject_version(VersionRule::All);
    assert!(w.runner_poll(token).is_err());
}

#[test]
fn a_rate_limit_is_a_bucket_that_refills_and_each_organisation_has_its_own() {
    let mut w = World::of(Personality::Broker);
    let ops = OpSet::named(["registration_token", "generate_jit"]).expect("known");
    assert_eq!(OpSet::named(["nonsense"]), None);
    let limit =
        RateLimit { retry_after: Some(60), ..RateLimit::new(ops, LimitKey::Tenant, 30, Duration::from_secs(60)) };
    let rule = w.github.limit_rate(limit);
    let ask = |w: &mut World, url: &str| {
        w.call(Auth::Secret(pat("p")), Op::RegistrationToken { url: url.into() }).map_err(|e| (e.status, e.retry_after))
    };
    for _ in 0..30 {
        assert!(ask(&mut w, URL).is_ok());
    }
    assert_eq!(ask(&mut w, URL), Err((429, Some(60))));
    w.github.tune(Some("other"), |_| {});
    assert!(ask(&mut w, "https://github.com/other").is_ok(), "tenants do not starve each other");
    w.wait(1.9);
    assert!(ask(&mut w, URL).is_err());
    w.wait(0.1);
    assert!(ask(&mut w, URL).is_ok(), "one every two seconds");
    assert!(ask(&mut w, URL).is_err());
    w.create("linux");
    assert_eq!(fired(&mut w, rule), 3);
    w.github.remove_rule(rule);
    assert!(ask(&mut w, URL).is_ok());
    let key = LimitKey::Credential;
    w.github.limit_rate(RateLimit { status: 403, ..RateLimit::new(OpSet::ALL, key, 3, Duration::from_secs(3600)) });
    assert!(
        bootstrap(&mut w, &pat("a"), URL)
            .is_ok_and(|admin| w.call(Auth::Admin(admin), Op::GetRunner(RunnerId(1))).is_err_and(|e| e.status == 404))
    );
    assert_eq!(bootstrap(&mut w, &pat("a"), URL).map_err(|e| e.0), Err(403), "one budget through all its tokens");
    assert!(bootstrap(&mut w, &pat("b"), URL).is_ok());
}
