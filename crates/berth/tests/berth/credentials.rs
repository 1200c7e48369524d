//! Credentials go to the host that they were given for, and nowhere else.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;

use berth_testkit::process::{output, run_failing};
use tempfile::TempDir;

use crate::support::{Registry, berth, machine_address};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// `root:top-secret` in Base64.
const BASIC: &str = "Basic cm9vdDp0b3Atc2VjcmV0";

fn home() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// `berth inspect` of an image of the registry.
fn inspect(home: &TempDir, registry: &Registry) -> Command {
    let mut command = berth(home.path());
    command.arg("inspect").arg(format!("http://{}/team/app:v1", registry.host()));
    command
}

fn export_keys(command: &mut Command) -> &mut Command {
    command.env("BERTH_ACCESS_KEY_ID", "root").env("BERTH_ACCESS_KEY_SECRET", "top-secret")
}

#[test]
fn exported_keys_are_not_sent_to_another_host() {
    let (home, other) = (home(), Registry::start(LOOPBACK));
    let image = format!("http://{}/team/app:v1", other.host());
    let commands: [&[&str]; 4] = [
        &["inspect", &image],
        &["verify", "--source", &image, "--target", &image],
        &["demo", "--from", &image],
        &["inspect", &image, "--plain-credentials"],
    ];
    for endpoint in [None, Some("http://127.0.0.1:1"), Some("http://registry.example")] {
        for arguments in commands {
            let mut command = berth(home.path());
            export_keys(command.args(arguments));
            if let Some(endpoint) = endpoint {
                command.env("BERTH_ENDPOINT", endpoint);
            }
            let before = other.requests();
            let said = run_failing(&mut command);
            assert!(other.requests() > before, "{arguments:?} asked: {said}");
            assert!(said.contains("no credentials are known for"), "{said}");
            assert!(said.contains("BERTH_ENDPOINT"), "says what to do: {said}");
            assert_eq!(other.authorizations(), Vec::<String>::new(), "{arguments:?} {endpoint:?}");
        }
    }
}

#[test]
fn keys_are_sent_to_the_host_of_their_endpoint() {
    let home = home();
    let given = |prepare: &dyn Fn(&mut Command, &str)| {
        let registry = Registry::start(LOOPBACK);
        let mut command = inspect(&home, &registry);
        prepare(&mut command, &registry.host());
        let said = run_failing(&mut command);
        assert!(said.contains("not found"), "{said}");
        assert_eq!(registry.authorizations(), [BASIC], "{said}");
    };
    given(&|command, host| {
        export_keys(command).env("BERTH_ENDPOINT", format!("http://{host}"));
    });
    given(&|command, _| {
        command.args(["--creds", "root:top-secret"]);
    });
    given(&|command, host| {
        command.args(["--creds", &format!("{host}=root:top-secret")]);
    });
    let file = home.path().join("root-credentials.json");
    given(&|command, host| {
        let content = format!(
            r#"{{"AccessKeyId":"root","AccessKeySecret":"top-secret","Endpoint":"http://{host}"}}"#
        );
        std::fs::write(&file, content).expect("a file");
        command.arg("--credentials").arg(&file);
    });
    given(&|command, host| {
        let auth = BASIC.replace("Basic ", "");
        write_docker_config(
            home.path(),
            &format!(r#"{{"auths":{{"{host}":{{"auth":"{auth}"}}}}}}"#),
        );
        command.env("DOCKER_CONFIG", home.path().join(".docker"));
    });
    // `docker login` leaves it in the home; with a helper, in the helper.
    given(&|command, host| {
        use std::os::unix::fs::PermissionsExt as _;
        let helper = home.path().join("docker-credential-test");
        let answer = r#"{"ServerURL":"x","Username":"root","Secret":"top-secret"}"#;
        let script =
            format!("#!/bin/sh\nread -r host; test \"$host\" = {host} && echo '{answer}'\n");
        std::fs::write(&helper, script).expect("a file");
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&helper, executable).expect("a program");
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", home.path().display()));
        write_docker_config(home.path(), &format!(r#"{{"credHelpers":{{"{host}":"test"}}}}"#));
    });
}

fn write_docker_config(home: &Path, content: &str) {
    std::fs::create_dir_all(home.join(".docker")).expect("a folder");
    std::fs::write(home.join(".docker/config.json"), content).expect("a file");
}

#[test]
fn no_password_crosses_a_network_in_clear_text_unless_asked() {
    let (home, registry) = (home(), Registry::start(machine_address()));
    let endpoint = format!("http://{}", registry.host());
    let said =
        run_failing(export_keys(&mut inspect(&home, &registry)).env("BERTH_ENDPOINT", &endpoint));
    assert!(said.contains("--plain-credentials"), "{said}");
    let said = run_failing(inspect(&home, &registry).args(["--creds", "root:top-secret"]));
    assert!(said.contains("--plain-credentials"), "{said}");
    assert_eq!(registry.authorizations(), Vec::<String>::new());
    let asked = ["--creds", "root:top-secret", "--plain-credentials"];
    drop(run_failing(inspect(&home, &registry).args(asked)));
    assert_eq!(registry.authorizations(), [BASIC]);
}

#[test]
fn a_call_is_signed_for_the_host_that_the_keys_are_for() {
    let (home, other) = (home(), Registry::start(LOOPBACK));
    let endpoint = format!("http://{}", other.host());
    let call = || {
        let mut command = berth(home.path());
        command.args(["call", "--endpoint", &endpoint, "ListRepository"]);
        command
    };
    let refused = output(export_keys(&mut call()).env("BERTH_ENDPOINT", "http://127.0.0.1:1"));
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let file = home.path().join("credentials.json");
    let content =
        r#"{"AccessKeyId":"root","AccessKeySecret":"top-secret","Endpoint":"http://127.0.0.1:1"}"#;
    std::fs::write(&file, content).expect("a file");
    let refused = output(call().env("BERTH_CREDENTIALS", &file));
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert_eq!(other.requests(), 0);
    // Named together they belong together.
    drop(run_failing(
        export_keys(berth(home.path()).env("BERTH_ENDPOINT", &endpoint)).args(["call", "X"]),
    ));
    assert_eq!(other.requests(), 1);
}
