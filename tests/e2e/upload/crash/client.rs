//! A client that pushes, mounts, deletes and pulls at random and notes what it is told.

use super::model::{Content, Ending, Known, MANIFEST, Manifest, Model, Session, TAGS};
use berth_testkit::registry::{Registry, sha256};
use berth_testkit::upload::{Answer, Upload};
use rand::Rng;
use rand::rngs::StdRng;
use std::sync::{Arc, Mutex};

/// More of them are not kept.
const MOST_BLOBS: usize = 40;

/// The server is gone.
#[derive(Debug)]
pub(crate) struct Lost;

/// Blobs of all clients, which others may mount from there while they last.
pub(crate) type Shared = Arc<Mutex<Vec<(String, String, Content)>>>;

pub(crate) struct Client {
    pub(crate) repository: String,
    pub(crate) model: Model,
    pub(crate) random: StdRng,
    pub(crate) shared: Shared,
    /// Requests that were answered, and those that never were.
    pub(crate) answered: usize,
    pub(crate) lost: usize,
}

impl Client {
    /// Works until the server is gone.
    pub(crate) fn work(&mut self, registry: &Registry) {
        while self.step(registry).is_ok() {}
    }

    /// One thing that a client does.
    pub(crate) fn step(&mut self, registry: &Registry) -> Result<(), Lost> {
        let crowded = self.model.blobs.len() > MOST_BLOBS;
        match self.random.random_range(0..100) {
            _ if crowded && self.random.random_bool(0.5) => self.delete_blob(registry),
            0..=19 => self.push_whole(registry),
            20..=49 => self.push_in_chunks(registry),
            50..=59 => self.mount(registry),
            60..=74 => self.push_manifest(registry),
            75..=82 => self.delete(registry),
            _ => self.pull(registry),
        }
    }

    /// The outcome of a request; the first that is not answered ends the work.
    fn noted<T>(&mut self, outcome: anyhow::Result<T>) -> Result<T, Lost> {
        match outcome {
            Ok(answer) => {
                self.answered += 1;
                Ok(answer)
            }
            Err(_) => {
                self.lost += 1;
                Err(Lost)
            }
        }
    }

    fn ask(&mut self, request: reqwest::blocking::RequestBuilder) -> Result<(u16, Vec<u8>), Lost> {
        let read = |answer: reqwest::blocking::Response| {
            let status = answer.status().as_u16();
            answer.bytes().map(|body| (status, body.to_vec()))
        };
        let outcome = request.send().and_then(read).map_err(anyhow::Error::from);
        self.noted(outcome)
    }

    fn new_content(&mut self) -> (Content, Vec<u8>, String) {
        let content = Content::random(&mut self.random);
        let bytes = content.bytes();
        let digest = sha256(&bytes);
        (content, bytes, digest)
    }

    fn push_whole(&mut self, registry: &Registry) -> Result<(), Lost> {
        let (content, bytes, digest) = self.new_content();
        self.model.pushed(content, &digest, Known::Unsure);
        let path = format!("/v2/{}/blobs/uploads/?digest={digest}", self.repository);
        let (status, body) = self.ask(registry.request("POST", &path).body(bytes))?;
        assert_eq!(status, 201, "{}", String::from_utf8_lossy(&body));
        self.have(content, &digest);
        Ok(())
    }

    fn have(&mut self, content: Content, digest: &str) {
        self.model.pushed(content, digest, Known::Present);
        let mut shared = self.shared.lock().expect("no panic before");
        shared.push((self.repository.clone(), digest.to_owned(), content));
        if shared.len() > 100 {
            shared.remove(0);
        }
    }

    fn push_in_chunks(&mut self, registry: &Registry) -> Result<(), Lost> {
        let (content, bytes, digest) = self.new_content();
        let started = Upload::start(registry, &self.repository);
        let upload = self.noted(started)?;
        let mut session =
            Session { upload, content, digest, acknowledged: 0, sent: 0, ending: None };
        let outcome = self.go_on(&mut session, &bytes);
        match outcome {
            Ok(true) => Ok(()),
            // Left for later, or for ever.
            Ok(false) => {
                self.model.sessions.push(session);
                Ok(())
            }
            Err(Lost) => {
                self.model.sessions.push(session);
                Err(Lost)
            }
        }
    }

    /// Sends the rest of a session in chunks; whether it came to its end.
    pub(crate) fn go_on(&mut self, session: &mut Session, bytes: &[u8]) -> Result<bool, Lost> {
        loop {
            let rest = bytes.get(session.acknowledged as usize..).unwrap_or_default();
            match self.random.random_range(0..20) {
                0 => return Ok(false),
                1 => {
                    session.ending = Some(Ending::Cancel);
                    let answer = self.noted(session.upload.cancel())?;
                    assert_eq!(answer.status, 204, "{}", answer.body);
                    return Ok(true);
                }
                2..=9 => return self.end(session, rest).map(|()| true),
                _ if rest.is_empty() => return self.end(session, rest).map(|()| true),
                _ => {
                    // One byte cannot be told from none by the answer's range.
                    let count = self.random.random_range(1..=rest.len()).max(2).min(rest.len());
                    let chunk = rest.get(..count).unwrap_or_default();
                    self.chunk(session, chunk)?;
                }
            }
        }
    }

    fn chunk(&mut self, session: &mut Session, chunk: &[u8]) -> Result<(), Lost> {
        let offset = session.acknowledged;
        session.sent = offset + chunk.len() as u64;
        let answer = self.noted(session.upload.patch(Some(offset), chunk))?;
        assert_eq!(answer.status, 202, "{}", answer.body);
        session.acknowledged = session.sent;
        if session.sent > 1 {
            assert_eq!(answer.received, Some(session.sent));
        }
        Ok(())
    }

    /// Ends a session with its last bytes, which is what the blob needs to be there.
    pub(crate) fn end(&mut self, session: &mut Session, rest: &[u8]) -> Result<(), Lost> {
        let (content, digest) = (session.content, session.digest.clone());
        self.model.pushed(content, &digest, Known::Unsure);
        session.ending = Some(Ending::Put);
        session.sent = session.acknowledged + rest.len() as u64;
        let answered = session.upload.put(&digest, Some(session.acknowledged), rest);
        let answer = self.noted(answered)?;
        assert_eq!(answer.status, 201, "{}", answer.body);
        self.have(content, &digest);
        Ok(())
    }

    fn mount(&mut self, registry: &Registry) -> Result<(), Lost> {
        let candidates = self.shared.lock().expect("no panic before").clone();
        let chosen = self.random.random_range(0..candidates.len().max(1));
        let Some((from, digest, content)) = candidates.into_iter().nth(chosen) else {
            return Ok(());
        };
        if from == self.repository {
            return Ok(());
        }
        // An answer of 202 says that it is not there any more, and was not here before either.
        if !self.model.blobs.contains_key(&digest) {
            self.model.pushed(content, &digest, Known::Unsure);
        }
        let path = format!("/v2/{}/blobs/uploads/?mount={digest}&from={from}", self.repository);
        let (status, body) = self.ask(registry.request("POST", &path).body(""))?;
        match status {
            201 => self.model.pushed(content, &digest, Known::Present),
            202 => {
                if self.model.blobs.get(&digest).is_some_and(|blob| blob.known == Known::Unsure) {
                    self.model.blobs.remove(&digest);
                }
            }
            _ => panic!("mount: {status} {}", String::from_utf8_lossy(&body)),
        }
        Ok(())
    }

    fn push_manifest(&mut self, registry: &Registry) -> Result<(), Lost> {
        let Some((digest, manifest)) = self.model.new_manifest(&mut self.random) else {
            return Ok(());
        };
        let tag = TAGS[self.random.random_range(0..TAGS.len())];
        let before = self.model.tag(tag);
        let body = manifest.body.clone();
        self.model.manifests.insert(digest.clone(), manifest);
        let unsure = before.into_iter().chain([Some(digest.clone())]).collect();
        self.model.tags.insert(tag, unsure);
        let request = registry
            .request("PUT", &format!("/v2/{}/manifests/{tag}", self.repository))
            .header("Content-Type", MANIFEST)
            .body(body);
        let (status, answer) = self.ask(request)?;
        assert_eq!(status, 201, "{}", String::from_utf8_lossy(&answer));
        if let Some(Manifest { known, .. }) = self.model.manifests.get_mut(&digest) {
            *known = Known::Present;
        }
        self.model.tags.insert(tag, vec![Some(digest)]);
        Ok(())
    }

    fn delete(&mut self, registry: &Registry) -> Result<(), Lost> {
        match self.random.random_range(0..10) {
            0..=1 => self.delete_tag(registry),
            2..=5 => self.delete_manifest(registry),
            _ => self.delete_blob(registry),
        }
    }

    fn delete_tag(&mut self, registry: &Registry) -> Result<(), Lost> {
        let tag = TAGS[self.random.random_range(0..TAGS.len())];
        let before = self.model.tag(tag);
        let [Some(digest)] = before.as_slice() else { return Ok(()) };
        self.model.tags.insert(tag, vec![Some(digest.clone()), None]);
        let path = format!("/v2/{}/manifests/{tag}", self.repository);
        let (status, body) = self.ask(registry.request("DELETE", &path))?;
        assert_eq!(status, 202, "{}", String::from_utf8_lossy(&body));
        self.model.tags.insert(tag, vec![None]);
        Ok(())
    }

    pub(crate) fn delete_manifest(&mut self, registry: &Registry) -> Result<(), Lost> {
        let count = self.model.manifests.len();
        let chosen = self.random.random_range(0..count.max(1));
        let found = self.model.manifests.iter_mut().nth(chosen);
        let Some((digest, manifest)) = found.filter(|one| one.1.known == Known::Present) else {
            return Ok(());
        };
        manifest.known = Known::Unsure;
        let digest = digest.clone();
        for candidates in self.model.tags.values_mut() {
            if candidates.contains(&Some(digest.clone())) {
                candidates.push(None);
            }
        }
        let path = format!("/v2/{}/manifests/{digest}", self.repository);
        let (status, body) = self.ask(registry.request("DELETE", &path))?;
        assert_eq!(status, 202, "{}", String::from_utf8_lossy(&body));
        self.model.manifest_deleted(&digest);
        Ok(())
    }

    fn delete_blob(&mut self, registry: &Registry) -> Result<(), Lost> {
        let Some((digest, _)) = self.model.some_blob(&mut self.random) else { return Ok(()) };
        let named = self.model.is_named(&digest);
        if !named && let Some(blob) = self.model.blobs.get_mut(&digest) {
            blob.known = Known::Unsure;
        }
        let path = format!("/v2/{}/blobs/{digest}", self.repository);
        let (status, body) = self.ask(registry.request("DELETE", &path))?;
        match (status, named) {
            (202, false) => {
                self.model.blobs.remove(&digest);
            }
            (403 | 405, true) => {}
            _ => panic!("{digest}: {status}, named {named}: {}", String::from_utf8_lossy(&body)),
        }
        Ok(())
    }

    fn pull(&mut self, registry: &Registry) -> Result<(), Lost> {
        let Some((digest, content)) = self.model.some_blob(&mut self.random) else {
            return Ok(());
        };
        let expected = content.bytes();
        let path = format!("/v2/{}/blobs/{digest}", self.repository);
        let mut request = registry.request("GET", &path);
        let mut range = 0..expected.len();
        if self.random.random_bool(0.5) && !expected.is_empty() {
            let start = self.random.random_range(0..expected.len());
            range = start..self.random.random_range(start + 1..=expected.len());
            request = request.header("Range", format!("bytes={}-{}", range.start, range.end - 1));
        }
        let (status, bytes) = self.ask(request)?;
        assert!([200, 206].contains(&status), "{digest} {range:?}: {status}");
        let expected = if status == 200 { &expected[..] } else { &expected[range] };
        assert!(bytes == expected, "{digest} has other bytes");
        Ok(())
    }
}

/// The status that a session has at a server that is there.
pub(crate) fn status(session: &Session) -> Answer {
    session.upload.status().expect("the server answers")
}
