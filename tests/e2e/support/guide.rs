//! docs/clients.md, followed to the letter: the commands of the page are the test.

use berth_testkit::image::gunzip;
use berth_testkit::process::{as_root, run, run_failing};
use berth_testkit::registry::{Registry, sha256};
use berth_testkit::server::TestServer;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the commands find in their environment beside the system's own programs.
const TOOLS: [&str; 5] =
    ["BERTH_BIN", "BERTH_TEST_CRANE", "BERTH_TEST_REGCTL", "BERTH_TEST_COSIGN", "BERTH_TEST_HELM"];

/// A user who follows one chapter of the page, as root, in a home of their own.
#[derive(Debug)]
pub struct Reader<'a> {
    server: &'a TestServer,
    folder: PathBuf,
    variables: Vec<(String, String)>,
}

impl<'a> Reader<'a> {
    /// A reader who has done nothing yet. The registry gets the image that the page begins with.
    ///
    /// # Panics
    /// When their folders cannot be made.
    #[must_use]
    pub fn new(server: &'a TestServer) -> Reader<'a> {
        let folder = server.scratch().join("reader");
        let [home, work] = ["home", "work"].map(|name| folder.join(name));
        for path in [&home, &work] {
            std::fs::create_dir_all(path).expect("a folder can be made");
        }
        let credentials = server.credentials();
        let mut reader = Reader { server, folder, variables: Vec::new() };
        let programs = TOOLS.map(|tool| {
            let program = berth_testkit::required_path(tool);
            program.parent().map(|folder| folder.display().to_string()).unwrap_or_default()
        });
        let host = server.host();
        let address = host.rsplit_once(':').map_or("", |(address, _)| address);
        let system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        reader
            .with("PATH", &format!("{}:{system}", programs.join(":")))
            .with("HOME", &home.display().to_string())
            .with("WORK", &work.display().to_string())
            .with("HOST", &host)
            .with("KEY", &credentials.access_key_id)
            .with("SECRET", &credentials.access_key_secret)
            .with("INSTANCE", &credentials.instance_id)
            // Nothing on this page needs the world outside; what asks for it anyway is told so at once.
            .with("HTTPS_PROXY", "http://127.0.0.1:1")
            .with("NO_PROXY", address);
        if let Some(authority) = server.authority() {
            reader.with("CA", &authority.display().to_string());
        }
        reader
    }

    /// Sets a variable of their environment.
    pub fn with(&mut self, name: &str, value: &str) -> &mut Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The folder in which the commands work.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.folder.join("work")
    }

    /// What the commands left in a file of that folder.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn read(&self, name: &str) -> Vec<u8> {
        let path = self.work().join(name);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Does what the chapter `client` says under its heading `Use`, after what the chapter
    /// `set_up_in` says for the way in which the server is reached. Returns what was printed.
    ///
    /// # Panics
    /// When a command fails; or when, over TLS, the client does its work without that set-up, for then
    /// it takes any certificate and the rest would show nothing.
    #[must_use]
    pub fn follow(&self, set_up_in: &str, client: &str) -> String {
        let script = |blocks: &[String]| format!("set -eu\ncd \"$WORK\"\n{}", blocks.concat());
        let steps = blocks(client, "Use");
        if self.server.authority().is_some() {
            let refused = run_failing(&mut self.command("sh", &["-c", &script(&steps)]));
            assert!(refused.contains("certificate"), "{refused}");
        }
        let all = [blocks(set_up_in, self.way()), steps].concat();
        self.run("sh", &["-c", &script(&all)])
    }

    /// The same for a chapter whose `Use` is a Python program: `interpreter` runs it.
    #[must_use]
    pub fn follow_python(&self, interpreter: &Path, client: &str) -> String {
        let (interpreter, program) =
            (interpreter.display().to_string(), blocks(client, "Use").concat());
        if self.server.authority().is_some() {
            let refused = run_failing(&mut self.command(&interpreter, &["-c", &program]));
            assert!(refused.contains("certificate"), "{refused}");
        }
        let script =
            format!("set -eu\n{}exec \"$0\" -c \"$1\"\n", blocks(client, self.way()).concat());
        self.run("sh", &["-c", &script, &interpreter, &program])
    }

    /// The heading of the way in which the server is reached.
    fn way(&self) -> &'static str {
        if self.server.authority().is_some() { "TLS" } else { "Plain HTTP" }
    }

    /// Runs a command in their environment and in no other.
    #[must_use]
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        run(&mut self.command(program, arguments))
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = as_root("env");
        command.arg("--ignore-environment");
        command.args(self.variables.iter().map(|(name, value)| format!("{name}={value}")));
        command.arg(program).args(arguments);
        command
    }
}

impl Drop for Reader<'_> {
    /// What root made only root can remove.
    fn drop(&mut self) {
        drop(as_root("rm").args(["-rf", "--one-file-system"]).arg(&self.folder).status());
    }
}

/// A folder of the system that commands of the page make; it is removed when dropped.
#[derive(Debug)]
pub struct SystemFolder(PathBuf);

impl SystemFolder {
    /// Takes care of `folder`, which is not there yet.
    ///
    /// # Panics
    /// When it is.
    #[must_use]
    pub fn new(folder: PathBuf) -> SystemFolder {
        assert!(!folder.exists(), "{} is somebody else's", folder.display());
        SystemFolder(folder)
    }
}

impl Drop for SystemFolder {
    fn drop(&mut self) {
        drop(as_root("rm").args(["-rf", "--one-file-system"]).arg(&self.0).status());
    }
}

/// The code blocks of the page below `## chapter`, `### heading`, in their order.
///
/// # Panics
/// When the page has no such chapter.
fn blocks(chapter: &str, heading: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/clients.md");
    let page = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (mut here, mut found) = (["", ""], false);
    let mut blocks: Vec<String> = Vec::new();
    let mut fence = false;
    for line in page.lines() {
        if fence {
            fence = line != "```";
            if let Some(block) = blocks.last_mut().filter(|_| fence && here == [chapter, heading]) {
                block.push_str(line);
                block.push('\n');
            }
        } else if let Some(title) = line.strip_prefix("## ") {
            here = [title, ""];
            found |= title == chapter;
        } else if let Some(title) = line.strip_prefix("### ") {
            here[1] = title;
        } else if line.starts_with("```") {
            fence = true;
            if here == [chapter, heading] {
                blocks.push(String::new());
            }
        }
    }
    assert!(found, "the page has no chapter {chapter}");
    blocks
}

/// What an image is, however its layers were compressed on the way: the bytes of its configuration and
/// the digests of its layers' archives, each blob fetched and verified.
#[derive(Debug, PartialEq, Eq)]
pub struct Content {
    /// The configuration, byte for byte.
    pub configuration: String,
    /// The digests of the archives, bottom first.
    pub archives: Vec<String>,
}

impl Content {
    /// Fetches an image whole.
    ///
    /// # Panics
    /// When a part is missing or is not what its digest says.
    #[must_use]
    pub fn of(registry: &Registry, repository: &str, reference: &str) -> Content {
        let manifest = registry
            .manifest(repository, reference)
            .unwrap_or_else(|| panic!("{repository}:{reference} is not there"))
            .json();
        let blob = |descriptor: &serde_json::Value| {
            let digest = descriptor["digest"].as_str().expect("a digest");
            registry.blob(repository, digest).unwrap_or_else(|| panic!("{digest} is not there"))
        };
        let layers = manifest["layers"].as_array().expect("layers");
        let configuration =
            String::from_utf8(blob(&manifest["config"])).expect("a configuration is text");
        let parsed: serde_json::Value = serde_json::from_str(&configuration).expect("JSON");
        let archives: Vec<String> = layers
            .iter()
            .map(|layer| {
                let bytes = blob(layer);
                let is_gzip = bytes.starts_with(&[0x1f, 0x8b]);
                sha256(if is_gzip { gunzip(&bytes) } else { bytes }.as_slice())
            })
            .collect();
        assert_eq!(parsed["rootfs"]["diff_ids"], serde_json::json!(archives));
        Content { configuration, archives }
    }
}
