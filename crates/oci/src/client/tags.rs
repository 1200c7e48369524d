//! The list of a repository's tags, over its pages.

use std::collections::HashSet;

use bytes::Bytes;
use http::StatusCode;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::pages::Pages;
use super::{ClientError, RegistryClient};

/// The size of a page that is asked for.
const PAGE: &str = "n=1000";

impl RegistryClient {
    /// All tags of a repository, each once, in the upstream's order, over all pages.
    ///
    /// # Errors
    /// [`ClientError`]; `NotFound` when there is no such repository, `Bound` when the list is larger
    /// than this upstream's may be.
    pub async fn tags(&self, repository: &str) -> Result<Vec<String>, ClientError> {
        let what = &format!("tags of repository `{repository}`");
        let pages = Pages::new(self, repository, what);
        let list = List { client: self, repository, what, pages, tags: Vec::new() };
        Pages::within_time(self, what, list.read()).await
    }
}

struct List<'a> {
    client: &'a RegistryClient,
    repository: &'a str,
    what: &'a str,
    pages: Pages<'a>,
    tags: Vec<String>,
}

impl List<'_> {
    async fn read(mut self) -> Result<Vec<String>, ClientError> {
        let bare = self.client.url(self.repository, "tags/list")?;
        let mut url = bare.clone();
        url.set_query(Some(PAGE));
        self.pages.passed(bare.clone());
        let mut next = Some(url);
        while let Some(url) = next {
            let page = match self.pages.read(&url).await {
                // Some registries refuse a page size that is larger than theirs.
                Err(ClientError::Status { status, .. })
                    if self.pages.is_at_start() && refuses_the_size(status) =>
                {
                    self.pages.read(&bare).await?
                }
                other => other?,
            };
            self.take(&page.body)?;
            next = page.next?;
        }
        Ok(without_repetitions(self.tags))
    }

    fn take(&mut self, page: &Bytes) -> Result<(), ClientError> {
        let most = self.client.config().bounds.list_tags;
        let mut json = serde_json::Deserializer::from_slice(page);
        let read =
            Page { into: &mut self.tags, most }.deserialize(&mut json).and_then(|()| json.end());
        match read {
            Ok(()) => Ok(()),
            Err(_) if self.tags.len() > most => {
                Err(self.pages.beyond(format!("more than {most} tags (upstream.list_tags)")))
            }
            Err(error) => {
                Err(ClientError::Protocol { what: self.what.to_owned(), reason: error.to_string() })
            }
        }
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
