//! `berth gc`: collects what nothing uses, or says what would be collected.

use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use async_trait::async_trait;
use berth_maintenance::{GcAudit, GcItem, GcReport, GcWatch, Maintenance};
use berth_server::{Access, open_maintenance};
use clap::Args;
use serde_json::{Value, json};

use super::settings::SettingsArgs;
use super::{Failure, runtime};

/// Collects what nothing uses any more, from the database and the store of the configuration.
///
/// A server does this by itself every `gc.interval`. On SQLite, a collection needs the database for
/// itself: stop the server, or ask it with `berth call CreateMaintenanceTask --Scope SERVER --Kind GC`. With
/// --dry-run or --check nothing is changed, and a server may run.
///
/// Exit code 0 when it was done, 1 when it failed or --check found something.
#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Only says what would be collected now.
    #[arg(long)]
    dry_run: bool,
    /// Only looks whether everything is there that should be, and nothing was forgotten.
    #[arg(long, conflicts_with = "dry_run")]
    check: bool,
    /// Prints the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Collects and reports.
pub(crate) fn run(args: &GcArgs) -> Result<(), Failure> {
    let config = args.settings.load()?;
    let access = if args.dry_run || args.check { Access::ReadOnly } else { Access::SoleWriter };
    runtime()?.block_on(async {
        let maintenance = open_maintenance(&config, access).await.context("cannot open")?;
        let outcome = if args.check {
            check(&maintenance, args.json).await
        } else {
            collect(&maintenance, args).await
        };
        maintenance.close().await;
        outcome
    })
}

async fn collect(maintenance: &Maintenance, args: &GcArgs) -> Result<(), Failure> {
    let list = List { dry_run: args.dry_run, items: args.json.then(Mutex::default) };
    let gc = maintenance.gc();
    let report = if args.dry_run { gc.preview(&list).await } else { gc.run(&list).await };
    let report = report.context("the collection failed")?;
    if let Some(items) = list.items {
        let items = items.into_inner().unwrap_or_else(PoisonError::into_inner);
        return Ok(print_json(&json_of(&report, args.dry_run, &items))?);
    }
    Ok(print(&if args.dry_run { format!("would go: {report}") } else { report.to_string() })?)
}

/// Prints what goes, or keeps it for the report.
struct List {
    dry_run: bool,
    items: Option<Mutex<Vec<Value>>>,
}

#[async_trait]
impl GcWatch for List {
    async fn item(&self, item: &GcItem) {
        let Some(items) = &self.items else {
            let what = if self.dry_run { "would remove" } else { "removed" };
            // Nobody may be reading; that is no reason to stop.
            drop(print(&format!("{what} {item}")));
            return;
        };
        let value = match item {
            GcItem::Manifest { repository, digest } => {
                json!({"kind": "manifest", "repository": repository, "digest": digest})
            }
            GcItem::Link { repository, digest } => {
                json!({"kind": "link", "repository": repository, "digest": digest})
            }
            GcItem::Blob { digest, size } => {
                json!({"kind": "blob", "digest": digest, "bytes": size})
            }
            GcItem::Object { key, size } => json!({"kind": "object", "key": key, "bytes": size}),
        };
        items.lock().unwrap_or_else(PoisonError::into_inner).push(value);
    }
}

fn json_of(report: &GcReport, dry_run: bool, items: &[Value]) -> Value {
    json!({
        "dryRun": dry_run,
        "reviewed": report.reviewed,
        "manifests": report.manifests,
        "links": report.links,
        "blobs": report.blobs,
        "blobBytes": report.blob_bytes,
        "objects": report.objects,
        "objectBytes": report.object_bytes,
        "uploads": report.uploads,
        // Not known before they are swept.
        "pieces": (!dry_run).then_some(report.pieces),
        "items": items,
    })
}

async fn check(maintenance: &Maintenance, as_json: bool) -> Result<(), Failure> {
    let audit = maintenance.gc().audit().await.context("the check failed")?;
    let GcAudit { forgotten, missing_blobs, missing_objects, stray_objects } = &audit;
    if as_json {
        print_json(&json!({
            "sound": audit.is_sound(),
            "forgotten": forgotten,
            "missingBlobs": missing_blobs,
            "missingObjects": missing_objects,
            "strayObjects": stray_objects,
        }))?;
    } else {
        for (what, found) in [
            ("forgotten by the collector", forgotten),
            ("missing blob", missing_blobs),
            ("missing object", missing_objects),
            ("object of no blob", stray_objects),
        ] {
            for one in found {
                print(&format!("{what}: {one}"))?;
            }
        }
        print(if audit.is_sound() {
            "everything is in order"
        } else {
            "not everything is in order"
        })?;
    }
    if audit.is_sound() { Ok(()) } else { Err(Failure::Silent) }
}

fn print_json(value: &Value) -> anyhow::Result<()> {
    print(&serde_json::to_string_pretty(value).context("the report")?)
}

fn print(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}").context("cannot write the report")
}
