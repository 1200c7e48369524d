use std::io::Write as _;
use std::time::Duration;

use super::{Config, KEYS, Layers, Role, environment_name, parse_size};

fn file(text: &str) -> (tempfile::NamedTempFile, Layers) {
    let mut file = tempfile::NamedTempFile::new().expect("temporary file");
    file.write_all(text.as_bytes()).expect("write");
    let layers = Layers::new().with_file(file.path()).expect("read");
    (file, layers)
}

fn variable(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn message(layers: &Layers) -> String {
    Config::load(layers).expect_err("must be refused").to_string()
}

#[test]
fn defaults() {
    let config = Config::load(&Layers::new()).expect("defaults");
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:5000");
    assert_eq!(config.database_url(), "sqlite:berth-data/berth.db");
    assert_eq!(config.storage_url(), "file:berth-data/blobs");
    assert_eq!(config.server.region, "local");
    assert!(config.limits.auto_create_namespace);
}

#[test]
fn later_layers_win() {
    let (_file, layers) = file(
        "[server]\nlisten = \"127.0.0.1:1\"\nregion = \"file\"\nrole = \"data\"\n\
         [subscription]\ninterval = \"5m\"\n[build]\nmemory = \"1GiB\"\n\
         [upstream]\nallow = [\"10.0.0.0/8\"]\n\
         [upstream.providers.DOCKER_HUB]\nendpoint = \"https://mirror.example\"\n",
    );
    let layers = layers
        .with_environment([
            variable("BERTH_LISTEN", "127.0.0.1:2"),
            variable("BERTH_REGION", "environment"),
            variable("BERTH_UPSTREAM_PROVIDERS_DOCKER_HUB_USERNAME", "me"),
            variable("BERTH_UPSTREAM_PROVIDERS_DOCKER_HUB_PASSWORD", "secret"),
            variable("BERTH_BUILD_WORKERS", "7"),
            variable("BERTH_SERVICE_HOST", "10.1.1.1"),
        ])
        .with_flag("server.listen", "127.0.0.1:3");
    let config = Config::load(&layers).expect("configuration");
    assert_eq!(config.server.listen.port(), 3);
    assert_eq!(config.server.region, "environment");
    assert_eq!(config.server.role, Role::Data);
    assert_eq!(config.subscription.interval, Duration::from_secs(300));
    assert_eq!(config.build.memory, 1 << 30);
    assert_eq!(config.build.workers, 7);
    assert_eq!(config.upstream.allow.len(), 1);
    let hub = &config.upstream.providers["DOCKER_HUB"];
    assert_eq!(hub.endpoint.as_deref(), Some("https://mirror.example"));
    assert_eq!(hub.username.as_deref(), Some("me"));
    assert_eq!(hub.password.as_ref().map(berth_types::Secret::expose), Some("secret"));
}

#[test]
fn unknown_keys_name_the_nearest() {
    let (_file, layers) = file("[server]\nlissten = \"127.0.0.1:1\"\n");
    assert!(
        message(&layers).contains("unknown key `server.lissten`; did you mean `server.listen`?")
    );
    let (_file, layers) = file("[upstream.providers.QUAY]\nendpiont = \"x\"\n");
    assert!(message(&layers).contains("did you mean `upstream.providers.QUAY.endpoint`?"));
    let (_file, layers) = file("[sever]\nlisten = \"127.0.0.1:1\"\n");
    assert!(message(&layers).contains("did you mean `server.listen`?"));
    let (_file, layers) = file("[server]\n[build]\n");
    Config::load(&layers).expect("empty sections are fine");
    let (_file, layers) = file("[servers.x]\nlisten = \"127.0.0.1:1\"\n");
    assert!(message(&layers).contains("unknown key `servers.x.listen`"));
    let (_file, layers) = file("[server]\nrole = \"everything\"\n");
    let text = message(&layers);
    assert!(text.contains("everything") && text.contains("server.role"), "{text}");
}

#[test]
fn wrong_values_say_what_is_expected() {
    let (_file, layers) = file("[build]\nworkers = \"two\"\n");
    assert!(message(&layers).contains("`build.workers` must be a number"));
    let (_file, layers) = file("[subscription]\ninterval = \"soon\"\n");
    assert!(message(&layers).contains("`subscription.interval` must be seconds"));
    let (_file, layers) = file("[server]\ntls_cert = \"x\"\n");
    assert!(message(&layers).contains("must be set together"));
    let (_file, layers) = file("[server]\ntls_own_ca = true\ntls_cert = \"x\"\ntls_key = \"y\"\n");
    assert!(message(&layers).contains("cannot be set beside server.tls_cert"));
    let (_file, layers) = file("[server]\ntls_names = [\"hub.example.com\"]\n");
    assert!(message(&layers).contains("server.tls_own_ca, which is not set"));
    let environment = [variable("BERTH_ROOT_ACCESS_KEY_ID", "x")];
    assert!(message(&Layers::new().with_environment(environment)).contains("set together"));
    assert_eq!(parse_size("99999999999999GiB"), None);
}

#[test]
fn providers_may_be_named_by_domain() {
    let (_file, layers) =
        file("[upstream.providers.\"registry.example.com\"]\nrealms = [\"auth.example.com\"]\n");
    let config = Config::load(&layers).expect("configuration");
    assert_eq!(config.upstream.providers["registry.example.com"].realms, ["auth.example.com"]);
    let (_file, layers) = file("[upstream.providers.\"a.example\"]\nrealm = [\"x\"]\n");
    let text = message(&layers);
    assert!(text.contains("did you mean `upstream.providers.\"a.example\".realms`?"), "{text}");
}

#[test]
fn secrets_come_from_files_and_variables_only() {
    let (_file, layers) = file("[storage]\nsecret_access_key = \"x\"\n");
    let text = message(&layers);
    assert!(text.contains("BERTH_STORAGE_SECRET_ACCESS_KEY"), "{text}");
    let flags = Layers::new().with_flag("storage.secret_access_key", "x");
    assert!(message(&flags).contains("is a secret"));
    let mut secret = tempfile::NamedTempFile::new().expect("temporary file");
    secret.write_all(b"hush\n").expect("write");
    let path = secret.path().display();
    let (_file, layers) = file(&format!("[storage]\nsecret_access_key_file = \"{path}\"\n"));
    let config = Config::load(&layers).expect("configuration");
    let read = config.storage.secret_access_key.expect("secret");
    assert_eq!(read.expose(), "hush");
    assert!(!format!("{read:?}").contains("hush"));
}

#[test]
fn every_key_has_its_own_variable() {
    let mut names: Vec<_> = KEYS.iter().map(|key| environment_name(key.path)).collect();
    assert!(names.contains(&"BERTH_DATA_DIR".to_owned()));
    assert!(names.contains(&"BERTH_DATABASE_URL".to_owned()));
    names.sort();
    names.dedup();
    assert_eq!(names.len(), KEYS.len());
}
