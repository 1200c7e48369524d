//! The journal of nonces: what a single server has accepted, for its next start.
//!
//! Files of sixteen bytes a nonce, appended without waiting for the disk: the kernel keeps what was
//! written however the process ends. Only the end of the machine can lose the last of it, and that is
//! noticed: a file knows under which boot of the machine it was written, unless it was closed in
//! good order. A file that was copied, or put back from a backup, is noticed by its number in the
//! file system.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use berth_types::Millis;

use crate::signature::MAX_SKEW;

const MAGIC: &[u8; 8] = b"BRTHNNC1";
/// Magic, state, boot, number of the file.
const HEADER: usize = 64;
const RECORD: usize = 16;
/// After which a new file begins, so that old ones can go.
const ROTATION: Millis = 16 * 60_000;
/// How long the youngest nonce of a file can be replayed after the file was last written to.
const REPLAYABLE: Millis = 2 * MAX_SKEW;
const NAME: &str = "nonces-";
/// Where the kernel says which boot this is.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// Whether everything that was accepted is in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is as long as the machine has not been started again.
    Open,
    /// It is, and on the disk.
    Closed,
    /// It is not: something could not be written.
    Broken,
}

impl State {
    fn byte(self) -> u8 {
        match self {
            Self::Open => 1,
            Self::Closed => 2,
            Self::Broken => 3,
        }
    }
}

/// The files of one server.
pub(super) struct Journal {
    folder: PathBuf,
    boot: [u8; 36],
    files: Vec<Segment>,
    current: Arc<File>,
    broken: bool,
}

struct Segment {
    number: u64,
    begun: Millis,
    /// When its last nonce can no longer be replayed, at the latest.
    dead: Millis,
}

/// What a start finds.
pub(super) struct Opened {
    pub(super) journal: Journal,
    /// Hashes, and when their requests expire.
    pub(super) found: Vec<(i64, Millis)>,
    /// Whether that is everything that was accepted and could be replayed.
    pub(super) whole: bool,
}

impl Journal {
    /// Reads what is there, and begins a file.
    ///
    /// # Errors
    /// When the folder cannot be read or written to.
    pub(super) fn open(folder: &Path, now: Millis) -> io::Result<Opened> {
        fs::create_dir_all(folder)?;
        let boot = boot();
        let mut numbers = numbers(folder)?;
        numbers.sort_unstable();
        let (mut found, mut files, mut whole) = (Vec::new(), Vec::new(), !numbers.is_empty());
        for number in &numbers {
            let file = File::open(path(folder, *number))?;
            whole &= read(&file, &boot, now, &mut found)?;
            let dead = now.saturating_add(REPLAYABLE);
            files.push(Segment { number: *number, begun: now, dead });
        }
        let next = numbers.last().map_or(1, |last| last + 1);
        let current = begin(folder, next, &boot)?;
        files.push(Segment { number: next, begun: now, dead: Millis::MAX });
        let journal = Self {
            folder: folder.to_owned(),
            boot,
            files,
            current: Arc::new(current),
            broken: false,
        };
        Ok(Opened { journal, found, whole })
    }

    /// The file that is written to.
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.current)
    }

    /// Writes a nonce down.
    ///
    /// # Errors
    /// When it can be neither written nor said that it is missing.
    pub(super) fn append(&mut self, hash: i64, expires_at: Millis, now: Millis) -> io::Result<()> {
        if self.files.last().is_some_and(|file| now.saturating_sub(file.begun) >= ROTATION)
            && let Err(error) = self.rotate(now)
        {
            tracing::warn!(%error, "the journal of nonces cannot begin a new file");
        }
        if self.broken {
            return Ok(());
        }
        let mut record = [0; RECORD];
        let (first, second) = record.split_at_mut(8);
        first.copy_from_slice(&hash.to_le_bytes());
        second.copy_from_slice(&expires_at.to_le_bytes());
        let Err(error) = (&*self.current).write_all(&record) else { return Ok(()) };
        // There is no room for it, but there is for saying so: the next start refuses what it cannot
        // know about.
        write_state(&self.current, State::Broken)?;
        tracing::warn!(%error, "the journal of nonces cannot be written to");
        self.broken = true;
        Ok(())
    }

    fn rotate(&mut self, now: Millis) -> io::Result<()> {
        let next = self.files.last().map_or(1, |last| last.number + 1);
        let file = begin(&self.folder, next, &self.boot)?;
        if let Some(last) = self.files.last_mut() {
            last.dead = now.saturating_add(REPLAYABLE);
        }
        self.current = Arc::new(file);
        // What was missing in a file before this one is told by that file as long as it lives.
        self.broken = false;
        self.files.push(Segment { number: next, begun: now, dead: Millis::MAX });
        let folder = &self.folder;
        self.files
            .retain(|file| file.dead >= now || fs::remove_file(path(folder, file.number)).is_err());
        Ok(())
    }

    /// Brings everything to the disk and says so.
    ///
    /// # Errors
    /// When that fails: the next start takes the journal for what it is.
    pub(super) fn close(self) -> io::Result<()> {
        for segment in &self.files {
            let path = path(&self.folder, segment.number);
            let file = OpenOptions::new().read(true).write(true).open(path)?;
            let mut state = [0];
            file.read_exact_at(&mut state, STATE_AT)?;
            file.sync_all()?;
            if state == [State::Open.byte()] {
                write_state(&file, State::Closed)?;
                file.sync_all()?;
            }
        }
        File::open(&self.folder)?.sync_all()
    }
}

const STATE_AT: u64 = 8;

fn write_state(file: &File, state: State) -> io::Result<()> {
    // Not through the handle that appends: the kernel would append this as well.
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file));
    OpenOptions::new().write(true).open(path)?.write_all_at(&[state.byte()], STATE_AT)
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{NAME}{number:016x}"))
}

fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(NAME));
        numbers.extend(number.and_then(|number| u64::from_str_radix(number, 16).ok()));
    }
    Ok(numbers)
}

/// Which boot of the machine this is; zeros when nobody knows, which equals nothing.
fn boot() -> [u8; 36] {
    let mut boot = [0; 36];
    if let Ok(text) = fs::read(BOOT) {
        boot.iter_mut().zip(text).for_each(|(to, from)| *to = from);
    }
    boot
}

fn begin(folder: &Path, number: u64, boot: &[u8; 36]) -> io::Result<File> {
    let file =
        OpenOptions::new().append(true).create_new(true).mode(0o600).open(path(folder, number))?;
    let mut header = Vec::with_capacity(HEADER);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&[State::Open.byte(), 0, 0, 0]);
    header.extend_from_slice(boot);
    header.extend_from_slice(&file.metadata()?.ino().to_le_bytes());
    header.resize(HEADER, 0);
    (&file).write_all(&header)?;
    Ok(file)
}

/// Reads the nonces of a file that could still be replayed, and says whether they are all there.
fn read(
    mut file: &File,
    boot: &[u8; 36],
    now: Millis,
    found: &mut Vec<(i64, Millis)>,
) -> io::Result<bool> {
    let number = file.metadata()?.ino().to_le_bytes();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let Some((header, records)) = bytes.split_at_checked(HEADER) else { return Ok(false) };
    let known = boot != &[0; 36] && header.get(12..48) == Some(boot.as_slice());
    let state = header.get(8).copied();
    let same = header.starts_with(MAGIC) && header.get(48..56) == Some(number.as_slice());
    let written = state == Some(State::Closed.byte()) || known && state == Some(State::Open.byte());
    for record in records.chunks_exact(RECORD) {
        let (hash, expires_at) = record.split_at(8);
        let number = |bytes: &[u8]| bytes.try_into().map(i64::from_le_bytes).unwrap_or(0);
        let expires_at = number(expires_at);
        if expires_at >= now {
            found.push((number(hash), expires_at));
        }
    }
    Ok(same && written)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_767_323_045_000;

    fn open(folder: &Path, now: Millis) -> (Journal, Vec<i64>, bool) {
        let opened = Journal::open(folder, now).expect("opened");
        let mut found: Vec<i64> = opened.found.iter().map(|(hash, _)| *hash).collect();
        found.sort_unstable();
        (opened.journal, found, opened.whole)
    }

    fn files(folder: &Path) -> usize {
        numbers(folder).expect("folder").len()
    }

    #[test]
    fn what_was_written_is_found_however_the_process_ended() {
        let folder = tempfile::tempdir().expect("folder");
        let (mut journal, found, whole) = open(folder.path(), NOW);
        assert!(found.is_empty() && !whole, "nobody knows why there is none");
        journal.append(1, NOW + 1000, NOW).expect("written");
        journal.append(-2, NOW + 2000, NOW).expect("written");
        drop(journal);
        let (mut journal, found, whole) = open(folder.path(), NOW + 1);
        assert_eq!((found, whole), (vec![-2, 1], true));
        journal.append(3, NOW + 3000, NOW).expect("written");
        journal.close().expect("closed");
        let (_, found, whole) = open(folder.path(), NOW + 1500);
        assert_eq!((found, whole), (vec![-2, 3], true), "the first one has expired");
    }

    #[test]
    fn what_another_boot_left_open_is_not_whole_and_what_it_closed_is() {
        let folder = tempfile::tempdir().expect("folder");
        let (mut journal, ..) = open(folder.path(), NOW);
        journal.append(1, NOW + 1000, NOW).expect("written");
        let reboot = |number| {
            let file = OpenOptions::new().write(true).open(path(folder.path(), number));
            file.expect("file").write_all_at(b"another", 12).expect("written");
        };
        drop(journal);
        reboot(1);
        let (journal, found, whole) = open(folder.path(), NOW);
        assert_eq!((found, whole), (vec![1], false));
        drop(journal);
        fs::remove_file(path(folder.path(), 1)).expect("removed");
        let (journal, ..) = open(folder.path(), NOW);
        journal.close().expect("closed");
        reboot(2);
        reboot(3);
        assert!(open(folder.path(), NOW).2);
    }

    #[test]
    fn a_copy_of_a_journal_is_not_whole() {
        let folder = tempfile::tempdir().expect("folder");
        drop(open(folder.path(), NOW));
        let (from, to) = (path(folder.path(), 1), folder.path().join("copy"));
        fs::copy(&from, &to).expect("copied");
        fs::rename(&to, &from).expect("put back");
        assert!(!open(folder.path(), NOW).2);
        let cut = tempfile::tempdir().expect("folder");
        drop(open(cut.path(), NOW));
        fs::write(path(cut.path(), 1), b"BRTH").expect("cut");
        assert!(!open(cut.path(), NOW).2);
    }

    #[test]
    fn a_file_that_missed_something_says_so() {
        let folder = tempfile::tempdir().expect("folder");
        let (mut journal, ..) = open(folder.path(), NOW);
        // A handle that cannot be written to, as if the disk were full.
        let file = path(folder.path(), 1);
        journal.current = Arc::new(File::open(&file).expect("file"));
        journal.append(1, NOW + 1000, NOW).expect("said");
        journal.append(2, NOW + 1000, NOW).expect("said");
        journal.close().expect("closed");
        assert!(!open(folder.path(), NOW).2);
    }

    #[test]
    fn files_go_when_nothing_in_them_can_be_replayed() {
        let folder = tempfile::tempdir().expect("folder");
        let (mut journal, ..) = open(folder.path(), NOW);
        for minute in 0..300 {
            let now = NOW + minute * 60_000;
            journal.append(minute, now + 30 * 60_000, now).expect("written");
            assert!(files(folder.path()) <= 4);
        }
        drop(journal);
        let (_, found, whole) = open(folder.path(), NOW + 299 * 60_000);
        assert_eq!((found, whole), ((269..300).collect(), true));
    }
}
