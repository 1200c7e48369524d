//! After a restart: everything that was acknowledged is there, byte for byte.

use super::client::{Client, status};
use super::model::{Ending, Known, TAGS};
use berth_testkit::registry::Registry;
use rand::Rng;

impl Client {
    /// Compares the repository with what this client was told, and learns what it could not know.
    pub(crate) fn check(&mut self, registry: &Registry) {
        self.check_blobs(registry);
        self.check_manifests(registry);
        self.check_sessions(registry);
    }

    fn check_blobs(&mut self, registry: &Registry) {
        let repository = &self.repository;
        self.model.blobs.retain(|digest, blob| {
            // Whatever comes with 200 has the digest, or this panics.
            match registry.blob(repository, digest) {
                Some(_) => {
                    blob.known = Known::Present;
                    true
                }
                None => {
                    let unsure = blob.known == Known::Unsure;
                    assert!(unsure, "{repository} lost {digest}, which was acknowledged");
                    false
                }
            }
        });
    }

    fn check_manifests(&mut self, registry: &Registry) {
        let repository = self.repository.clone();
        let mut gone = Vec::new();
        for (digest, manifest) in &mut self.model.manifests {
            match registry.manifest(&repository, digest) {
                Some(found) => {
                    assert_eq!(found.body, manifest.body, "{repository} {digest}");
                    manifest.known = Known::Present;
                }
                None => {
                    let unsure = manifest.known == Known::Unsure;
                    assert!(unsure, "{repository} lost manifest {digest}");
                    gone.push(digest.clone());
                }
            }
        }
        for tag in TAGS {
            let found = registry.manifest(&repository, tag).map(|manifest| manifest.digest);
            let candidates = self.model.tag(tag);
            assert!(
                candidates.contains(&found),
                "{repository}:{tag} is {found:?} of {candidates:?}"
            );
            self.model.tags.insert(tag, vec![found]);
        }
        for digest in gone {
            self.model.manifest_deleted(&digest);
        }
        for (digest, manifest) in &self.model.manifests {
            for blob in &manifest.blobs {
                let known = self.model.blobs.get(blob).map(|blob| blob.known);
                assert_eq!(known, Some(Known::Present), "{blob} of {digest} in {repository}");
            }
        }
    }

    /// Every upload stands where it was acknowledged to stand, or further; most are brought to an
    /// end.
    fn check_sessions(&mut self, registry: &Registry) {
        let repository = self.repository.clone();
        let mut left = Vec::new();
        for mut session in std::mem::take(&mut self.model.sessions) {
            let answer = status(&session);
            if answer.status == 404 {
                let blob = || registry.blob(&repository, &session.digest);
                match session.ending {
                    Some(Ending::Cancel) => {}
                    Some(Ending::Put) => {
                        assert!(blob().is_some(), "{repository} lost an upload: {session:?}");
                    }
                    None => panic!("{repository} lost an upload: {session:?}"),
                }
                continue;
            }
            assert_eq!(answer.status, 204, "{}", answer.body);
            let offset = answer.received.expect("a range");
            // The range of one byte is that of none.
            let acknowledged = if session.acknowledged == 1 { 0 } else { session.acknowledged };
            assert!((acknowledged..=session.sent).contains(&offset), "{offset} of {session:?}");
            if offset > 0 || session.acknowledged != 1 {
                session.acknowledged = offset;
            }
            session.sent = session.acknowledged;
            if self.random.random_bool(0.3) {
                session.ending = None;
                left.push(session);
                continue;
            }
            let bytes = session.content.bytes();
            let rest = bytes.get(session.acknowledged as usize..).unwrap_or_default();
            self.end(&mut session, rest).expect("the server answers");
            let pushed = registry.blob(&repository, &session.digest);
            assert!(pushed.expect("a blob") == bytes);
        }
        // A few stay for another crash; the others are abandoned.
        let surplus = left.len().saturating_sub(5);
        left.drain(..surplus);
        self.model.sessions = left;
    }
}
