//! `berth verify`: proves that an accelerated image is its source.

use std::io::Write as _;

use anyhow::Context as _;
use berth_formats::read_at::FileAt;
use berth_types::{Hasher, Platform};
use clap::Args;

use super::{Failure, runtime};
use crate::compare::{compare, pairs};
use crate::credentials::RegistryArgs;
use crate::image::{LocalImage, hosts};
use crate::layout::Layout;

/// Proves that an accelerated image holds the same tree, metadata and bytes as its source.
///
/// Exit code 0 when it does, 1 when it differs or cannot be read.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The source image: `oci:DIR[:NAME]` or `[http(s)://]host/repository[:tag|@digest]`.
    #[arg(long, value_name = "IMAGE")]
    source: String,
    /// The accelerated image, named in the same ways.
    #[arg(long, value_name = "IMAGE")]
    target: String,
    /// Prints the report as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Compares and reports.
pub(crate) fn run(args: &VerifyArgs) -> Result<(), Failure> {
    let keyring = args.registry.keyring(&hosts([&args.source, &args.target]))?;
    let (source, target) = runtime()?.block_on(async {
        let source = LocalImage::open(&args.source, &keyring).await?;
        let target = LocalImage::open(&args.target, &keyring).await?;
        Ok::<_, anyhow::Error>((source, target))
    })?;
    let mut equal = true;
    for (source_image, target_image) in pairs(&source, &target)? {
        let blobs = target_image.view.layers.iter();
        let blobs = blobs.map(|layer| {
            check_digest(&target.layout, &layer.digest)?;
            let file = target.layout.open_blob(&layer.digest)?;
            FileAt::new(file).with_context(|| format!("layer {}", layer.digest))
        });
        let blobs = blobs.collect::<anyhow::Result<Vec<_>>>()?;
        let report = compare(&source.layout, &source_image.view, blobs)?;
        equal &= report.is_equal();
        print(&if args.json {
            serde_json::to_string_pretty(&report).context("the report")?
        } else {
            text(target_image.platform.as_ref(), &report)
        })?;
    }
    if equal { Ok(()) } else { Err(Failure::Silent) }
}

/// Every byte of an accelerated blob counts, also those that no file needs.
fn check_digest(layout: &Layout, digest: &berth_types::Digest) -> anyhow::Result<()> {
    let mut file = layout.open_blob(digest).with_context(|| format!("layer {digest}"))?;
    let mut hasher = Hasher::new(digest.algorithm());
    let mut buffer = vec![0; 1 << 20];
    loop {
        match std::io::Read::read(&mut file, &mut buffer)? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    anyhow::ensure!(hasher.finish() == *digest, "layer {digest} does not have its digest");
    Ok(())
}

fn text(platform: Option<&Platform>, report: &berth_formats::verify::Report) -> String {
    let mut lines = Vec::new();
    for difference in &report.differences {
        lines.push(format!(
            "{}: {}: the source has {}, the accelerated image {}",
            difference.path, difference.field, difference.expected, difference.found
        ));
    }
    let platform = platform.map(|platform| format!("{platform}: ")).unwrap_or_default();
    lines.push(format!(
        "{platform}{} layers, {} names, {} files with {} bytes: {}",
        report.accelerated_layers,
        report.names,
        report.files,
        report.bytes,
        match report.difference_count {
            0 => "equal to the source".to_owned(),
            count => format!("{count} differences"),
        }
    ));
    lines.join("\n")
}

fn print(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}").context("cannot write the report")
}
