//! `berth serve`: the server.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use berth_server::{Config, Layers, RunningServer, Server, telemetry};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, runtime};

/// Runs the server.
///
/// Every option is also a key of berth.toml and a BERTH_… environment variable; options win over
/// variables, variables over the file.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Configuration file; `berth.toml` in the working directory is taken when it exists.
    #[arg(long, value_name = "FILE", env = "BERTH_CONFIG")]
    config: Option<PathBuf>,
    /// Folder of everything that is kept [server.data_dir, default ./berth-data].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Address and port [server.listen, default 127.0.0.1:5000].
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// PEM file of the certificate chain; plain HTTP without [server.tls_cert].
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// PEM file of the private key [server.tls_key].
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// TLS by a certificate authority that the first start makes in DATA_DIR/tls; clients trust its
    /// ca.pem [server.tls_own_ca].
    #[arg(long)]
    tls_own_ca: bool,
    /// Host name or address that the certificate is for, besides this machine's own; may be
    /// repeated [server.tls_names].
    #[arg(long = "tls-name", value_name = "NAME")]
    tls_names: Vec<String>,
    /// What this process does: all, api, data or worker [server.role].
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// Region in ids and service names [server.region, default local].
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// Log format: auto, text or json [server.log_format].
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Any other key, as `section.key=value`; may be repeated. Secrets are refused.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Runs the server until SIGTERM or SIGINT.
pub(crate) fn run(args: &ServeArgs) -> Result<(), Failure> {
    let config = load(args)?;
    let _last_lines =
        telemetry::init(&config.server).map_err(|error| Failure::Usage(error.to_string()))?;
    runtime()?.block_on(serve(config))
}

fn load(args: &ServeArgs) -> Result<Config, Failure> {
    let usage = |error: berth_server::ConfigError| Failure::Usage(error.to_string());
    let mut layers = Layers::new();
    let default = Path::new("berth.toml");
    if let Some(path) = args.config.as_deref().or_else(|| default.exists().then_some(default)) {
        layers = layers.with_file(path).map_err(usage)?;
    }
    let variables = std::env::vars_os();
    let variables = variables
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    layers = layers.with_environment(variables);
    let flags = [
        ("server.data_dir", &args.data_dir),
        ("server.listen", &args.listen),
        ("server.tls_cert", &args.tls_cert),
        ("server.tls_key", &args.tls_key),
        ("server.role", &args.role),
        ("server.region", &args.region),
        ("server.log_format", &args.log_format),
    ];
    if args.tls_own_ca {
        layers = layers.with_flag("server.tls_own_ca", "true");
    }
    if !args.tls_names.is_empty() {
        layers = layers.with_flag("server.tls_names", &args.tls_names.join(","));
    }
    for pair in &args.set {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| Failure::Usage(format!("--set {pair}: write section.key=value")))?;
        layers = layers.with_flag(key.trim(), value);
    }
    for (key, value) in flags {
        if let Some(value) = value {
            layers = layers.with_flag(key, value);
        }
    }
    Config::load(&layers).map_err(usage)
}

async fn serve(config: Config) -> Result<(), Failure> {
    let data_dir = config.server.data_dir.clone();
    // Set up first: a signal during the start must not be lost.
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let server = Server::start(config).await.context("cannot start")?;
    announce(&server, &data_dir);
    let stopping = server.stopping();
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: shutting down"),
        _ = interrupt.recv() => tracing::info!("SIGINT: shutting down"),
        () = stopping.cancelled() => {}
    }
    server.shutdown();
    tokio::select! {
        () = server.wait() => tracing::info!("stopped"),
        _ = interrupt.recv() => tracing::warn!("second SIGINT: leaving at once"),
    }
    Ok(())
}

/// Says where everything is: in the log, and once more for whoever sits at the terminal.
fn announce(server: &RunningServer, data_dir: &Path) {
    let credentials = server.credentials_file().map(|path| path.display().to_string());
    let root_key = credentials.as_deref().unwrap_or("given by BERTH_ROOT_ACCESS_KEY_ID");
    let authority = server.authority_file().map(|path| path.display().to_string());
    tracing::info!(
        address = %server.addr(),
        endpoint = server.endpoint(),
        data_dir = %data_dir.display(),
        root_key,
        authority,
        "berth is ready"
    );
    if !std::io::stderr().is_terminal() {
        return;
    }
    let mut text = format!(
        "\n  Berth is ready at {}\n  data directory    {}\n  root key          {root_key}\n",
        server.endpoint(),
        data_dir.display(),
    );
    if let Some(authority) = authority {
        text.push_str(&format!("  clients trust     {authority}\n"));
    }
    text.push('\n');
    telemetry::say(&text);
}
