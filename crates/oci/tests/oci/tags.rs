//! Lists of tags, over their pages.

use berth_oci::client::ClientError;

use crate::upstream::{client, reply, serve};

#[tokio::test]
async fn tags_are_read_over_all_pages() {
    let (address, log) = serve(|seen, _| {
        if seen.request.contains("last=b") {
            return reply(200, &[], r#"{"name":"a/b","tags":["c"]}"#);
        }
        let link = "</v2/a/b/tags/list?last=b&n=2>; rel=\"next\"";
        reply(200, &[("link", link)], r#"{"name":"a/b","tags":["a","b"]}"#)
    })
    .await;
    assert_eq!(client(&address).tags("a/b").await.map(|tags| tags.concat()), Ok("abc".to_owned()));
    assert_eq!(log.all().len(), 2);
}

#[tokio::test]
async fn a_link_to_another_host_fails() {
    let (address, log) = serve(|_, _| {
        reply(200, &[("link", "<http://127.0.0.2/x>; rel=next")], r#"{"tags":["a"]}"#)
    })
    .await;
    let error = client(&address).tags("a/b").await;
    assert!(matches!(error, Err(ClientError::Redirect { .. })), "{error:?}");
    assert_eq!(log.all().len(), 1);
}

#[tokio::test]
async fn a_page_that_leads_to_itself_fails() {
    let (address, _) = serve(|_, _| {
        reply(200, &[("link", "</v2/a/b/tags/list?n=1000>; rel=next")], r#"{"tags":["a"]}"#)
    })
    .await;
    assert!(client(&address).tags("a/b").await.is_err_and(|error| !error.is_transient()));
}

#[tokio::test]
async fn names_that_leave_the_api_are_refused() {
    assert!(
        client("127.0.0.1:1").tags("../../etc").await.is_err_and(|error| !error.is_transient())
    );
}
