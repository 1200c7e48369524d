//! Which files a start of an image reads: its entry point, what runs that, and the libraries that
//! it is linked against.

use std::collections::BTreeSet;

use goblin::elf::Elf;

/// The most libraries that are followed; a broken or hostile program ends there.
const MAX_FILES: usize = 256;

/// A file system that files are read from by their absolute paths.
pub(crate) trait Files {
    /// The whole file, links followed; `None` when there is no such regular file.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    fn read(&self, path: &str) -> anyhow::Result<Option<Vec<u8>>>;
}

/// A file that was read.
pub(crate) struct StartFile {
    pub(crate) path: String,
    pub(crate) content: Vec<u8>,
}

/// What every program of a Linux distribution looks at.
const ALWAYS: [&str; 4] = ["/etc/ld.so.cache", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf"];

/// Reads what a start of the program reads.
///
/// # Errors
/// When a file cannot be read.
pub(crate) fn read_start_files(
    files: &dyn Files,
    program: &str,
    search_path: &[String],
) -> anyhow::Result<Vec<StartFile>> {
    let mut start = Start { files, seen: BTreeSet::new(), read: Vec::new() };
    for path in ALWAYS {
        start.read(path)?;
    }
    let candidates = match program.contains('/') {
        true => vec![program.to_owned()],
        false => search_path.iter().map(|folder| format!("{folder}/{program}")).collect(),
    };
    for path in candidates {
        if start.program(&path)? {
            break;
        }
    }
    Ok(start.read)
}

struct Start<'a> {
    files: &'a dyn Files,
    seen: BTreeSet<String>,
    read: Vec<StartFile>,
}

impl Start<'_> {
    /// Reads a file once; `false` when it is not there.
    fn read(&mut self, path: &str) -> anyhow::Result<bool> {
        if self.seen.contains(path) {
            return Ok(true);
        }
        if self.read.len() >= MAX_FILES {
            return Ok(false);
        }
        let Some(content) = self.files.read(path)? else { return Ok(false) };
        self.seen.insert(path.to_owned());
        self.read.push(StartFile { path: path.to_owned(), content });
        Ok(true)
    }

    /// Reads a program with what it needs: interpreter and libraries, or the one of its `#!`.
    fn program(&mut self, path: &str) -> anyhow::Result<bool> {
        if self.seen.contains(path) {
            return Ok(true);
        }
        if !self.read(path)? {
            return Ok(false);
        }
        let needs = self.read.last().map(|file| Needs::of(&file.content)).unwrap_or_default();
        for program in &needs.programs {
            self.program(program)?;
        }
        for library in &needs.libraries {
            for folder in library_folders() {
                if self.program(&format!("{folder}/{library}"))? {
                    break;
                }
            }
        }
        Ok(true)
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Needs {
    programs: Vec<String>,
    libraries: Vec<String>,
}

impl Needs {
    fn of(content: &[u8]) -> Self {
        if let Some(script) = content.strip_prefix(b"#!") {
            let line = script.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line);
            let program = line.split_whitespace().next().map(str::to_owned);
            return Self { programs: program.into_iter().collect(), libraries: Vec::new() };
        }
        let Ok(elf) = Elf::parse(content) else { return Self::default() };
        Self {
            programs: elf.interpreter.map(str::to_owned).into_iter().collect(),
            libraries: elf.libraries.iter().map(|name| (*name).to_owned()).collect(),
        }
    }
}

/// Where the loaders of the usual distributions look.
fn library_folders() -> [String; 5] {
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    [
        format!("/lib/{triplet}"),
        format!("/usr/lib/{triplet}"),
        "/lib64".to_owned(),
        "/usr/lib64".to_owned(),
        "/lib".to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Machine;

    impl Files for Machine {
        fn read(&self, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
            Ok(std::fs::read(path).ok())
        }
    }

    #[test]
    fn a_real_program_needs_its_loader_and_libc() {
        let read = read_start_files(&Machine, "ls", &["/usr/bin".to_owned()]).expect("reads");
        let has = |part: &str| read.iter().any(|file| file.path.contains(part));
        assert!(has("/usr/bin/ls") && has("ld-linux") && has("libc.so"));
        assert_eq!(
            Needs::of(b"#!/bin/sh -e\necho").programs,
            ["/bin/sh"],
            "a script needs what runs it"
        );
    }
}
