//! The list of a repository's tags, over its pages.

use std::collections::HashSet;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use url::Url;

use super::manifests::pull_scope;
use super::transport::Exchange;
use super::{ClientError, RegistryClient, link};

/// The size of a page that is asked for.
const PAGE: &str = "n=1000";

impl RegistryClient {
    /// All tags of a repository, each once, in the upstream's order, over all pages.
    ///
    /// # Errors
    /// [`ClientError`]; `NotFound` when there is no such repository, `Bound` when the list is larger
    /// than this upstream's may be.
    pub async fn tags(&self, repository: &str) -> Result<Vec<String>, ClientError> {
        let what = format!("tags of repository `{repository}`");
        let time = self.config().bounds.list_time;
        let list = List { client: self, repository, what: &what, size: 0, tags: Vec::new() };
        tokio::time::timeout(time, list.read()).await.unwrap_or_else(|_| {
            let reason = format!("not there after {} s (upstream.list_time)", time.as_secs());
            Err(ClientError::TooSlow { what: what.clone(), reason })
        })
    }
}

struct List<'a> {
    client: &'a RegistryClient,
    repository: &'a str,
    what: &'a str,
    /// Bytes so far.
    size: u64,
    tags: Vec<String>,
}

impl List<'_> {
    async fn read(mut self) -> Result<Vec<String>, ClientError> {
        let most = self.client.config().bounds.list_pages;
        let mut url = self.client.url(self.repository, "tags/list")?;
        let bare = url.clone();
        url.set_query(Some(PAGE));
        let mut seen = HashSet::new();
        let mut next = Some(url);
        while let Some(url) = next {
            if seen.len() >= most {
                return Err(self.beyond(format!("more than {most} pages (upstream.list_pages)")));
            }
            next = match self.page(&url).await {
                // Some registries refuse a page size that is larger than theirs.
                Err(ClientError::Status { status, .. })
                    if seen.is_empty() && refuses_the_size(status) =>
                {
                    self.page(&bare).await?
                }
                other => other?,
            };
            seen.insert(url);
            if next.as_ref().is_some_and(|next| seen.contains(next) || *next == bare) {
                return Err(self.beyond("its pages lead in a circle".to_owned()));
            }
        }
        Ok(without_repetitions(self.tags))
    }

    /// Reads one page and says where the next one is.
    async fn page(&mut self, url: &Url) -> Result<Option<Url>, ClientError> {
        let (client, what) = (self.client, self.what);
        let size = client.config().bounds.list_size;
        let left = size.saturating_sub(self.size);
        let scope = &pull_scope(self.repository);
        let read = client.retrying(|| async move {
            let exchange = Exchange::new(Method::GET, url.clone(), what);
            let reply = client.send(exchange, scope).await?;
            let next = link::next(reply.headers());
            Ok((reply.bytes(left).await?, next))
        });
        let (body, next) = read.await.map_err(|error| match error {
            ClientError::TooLarge { .. } => {
                self.beyond(format!("larger than {size} bytes (upstream.list_size)"))
            }
            other => other,
        })?;
        self.size += body.len() as u64;
        self.take(&body)?;
        let next = next.map_err(|reason| ClientError::Protocol {
            what: what.to_owned(),
            reason: format!("the Link to its next page cannot be read: {reason}"),
        })?;
        next.map(|link| client.on_base(url, &link, what)).transpose()
    }

    fn take(&mut self, page: &Bytes) -> Result<(), ClientError> {
        let most = self.client.config().bounds.list_tags;
        let mut json = serde_json::Deserializer::from_slice(page);
        let read =
            Page { into: &mut self.tags, most }.deserialize(&mut json).and_then(|()| json.end());
        match read {
            Ok(()) => Ok(()),
            Err(_) if self.tags.len() > most => {
                Err(self.beyond(format!("more than {most} tags (upstream.list_tags)")))
            }
            Err(error) => {
                Err(ClientError::Protocol { what: self.what.to_owned(), reason: error.to_string() })
            }
        }
    }

    fn beyond(&self, reason: String) -> ClientError {
        ClientError::Bound { what: self.what.to_owned(), reason }
    }
}

fn refuses_the_size(status: u16) -> bool {
    status == StatusCode::BAD_REQUEST || status == StatusCode::UNPROCESSABLE_ENTITY
}

/// Pages overlap where tags are pushed meanwhile, and at servers whose `last` is inclusive.
fn without_repetitions(tags: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::with_capacity(tags.len());
    let keep: Vec<bool> = tags.iter().map(|tag| seen.insert(tag.as_str())).collect();
    tags.into_iter().zip(keep).filter_map(|(tag, keep)| keep.then_some(tag)).collect()
}

/// `{"name": …, "tags": […]}`, read tag by tag, so that a page costs no more than the tags that are
/// kept of it. `null` stands for nothing, in place of the list and in it.
struct Page<'a> {
    into: &'a mut Vec<String>,
    most: usize,
}

impl<'de> DeserializeSeed<'de> for Page<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Page<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a list of tags")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Page { into, most } = self;
        while let Some(key) = map.next_key::<String>()? {
            if key == "tags" {
                map.next_value_seed(Tags { into: &mut *into, most })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

struct Tags<'a> {
    into: &'a mut Vec<String>,
    most: usize,
}

impl<'de> DeserializeSeed<'de> for Tags<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tags<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("tags")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(tag) = list.next_element::<Option<String>>()? {
            self.into.extend(tag);
            if self.into.len() > self.most {
                return Err(serde::de::Error::custom("too many tags"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str, most: usize) -> Result<Vec<String>, serde_json::Error> {
        let mut tags = Vec::new();
        let mut json = serde_json::Deserializer::from_str(json);
        Page { into: &mut tags, most }.deserialize(&mut json)?;
        Ok(tags)
    }

    #[test]
    fn pages_as_registries_write_them() {
        for (json, expected) in [
            (r#"{"name":"a","tags":["x","y"]}"#, vec!["x", "y"]),
            (
                r#"{"tags":["x",null,"y"],"child":[],"manifest":{"sha256:1":{"tag":[]}}}"#,
                vec!["x", "y"],
            ),
            (r#"{"tags":null}"#, vec![]),
            (r#"{"tags":[]}"#, vec![]),
            (r#"{"name":"a"}"#, vec![]),
            (r#"{"tags":["a\u002fb"]}"#, vec!["a/b"]),
        ] {
            assert_eq!(read(json, 10).expect(json), expected, "{json}");
        }
        for json in ["[]", r#"{"tags":"x"}"#, r#"{"tags":[1]}"#, r#"{"tags":{}}"#, "<html>", ""] {
            assert!(read(json, 10).is_err(), "{json}");
        }
        assert!(read(r#"{"tags":["1","2","3"]}"#, 2).is_err());
    }

    #[test]
    fn each_tag_once_in_order() {
        let tags = ["b", "a", "b", "c", "a"].map(str::to_owned).to_vec();
        assert_eq!(without_repetitions(tags), ["b", "a", "c"]);
    }
}
