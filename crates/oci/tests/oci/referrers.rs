//! Lists of what refers to a manifest, over their pages.

use berth_oci::client::ClientErrorKind;
use berth_oci::media_type;
use berth_types::Digest;

use crate::upstream::{client, reply, serve};

fn page(names: &[&str]) -> String {
    let entries: Vec<String> = names
        .iter()
        .map(|name| {
            let (kind, digest) = (media_type::OCI_MANIFEST, Digest::sha256(name.as_bytes()));
            format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":1}}"#)
        })
        .collect();
    let kind = media_type::OCI_INDEX;
    format!(r#"{{"schemaVersion":2,"mediaType":"{kind}","manifests":[{}]}}"#, entries.join(","))
}

#[tokio::test]
async fn every_page_of_referrers_is_read() {
    let (address, log) = serve(|seen, _| {
        let (names, next) = match seen.request.as_str() {
            one if one.contains("last=b") => (&["c"][..], None),
            _ => (&["a", "b"][..], Some("</v2/a/b/referrers/x?last=b>; rel=\"next\"")),
        };
        let mut headers = vec![("content-type", media_type::OCI_INDEX)];
        headers.extend(next.map(|next| ("link", next)));
        reply(200, &headers, page(names))
    })
    .await;
    let found = client(&address).referrers("a/b", &Digest::sha256(b"image")).await;
    let found = found.expect("a list").expect("an index");
    let digests: Vec<Digest> = found.into_iter().map(|one| one.digest).collect();
    assert_eq!(digests, ["a", "b", "c"].map(|name| Digest::sha256(name.as_bytes())));
    assert_eq!(log.all().len(), 2);
}

#[tokio::test]
async fn half_a_list_of_referrers_is_none() {
    // Pages in a circle, a Link that cannot be read, a second page that is no index.
    for link in ["</v2/a/b/referrers/x?again>; rel=next", "<broken; rel=next", "</html>; rel=next"]
    {
        let (address, _) = serve(move |seen, _| {
            let headers = [("content-type", media_type::OCI_INDEX), ("link", link)];
            match seen.request.contains("/html") {
                true => reply(200, &[("content-type", "text/html")], "<html>"),
                false => reply(200, &headers, page(&["a"])),
            }
        })
        .await;
        let error = client(&address).referrers("a/b", &Digest::sha256(b"image")).await;
        let error = error.expect_err(link);
        assert_eq!(error.kind(), ClientErrorKind::Invalid, "{error}");
    }
}

#[tokio::test]
async fn what_answers_with_no_index_has_no_list_of_referrers() {
    for (status, kind, body) in
        [(404, "text/plain", "no"), (200, "text/html", "<html>"), (400, "application/json", "{}")]
    {
        let (address, _) = serve(move |_, _| reply(status, &[("content-type", kind)], body)).await;
        let found = client(&address).referrers("a/b", &Digest::sha256(b"image")).await;
        assert!(found.expect("an answer").is_none(), "{status}");
    }
}
