//! `berth inspect`: explains an accelerated image or one of its blobs.

use std::fs::File;
use std::io::Write as _;

use anyhow::Context as _;
use berth_formats::inspect::{inspect_blob, inspect_chain};
use berth_formats::read_at::FileAt;
use clap::Args;
use serde_json::{Value, json};

use super::{Failure, runtime};
use crate::credentials::RegistryArgs;
use crate::image::{LocalImage, hosts};

/// Explains an accelerated image or blob, as JSON: headers, layout and the file system in it.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// `oci:DIR[:NAME]`, `[http(s)://]host/repository[:tag|@digest]`, or the file of one blob.
    #[arg(value_name = "IMAGE|FILE")]
    what: String,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Explains.
pub(crate) fn run(args: &InspectArgs) -> Result<(), Failure> {
    let explained = match File::open(&args.what) {
        Ok(file) => blob(file)?,
        Err(_) => {
            let keyring = args.registry.keyring(&hosts([&args.what]))?;
            image(&runtime()?.block_on(LocalImage::open(&args.what, &keyring))?)?
        }
    };
    let text = serde_json::to_string_pretty(&explained).context("the report")?;
    writeln!(std::io::stdout().lock(), "{text}").context("cannot write the report")?;
    Ok(())
}

fn blob(file: File) -> anyhow::Result<Value> {
    let report = inspect_blob(&FileAt::new(file)?)?;
    Ok(serde_json::to_value(report)?)
}

fn image(image: &LocalImage) -> anyhow::Result<Value> {
    let mut images = Vec::new();
    for part in image.platforms()? {
        let files = part.view.layers.iter().map(|layer| {
            let file = image.layout.open_blob(&layer.digest);
            FileAt::new(file.with_context(|| format!("layer {}", layer.digest))?)
                .with_context(|| format!("layer {}", layer.digest))
        });
        let files = files.collect::<anyhow::Result<Vec<_>>>()?;
        images.push(json!({
            "platform": part.platform.map(|platform| platform.to_string()),
            "layers": part.view.layers.iter().map(|layer| &layer.digest).collect::<Vec<_>>(),
            "overlaybd": inspect_chain(files)?,
        }));
    }
    Ok(json!({"mediaType": image.root.media_type, "digest": image.root.digest, "images": images}))
}
