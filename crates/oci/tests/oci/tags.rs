//! Lists of tags, over their pages.

use std::time::{Duration, Instant};

use axum::response::Response;
use berth_oci::client::{ClientError, ClientErrorKind, RegistryClient};

use crate::upstream::{Log, client, config, reply, serve};

/// Three pages: `a` and `b`, `c` and `d`, `e`, whose links are written as `form` says, `P` being
/// the place of the next page.
async fn paged(form: &'static str) -> (String, Log) {
    serve(move |seen, _| {
        let (tags, last) = if seen.request.contains("last=d") {
            (r#"["e"]"#, None)
        } else if seen.request.contains("last=b") {
            (r#"["c","d"]"#, Some("d"))
        } else {
            (r#"["a","b"]"#, Some("b"))
        };
        let link =
            last.map(|last| form.replace('P', &format!("/v2/a/b/tags/list?n=2&last={last}")));
        let headers: Vec<(&str, &str)> = link.iter().map(|link| ("link", link.as_str())).collect();
        reply(200, &headers, format!(r#"{{"name":"a/b","tags":{tags}}}"#))
    })
    .await
}

#[tokio::test]
async fn pages_are_followed_however_their_link_is_written() {
    for form in [
        r#"<P>; rel="next""#,
        r#"<P>; rel="NEXT""#,
        "<P>; rel=next",
        "<P>",
        r#"P; rel="next""#,
        "P",
        r#"</v2/a/b/tags/list>; rel="first", <P>; rel="next""#,
    ] {
        let (address, log) = paged(form).await;
        let tags = client(&address).tags("a/b").await;
        assert_eq!(tags.map(|tags| tags.concat()), Ok("abcde".to_owned()), "{form}");
        assert_eq!(log.all().len(), 3, "{form}");
    }
}

#[tokio::test]
async fn a_link_that_cannot_be_read_fails_the_list() {
    for form in
        ["<P; rel=next", r#"<P>; rel="next"#, "<>; rel=next", r#"<http://127.0.0.2/x>; rel=next"#]
    {
        let (address, log) = paged(form).await;
        let error = client(&address).tags("a/b").await.expect_err(form);
        assert_eq!(error.kind(), ClientErrorKind::Invalid, "{form}: {error}");
        assert_eq!(log.all().len(), 1, "{form}");
    }
}

#[tokio::test]
async fn links_of_other_relations_end_the_list() {
    let (address, _) = paged(r#"<P>; rel="prev""#).await;
    assert_eq!(client(&address).tags("a/b").await.map(|tags| tags.concat()), Ok("ab".to_owned()));
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
async fn two_pages_that_lead_to_each_other_fail_at_once() {
    let (address, log) = serve(|seen, _| {
        let next = if seen.request.contains("last=x") { "last=y" } else { "last=x" };
        let link = format!("</v2/a/b/tags/list?{next}>; rel=next");
        reply(200, &[("link", &link)], r#"{"tags":["a"]}"#)
    })
    .await;
    let error = client(&address).tags("a/b").await.expect_err("a circle");
    assert!(error.to_string().contains("circle"), "{error}");
    assert_eq!(log.all().len(), 3);
}

/// A page that always leads to a new one.
fn endless(number: usize, tags: &str) -> Response {
    let link = format!("</v2/a/b/tags/list?n=1000&last={number}>; rel=next");
    reply(200, &[("link", &link)], format!(r#"{{"tags":[{tags}]}}"#))
}

#[tokio::test]
async fn a_list_without_an_end_is_bounded() {
    let (address, log) = serve(|_, number| endless(number, r#""aaaaaaaa","bbbbbbbb""#)).await;
    for (key, pages) in [("list_pages", 5), ("list_tags", 6), ("list_size", 4)] {
        let mut config = config(&address);
        match key {
            "list_pages" => config.bounds.list_pages = 5,
            "list_tags" => config.bounds.list_tags = 10,
            _ => config.bounds.list_size = 100,
        }
        let before = log.all().len();
        let error = RegistryClient::new(config).expect("client").tags("a/b").await;
        let error = error.expect_err(key);
        assert_eq!(error.kind(), ClientErrorKind::Invalid, "{key}: {error}");
        assert!(error.to_string().contains(&format!("upstream.{key}")), "{key}: {error}");
        assert_eq!(log.all().len() - before, pages, "{key}");
    }
}

#[tokio::test]
async fn one_page_of_endless_bytes_is_bounded() {
    let (address, _) = serve(|_, _| {
        let block = bytes::Bytes::from(vec![b' '; 64 * 1024]);
        let blocks = futures::stream::repeat_with(move || Ok::<_, std::io::Error>(block.clone()));
        reply(200, &[], axum::body::Body::from_stream(blocks))
    })
    .await;
    let error = client(&address).tags("a/b").await.expect_err("too large");
    assert!(error.to_string().contains("upstream.list_size"), "{error}");
}

#[tokio::test]
async fn a_list_has_its_time() {
    let (address, _) = serve(|_, number| {
        std::thread::sleep(Duration::from_millis(20));
        endless(number, "\"a\"")
    })
    .await;
    let mut config = config(&address);
    config.bounds.list_time = Duration::from_millis(200);
    let start = Instant::now();
    let error = RegistryClient::new(config).expect("client").tags("a/b").await;
    let error = error.expect_err("too long");
    assert!(error.is_transient() && error.to_string().contains("upstream.list_time"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_page_that_trickles_has_its_time() {
    let (address, log) = serve(|_, _| {
        let bytes = futures::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some((Ok::<_, std::io::Error>(bytes::Bytes::from_static(b" ")), ()))
        });
        reply(200, &[], axum::body::Body::from_stream(bytes))
    })
    .await;
    let mut config = config(&address);
    config.bounds.document_time = Duration::from_millis(300);
    let error = RegistryClient::new(config).expect("client").tags("a/b").await;
    let error = error.expect_err("too slow");
    assert!(error.to_string().contains("upstream.document_time"), "{error}");
    assert_eq!(log.all().len(), 1, "a trickle is not asked for again");
}

#[tokio::test]
async fn a_page_size_that_is_refused_is_left_out() {
    for status in [400, 422] {
        let (address, log) = serve(move |seen, _| {
            if seen.request.contains("n=1000") {
                return reply(status, &[], r#"{"errors":[{"code":"PAGINATION_NUMBER_INVALID"}]}"#);
            }
            reply(200, &[], r#"{"tags":["a"]}"#)
        })
        .await;
        assert_eq!(
            client(&address).tags("a/b").await.map(|tags| tags.concat()),
            Ok("a".to_owned())
        );
        let asked: Vec<String> = log.all().into_iter().map(|seen| seen.request).collect();
        assert_eq!(asked, ["GET /v2/a/b/tags/list?n=1000", "GET /v2/a/b/tags/list"]);
    }
    let (address, log) = serve(|_, _| reply(400, &[], "")).await;
    assert!(client(&address).tags("a/b").await.is_err());
    assert_eq!(log.all().len(), 2);
}

#[tokio::test]
async fn null_stands_for_no_tag() {
    for (body, expected) in
        [(r#"{"tags":["a",null,"b"]}"#, "ab"), (r#"{"tags":null}"#, ""), (r#"{"name":"a/b"}"#, "")]
    {
        let (address, _) = serve(move |_, _| reply(200, &[], body)).await;
        let tags = client(&address).tags("a/b").await;
        assert_eq!(tags.map(|tags| tags.concat()), Ok(expected.to_owned()), "{body}");
    }
}

#[tokio::test]
async fn names_that_leave_the_api_are_refused() {
    assert!(
        client("127.0.0.1:1").tags("../../etc").await.is_err_and(|error| !error.is_transient())
    );
}
