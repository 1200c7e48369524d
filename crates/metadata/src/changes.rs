//! What a transaction changed, as those learn it who remember rows.

use berth_types::{Digest, Tag};

use crate::epochs::{EVERYTHING, Epochs, INSTANCES, Noun, REPOSITORIES, TASKS, counter};

/// What was changed. A transaction says so with [`crate::Session::touch`]; what it writes without
/// saying so counts as [`Change::Everything`].
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    Everything,
    /// An instance, or a setting.
    Instances,
    AccessKey(&'a str),
    /// A repository of this id was made, changed or deleted with all that is in it.
    Repository(&'a str),
    /// Tags, manifests or links of the repository of this id, too many to name.
    Contents(&'a str),
    /// A tag of a repository.
    Tag(&'a str, &'a Tag),
    /// A manifest of a repository.
    Manifest(&'a str, &'a Digest),
    /// The link by which a repository serves a blob.
    Link(&'a str, &'a Digest),
    /// The row of a blob.
    Blob(&'a Digest),
    /// When the collector looks at blobs, which nobody remembers.
    BlobReviews,
    /// When the collector looks at manifests: of none, as it turned out.
    ManifestReviews,
    /// A task, or what is stored beside it under the same id.
    Task(&'a str),
    /// Tasks, too many to name. So counts what is written to tasks without saying so.
    Tasks,
    /// Whose turn it is, which nobody remembers.
    TaskTurns,
}

/// The tables whose rows are remembered, as bits.
mod table {
    pub(super) const INSTANCE: u8 = 1;
    pub(super) const ACCESS_KEY: u8 = 2;
    pub(super) const REPOSITORY: u8 = 4;
    pub(super) const TAG: u8 = 8;
    pub(super) const MANIFEST: u8 = 16;
    pub(super) const LINK: u8 = 32;
    pub(super) const BLOB: u8 = 64;
    pub(super) const TASK: u8 = 128;

    pub(super) fn bit(name: &str) -> u8 {
        match name {
            "instance" | "setting" => INSTANCE,
            "access_key" => ACCESS_KEY,
            "repository" => REPOSITORY,
            "tag" => TAG,
            "manifest" => MANIFEST,
            "repository_blob" => LINK,
            "blob" => BLOB,
            "task" | "build_task" => TASK,
            _ => 0,
        }
    }
}

/// The remembered tables that a statement writes to.
fn written_by(sql: &str) -> u8 {
    let mut tables = 0;
    for verb in ["INSERT INTO ", "UPDATE ", "DELETE FROM "] {
        for (at, _) in sql.match_indices(verb) {
            let rest = sql.get(at + verb.len()..).unwrap_or_default().trim_start();
            let word = |character: char| character.is_ascii_alphanumeric() || character == '_';
            let end = rest.find(|character| !word(character)).unwrap_or(rest.len());
            tables |= table::bit(rest.get(..end).unwrap_or_default());
        }
    }
    tables
}

/// What one transaction changed so far.
#[derive(Default)]
pub(crate) struct Changes {
    counters: Vec<usize>,
    written: u8,
    announced: u8,
}

impl Changes {
    pub(crate) fn touch(&mut self, change: Change<'_>) {
        let in_repository = table::TAG | table::MANIFEST | table::LINK;
        self.announced |= match change {
            Change::Everything => u8::MAX,
            Change::Instances => table::INSTANCE,
            Change::AccessKey(_) => table::ACCESS_KEY,
            Change::Repository(_) => table::REPOSITORY | in_repository,
            Change::Contents(_) => in_repository,
            Change::Tag(..) => table::TAG,
            Change::Manifest(..) => table::MANIFEST,
            Change::Link(..) => table::LINK,
            Change::Blob(_) | Change::BlobReviews => table::BLOB,
            Change::ManifestReviews => table::MANIFEST,
            Change::Task(_) | Change::Tasks | Change::TaskTurns => table::TASK,
        };
        match change {
            Change::Everything => self.counters.push(EVERYTHING),
            Change::Instances => self.counters.push(INSTANCES),
            Change::AccessKey(id) => self.counters.push(counter(Noun::AccessKey, "", id)),
            Change::Repository(repo_id) => {
                self.counters.extend([REPOSITORIES, counter(Noun::Contents, repo_id, "")]);
            }
            Change::Contents(repo_id) => {
                self.counters.push(counter(Noun::Contents, repo_id, ""));
            }
            Change::Tag(repo_id, tag) => {
                let tag = counter(Noun::Tag, repo_id, tag.as_str());
                self.counters.extend([tag, counter(Noun::Tags, repo_id, "")]);
            }
            Change::Manifest(repo_id, digest) => {
                self.counters.push(counter(Noun::Manifest, repo_id, digest.as_str()));
            }
            Change::Link(repo_id, digest) => {
                self.counters.push(counter(Noun::Link, repo_id, digest.as_str()));
            }
            Change::Blob(digest) => self.counters.push(counter(Noun::Blob, "", digest.as_str())),
            Change::BlobReviews | Change::ManifestReviews | Change::TaskTurns => {}
            Change::Task(id) => self.counters.push(counter(Noun::Task, "", id)),
            Change::Tasks => self.counters.push(TASKS),
        }
    }

    /// Sees a statement before it runs.
    pub(crate) fn note(&mut self, sql: &str) {
        self.written |= written_by(sql);
    }

    /// Whether something was written that no [`Change`] was announced for.
    pub(crate) fn is_unannounced(&self) -> bool {
        self.unannounced() & !table::TASK != 0
    }

    fn unannounced(&self) -> u8 {
        self.written & !self.announced
    }

    /// Makes everybody forget what was changed.
    pub(crate) fn publish(self, epochs: &Epochs) {
        if self.is_unannounced() {
            tracing::debug!("a transaction wrote more than it announced; everything is forgotten");
            #[cfg(test)]
            epochs.note_unannounced();
            epochs.raise(&[EVERYTHING]);
        } else if self.unannounced() != 0 {
            epochs.raise(&[TASKS]);
        }
        epochs.raise(&self.counters);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Subject;

    #[test]
    fn statements_are_seen_through() {
        let tag = "INSERT INTO tag (name) VALUES ($1) ON CONFLICT (name) DO UPDATE SET name = $1";
        assert_eq!(written_by(tag), table::TAG);
        assert_eq!(written_by("SELECT 1 FROM tag FOR UPDATE SKIP LOCKED"), 0);
        assert_eq!(written_by("DELETE FROM repository_blob WHERE 1 = 1"), table::LINK);
        let both = "WITH gone AS (DELETE FROM manifest RETURNING digest) \
            UPDATE blob SET review_after = 1";
        assert_eq!(written_by(both), table::MANIFEST | table::BLOB);
        assert_eq!(written_by("UPDATE manifest_reference SET kind = ''"), 0);
        for (_, sql) in crate::statements::of(crate::Engine::Postgres) {
            let writes = ["tag", "manifest", "repository_blob", "blob", "repository", "instance"]
                .iter()
                .any(|name| {
                    let into = [format!("INSERT INTO {name} "), format!("UPDATE {name} ")];
                    into.iter().any(|into| sql.contains(into.as_str()))
                        || sql.contains(&format!("DELETE FROM {name} "))
                });
            assert!(!writes || written_by(sql) & !table::ACCESS_KEY != 0, "{sql}");
        }
    }

    #[test]
    fn a_change_ends_what_depends_on_it_and_nothing_else() {
        let epochs = Epochs::default();
        let (tag, digest): (Tag, _) = ("v1".parse().expect("tag"), Digest::sha256(b"x"));
        let change = |change: Change<'_>| {
            let mut changes = Changes::default();
            changes.touch(change);
            changes.publish(&epochs);
        };
        let subjects = [
            Subject::Instances,
            Subject::AccessKey("key"),
            Subject::RepositoryName,
            Subject::Tag("r", &tag),
            Subject::Manifest("r", &digest),
            Subject::Link("r", &digest),
            Subject::Tags("r"),
            Subject::Task("t"),
        ];
        for (given, ended) in [
            (Change::Everything, vec![0, 1, 2, 3, 4, 5, 6, 7]),
            (Change::Instances, vec![0]),
            (Change::AccessKey("key"), vec![1]),
            (Change::AccessKey("other"), vec![]),
            (Change::Repository("r"), vec![2, 3, 4, 5, 6]),
            (Change::Repository("other"), vec![2]),
            (Change::Contents("r"), vec![3, 4, 5, 6]),
            (Change::Tag("r", &tag), vec![3, 6]),
            (Change::Tag("other", &tag), vec![]),
            (Change::Manifest("r", &digest), vec![4]),
            (Change::Link("r", &digest), vec![5]),
            (Change::Blob(&digest), vec![5]),
            (Change::BlobReviews, vec![]),
            (Change::Task("t"), vec![7]),
            (Change::Task("other"), vec![]),
            (Change::Tasks, vec![7]),
            (Change::TaskTurns, vec![]),
        ] {
            let before = subjects.map(|subject| epochs.stamp(subject));
            change(given);
            let now = subjects.map(|subject| epochs.stamp(subject));
            let changed: Vec<usize> =
                (0..subjects.len()).filter(|index| before[*index] != now[*index]).collect();
            assert_eq!(changed, ended, "{given:?}");
        }
    }

    #[test]
    fn what_was_not_announced_ends_everything() {
        let epochs = Epochs::default();
        let before = epochs.stamp(Subject::Instances);
        let mut changes = Changes::default();
        changes.note("UPDATE tag SET digest = ''");
        changes.touch(Change::Blob(&Digest::sha256(b"x")));
        assert!(changes.is_unannounced());
        changes.publish(&epochs);
        assert_ne!(epochs.stamp(Subject::Instances), before);
        let before = (epochs.stamp(Subject::Instances), epochs.stamp(Subject::Task("t")));
        let mut changes = Changes::default();
        changes.note("DELETE FROM build_task WHERE created_at < $1");
        changes.publish(&epochs);
        assert_eq!(epochs.stamp(Subject::Instances), before.0);
        assert_ne!(epochs.stamp(Subject::Task("t")), before.1);
        let mut changes = Changes::default();
        changes.note("DELETE FROM tag WHERE repo_id = $1");
        changes.touch(Change::Contents("r"));
        assert!(!changes.is_unannounced());
    }
}
