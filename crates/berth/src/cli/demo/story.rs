//! The demo's steps, each asked of the server as a user would ask.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use berth_oci::client::{BlobSource, ClientConfig, Credentials, RegistryClient};
use berth_oci::{Descriptor, MAX_MANIFEST_BYTES, ManifestView};
use berth_server::RunningServer;
use berth_types::{Reference, Secret};
use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::remote::{Access, Traffic};
use super::{print, proof, say};
use crate::api::{ApiClient, parse_endpoint};
use crate::image::LocalImage;
use crate::layout::Layout;

const UPSTREAM: (&str, &str) = ("upstream", "app");
const MIRROR: (&str, &str) = ("mirror", "app");
/// Longer than any build of a demo should take.
const PATIENCE: Duration = Duration::from_secs(1800);
const POLL: Duration = Duration::from_millis(200);

/// The server with everything that its users need to know.
pub(super) struct Stage {
    api: ApiClient,
    instance: String,
    pub(super) access: Access,
    registry: RegistryClient,
    host: String,
}

/// Tells the whole story.
pub(super) async fn tell(
    server: &RunningServer,
    source: &LocalImage,
    what: &str,
) -> anyhow::Result<()> {
    let stage = Stage::set(server)?;
    let tag = source.tag.clone().unwrap_or_else(|| "latest".to_owned());

    say(&format!("Pushing {what} to {}/{}:{tag}", UPSTREAM.0, UPSTREAM.1));
    stage.make_repository(UPSTREAM, "PUBLIC").await?;
    let image_size = stage.push(&source.layout, &source.root, &tag).await?;

    say(&format!("Creating {}/{} with an artifact build rule", MIRROR.0, MIRROR.1));
    let repo_id = stage.make_repository(MIRROR, "PRIVATE").await?;
    stage
        .call(
            "CreateArtifactBuildRule",
            &[
                ("ArtifactType", "ACCELERATED_IMAGE"),
                ("ScopeType", "REPOSITORY"),
                ("ScopeId", &repo_id),
            ],
        )
        .await?;

    say(&format!("Subscribing to {}/{} as an upstream", UPSTREAM.0, UPSTREAM.1));
    let subscription = stage.subscribe(&tag).await?;
    print_subscription(&stage, &subscription).await?;

    say("Building the accelerated image");
    let build = stage.wait_for_build(&repo_id, &tag).await?;
    print_build(&stage, &build).await?;

    say("Reading what a start reads, by ranged requests");
    let repository = format!("{}/{}", MIRROR.0, MIRROR.1);
    let target = build["TargetArtifact"]["Version"].as_str().unwrap_or_default().to_owned();
    proof::show(&stage, source, &repository, &target, image_size).await
}

impl Stage {
    fn set(server: &RunningServer) -> anyhow::Result<Self> {
        let file =
            server.credentials_file().context("the demo's server has no root key of its own")?;
        let text = std::fs::read(file).context("root credentials")?;
        let credentials: Value = serde_json::from_slice(&text).context("root credentials")?;
        let field = |name: &str| credentials[name].as_str().unwrap_or_default().to_owned();
        let (id, secret) = (field("AccessKeyId"), field("AccessKeySecret"));
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let endpoint = server.endpoint().to_owned();
        let mut config = ClientConfig::for_endpoint(&endpoint)?;
        config.allow = vec!["127.0.0.0/8".parse()?];
        config.credentials =
            Some(Credentials { username: id.clone(), password: Secret::new(secret.clone()) });
        Ok(Self {
            api: ApiClient {
                http: http.clone(),
                endpoint: parse_endpoint(&endpoint).context("the server's address")?,
                access_key_id: id.clone(),
                access_key_secret: Secret::new(secret.clone()),
            },
            instance: field("InstanceId"),
            registry: RegistryClient::new(config)?,
            host: endpoint.clone(),
            access: Access {
                http,
                endpoint,
                username: id,
                password: secret,
                traffic: Arc::new(Traffic::default()),
            },
        })
    }

    /// A call for the demo's instance.
    async fn call(&self, action: &str, parameters: &[(&str, &str)]) -> anyhow::Result<Value> {
        let mut all = vec![("InstanceId", self.instance.as_str())];
        all.extend_from_slice(parameters);
        self.api.call(action, &all).await
    }

    async fn make_repository(
        &self,
        (namespace, name): (&str, &str),
        kind: &str,
    ) -> anyhow::Result<String> {
        self.call("CreateNamespace", &[("NamespaceName", namespace)]).await?;
        let made = self
            .call(
                "CreateRepository",
                &[
                    ("RepoNamespaceName", namespace),
                    ("RepoName", name),
                    ("RepoType", kind),
                    ("Summary", "berth demo"),
                ],
            )
            .await?;
        Ok(made["RepoId"].as_str().context("CreateRepository gave no RepoId")?.to_owned())
    }

    /// Pushes an image or index out of a layout; returns the bytes of its blobs.
    async fn push(&self, layout: &Layout, root: &Descriptor, tag: &str) -> anyhow::Result<u64> {
        let body = layout.document(&root.digest, MAX_MANIFEST_BYTES as u64)?;
        let view = ManifestView::parse(Some(&root.media_type), &body)?;
        let mut size = self.push_blobs(layout, &view).await?;
        let repository = format!("{}/{}", UPSTREAM.0, UPSTREAM.1);
        for child in &view.manifests {
            let body = layout.document(&child.digest, MAX_MANIFEST_BYTES as u64)?;
            let view = ManifestView::parse(Some(&child.media_type), &body)?;
            size += self.push_blobs(layout, &view).await?;
            let reference = Reference::Digest(child.digest.clone());
            self.registry
                .push_manifest(&repository, &reference, &child.media_type, Bytes::from(body))
                .await?;
        }
        let reference = Reference::Tag(tag.parse()?);
        self.registry
            .push_manifest(&repository, &reference, &root.media_type, Bytes::from(body))
            .await?;
        Ok(size)
    }

    async fn push_blobs(&self, layout: &Layout, view: &ManifestView) -> anyhow::Result<u64> {
        let repository = format!("{}/{}", UPSTREAM.0, UPSTREAM.1);
        let mut size = 0;
        for blob in view.config.iter().chain(&view.layers) {
            if blob.is_foreign_layer() {
                continue;
            }
            let path = layout.blob_path(&blob.digest);
            let source = BlobSource::File { path, size: blob.size };
            self.registry.push_blob(&repository, &blob.digest, source).await?;
            size += blob.size;
        }
        Ok(size)
    }

    /// Makes a rule, runs it and waits for its end.
    async fn subscribe(&self, tag: &str) -> anyhow::Result<Value> {
        let pattern = regex_escape(tag);
        let rule = self
            .call(
                "CreateArtifactSubscriptionRule",
                &[
                    ("NamespaceName", MIRROR.0),
                    ("RepoName", MIRROR.1),
                    ("SourceProvider", "CUSTOM"),
                    ("SourceDomain", &self.host),
                    ("SourceNamespaceName", UPSTREAM.0),
                    ("SourceRepoName", UPSTREAM.1),
                    ("TagRegexp", &pattern),
                    ("TagCount", "1"),
                    ("Platform.1", "*/*"),
                    ("Override", "true"),
                ],
            )
            .await?;
        let rule = rule["RuleId"].as_str().context("no RuleId")?.to_owned();
        let task = self.call("CreateArtifactSubscriptionTask", &[("RuleId", &rule)]).await?;
        let task = task["TaskId"].as_str().context("no TaskId")?.to_owned();
        let started = Instant::now();
        loop {
            let view = self.call("GetArtifactSubscriptionTask", &[("TaskId", &task)]).await?;
            if view["TaskStatus"] == "COMPLETED" {
                ensure!(
                    view["TaskResult"] == "SUCCESS",
                    "the subscription task failed: {}",
                    view["Message"]
                );
                return Ok(view);
            }
            ensure!(started.elapsed() < PATIENCE, "the subscription task does not end");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Manifest or index and its children, without blobs.
    pub(super) async fn pull_documents(
        &self,
        repository: &str,
        tag: &str,
    ) -> anyhow::Result<LocalImage> {
        LocalImage::pull_documents(&self.registry, repository, &tag.parse()?).await
    }

    /// The build that the arrived tag caused, at its end.
    async fn wait_for_build(&self, repo_id: &str, tag: &str) -> anyhow::Result<Value> {
        let listed = self.call("ListArtifactBuildTask", &[("RepoId", repo_id)]).await?;
        let tasks = listed["BuildTasks"].as_array().cloned().unwrap_or_default();
        let task = tasks
            .iter()
            .find(|task| task["SourceArtifact"]["Version"] == tag)
            .and_then(|task| task["BuildTaskId"].as_str())
            .context("the arrived tag caused no build task")?;
        let style = ProgressStyle::with_template("    {bar:30} {bytes}/{total_bytes}");
        let bar =
            ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let started = Instant::now();
        loop {
            let view = self.call("GetArtifactBuildTask", &[("BuildTaskId", task)]).await?;
            bar.set_length(view["Progress"]["BytesTotal"].as_u64().unwrap_or_default());
            bar.set_position(view["Progress"]["BytesDone"].as_u64().unwrap_or_default());
            match view["TaskStatus"].as_str() {
                Some("SUCCESS") => {
                    bar.finish_and_clear();
                    return Ok(view);
                }
                Some("FAILED") => {
                    bar.finish_and_clear();
                    print_build(self, &view).await?;
                    bail!("the build failed");
                }
                _ => {}
            }
            ensure!(started.elapsed() < PATIENCE, "the build does not end");
            tokio::time::sleep(POLL).await;
        }
    }
}

/// A tag as a pattern that matches nothing else.
fn regex_escape(tag: &str) -> String {
    tag.replace('.', "\\.").replace('-', "\\-")
}

async fn print_subscription(stage: &Stage, task: &Value) -> anyhow::Result<()> {
    let id = task["TaskId"].as_str().unwrap_or_default();
    let results = stage.call("GetArtifactSubscriptionTaskResult", &[("TaskId", id)]).await?;
    print("");
    print("    GetArtifactSubscriptionTaskResult");
    print(&format!(
        "    {:<28} {:<20} {:<12} {:<8} {:>9}",
        "task", "tag", "status", "result", "ms"
    ));
    let rows = results["TaskResults"].as_array().cloned().unwrap_or_default();
    for row in &rows {
        let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
        let took = row["EndTime"].as_i64().unwrap_or(0) - row["StartTime"].as_i64().unwrap_or(0);
        print(&format!(
            "    {:<28} {:<20} {:<12} {:<8} {took:>9}",
            id,
            text("Tag"),
            text("Status"),
            text("Result")
        ));
    }
    print("");
    ensure!(!rows.is_empty(), "the subscription task has no result");
    let failed = rows.iter().find(|row| row["Result"] != "SUCCESS");
    ensure!(failed.is_none(), "a tag was not copied: {failed:?}");
    Ok(())
}

async fn print_build(stage: &Stage, task: &Value) -> anyhow::Result<()> {
    let id = task["BuildTaskId"].as_str().unwrap_or_default();
    print("");
    print("    GetArtifactBuildTask");
    print(&format!(
        "    {:<22} {:<10} {:<36} {:>7} {:>12}",
        "task", "status", "artifact", "layers", "bytes"
    ));
    for (side, name) in [("SourceArtifact", "source"), ("TargetArtifact", "target")] {
        let artifact = &task[side];
        print(&format!(
            "    {:<22} {:<10} {:<36} {:>7} {:>12}",
            if side == "SourceArtifact" { id } else { "" },
            if side == "SourceArtifact" { task["TaskStatus"].as_str().unwrap_or("-") } else { "" },
            format!("{name} {}", artifact["Version"].as_str().unwrap_or("-")),
            artifact["LayerCount"],
            artifact["Size"],
        ));
    }
    print("");
    let parameters = [("BuildTaskId", id), ("Page", "1"), ("PageSize", "100")];
    let log = stage.call("ListArtifactBuildTaskLog", &parameters).await?;
    for line in log["BuildTaskLogs"].as_array().cloned().unwrap_or_default() {
        print(&format!(
            "    {:>4}  {}",
            line["LineNumber"],
            line["Message"].as_str().unwrap_or("")
        ));
    }
    print("");
    Ok(())
}
