//! What a person reads when a world breaks a promise: the real engine, the five field failures, every promise demanded.
//!
//! The snapshots hold what was violated, by what, when, which objects, and the causal chain.
#![allow(clippy::expect_used)]

use std::path::Path;

use arc_sim::cli::main_with;
use arc_sim::exit::Exit;
use arc_sim::report::engine;

/// Runs a field failure as if it were expected to be none.
fn finding(scenario: &str, release: &str) -> String {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("finding-{scenario}"));
    let _ = std::fs::remove_dir_all(&scratch);
    std::fs::create_dir_all(&scratch).expect("a scratch directory");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../scenarios/field/{scenario}.yaml"));
    let text = std::fs::read_to_string(source).expect("a field scenario");
    let (world, _) = text.split_once("\nexpect:").expect("field scenarios expect something");
    let file = scratch.join("demanding.yaml");
    std::fs::write(&file, format!("{world}\nexpect:\n  {release}: {{ holds: all }}\n")).expect("written");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let (file, plans) = (file.display().to_string(), scratch.join("out").display().to_string());
    let args = ["arc-sim", "run", &file, "--arc", release, "--out", &plans].map(Into::into);
    let exit = main_with(args, &engine::run, &mut out, &mut err, false);
    assert_eq!(exit, Exit::Failed, "{}", String::from_utf8_lossy(&err));
    String::from_utf8_lossy(&out).replace(&scratch.display().to_string(), "DIR")
}

#[test]
fn a_listener_locked_out_by_its_own_session() {
    insta::assert_snapshot!("listener-session-conflict", finding("listener-session-conflict", "0.9.3"));
}

#[test]
fn a_set_deleted_by_the_old_controller() {
    insta::assert_snapshot!("upgrade-finalizer-not-found", finding("upgrade-finalizer-not-found", "0.9.1"));
}

#[test]
fn a_hook_whose_account_is_terminating() {
    insta::assert_snapshot!("kube-mode-hook-forbidden", finding("kube-mode-hook-forbidden", "0.12.1"));
}

#[test]
fn a_template_that_the_api_server_refuses() {
    insta::assert_snapshot!("invalid-init-restart-policy", finding("invalid-init-restart-policy", "0.9.3"));
}

#[test]
fn a_docker_daemon_that_is_not_there_yet() {
    insta::assert_snapshot!("dind-socket-not-ready", finding("dind-socket-not-ready", "0.9.3"));
}
