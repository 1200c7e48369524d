//! Every captured request of a real SDK passes the verifier, and none does with a byte changed.

use std::fs;
use std::path::{Path, PathBuf};

use berth_auth::encoding::parse_form;
use berth_auth::signature::{Claimed, Scheme, SignedRequest, parse, parse_timestamp};
use berth_auth::{AuthError, signature};
use berth_types::Secret;

struct Capture {
    method: String,
    path: String,
    query: Vec<(String, String)>,
    form: Vec<(String, String)>,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Capture {
    fn read(path: &Path) -> Self {
        Self::parse(&fs::read(path).expect("a capture"))
    }

    fn parse(raw: &[u8]) -> Self {
        let end = raw.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("end of head");
        let head = String::from_utf8(raw[..end].to_vec()).expect("head is text");
        let body = raw[end + 4..].to_vec();
        let mut lines = head.split("\r\n");
        let mut first = lines.next().expect("request line").split(' ');
        let method = first.next().expect("method").to_owned();
        let target = first.next().expect("target");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let headers: Vec<(String, Vec<u8>)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().as_bytes().to_vec()))
            .collect();
        let is_form = headers.iter().any(|(name, value)| {
            name == "content-type" && value.starts_with(b"application/x-www-form-urlencoded")
        });
        Self {
            method,
            path: path.to_owned(),
            query: parse_form(query.as_bytes()),
            form: if is_form { parse_form(&body) } else { Vec::new() },
            headers,
            body,
        }
    }

    fn request(&self) -> SignedRequest<'_> {
        SignedRequest {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            form: &self.form,
            headers: &self.headers,
            body: &self.body,
        }
    }

    fn claimed(&self) -> Result<Claimed, AuthError> {
        parse(&self.request())
    }
}

fn captures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut files = Vec::new();
    for client in ["js", "py_new", "py_new_fixed", "py_old"] {
        for entry in fs::read_dir(folder.join(client)).expect("fixtures") {
            files.push(entry.expect("entry").path());
        }
    }
    files.sort();
    assert_eq!(files.len(), 45, "captures went missing");
    files
}

fn secret_of(claimed: &Claimed, path: &Path) -> Secret {
    let old_sts = claimed.access_key_id == "stsid" && path.to_string_lossy().contains("py_old");
    Secret::new(if old_sts { "stssecret" } else { "testsecret" })
}

#[test]
fn every_capture_verifies() {
    let (mut acs3, mut rpc) = (0, 0);
    for path in captures() {
        let capture = Capture::read(&path);
        let name = path.display();
        match Scheme::of(&capture.request()) {
            Scheme::Acs3 if path.ends_with("py_new/015.req") => {
                // ACS3-HMAC-SM3, which the service does not support.
                assert!(matches!(capture.claimed(), Err(AuthError::SignatureMethod)), "{name}");
            }
            scheme @ (Scheme::Acs3 | Scheme::RpcV1) => {
                let claimed = capture.claimed().unwrap_or_else(|error| panic!("{name}: {error}"));
                claimed
                    .check(&secret_of(&claimed, &path))
                    .unwrap_or_else(|error| panic!("{name}: {error}"));
                assert!(claimed.check_freshness(claimed.timestamp + 900_000).is_ok());
                assert!(claimed.check_freshness(claimed.timestamp - 900_000).is_ok());
                for skewed in [claimed.timestamp + 900_001, claimed.timestamp - 900_001] {
                    let refused = claimed.check_freshness(skewed).expect_err("skewed");
                    assert_eq!(refused.code(), "InvalidTimeStamp.Expired");
                }
                *(if scheme == Scheme::Acs3 { &mut acs3 } else { &mut rpc }) += 1;
            }
            Scheme::Roa => {
                let refused = capture.claimed().expect_err("ROA is not served");
                assert_eq!(refused.code(), "IncompleteSignature", "{name}");
            }
            Scheme::Bearer => {
                let refused = capture.claimed().expect_err("bearer is not served");
                assert_eq!(refused.code(), "IncompleteSignature", "{name}");
            }
            Scheme::Anonymous => {
                let refused = capture.claimed().expect_err("anonymous");
                assert_eq!(refused.code(), "MissingAccessKeyId", "{name}");
            }
        }
    }
    assert_eq!((acs3, rpc), (24, 14));
}

#[test]
fn a_changed_byte_does_not_match() {
    for path in captures() {
        let capture = Capture::read(&path);
        let name = path.display();
        let Ok(claimed) = capture.claimed() else { continue };
        let secret = secret_of(&claimed, &path);
        let refused = claimed.check(&Secret::new("wrong")).expect_err("another secret");
        assert_eq!(refused.code(), "SignatureDoesNotMatch", "{name}");
        let mut changed: Vec<Capture> = Vec::new();
        for index in 0..capture.query.len() {
            let mut copy = Capture::read(&path);
            copy.query[index].1.push('x');
            changed.push(copy);
        }
        if !capture.body.is_empty() {
            let raw = fs::read(&path).expect("a capture");
            let mut raw = raw.clone();
            let last = raw.last_mut().expect("a body");
            *last ^= 1;
            changed.push(Capture::parse(&raw));
        }
        let mut copy = Capture::read(&path);
        copy.method = if copy.method == "GET" { "POST" } else { "GET" }.to_owned();
        changed.push(copy);
        for copy in changed {
            // A changed common parameter may fail before the signature is computed.
            if let Ok(claimed) = copy.claimed() {
                let refused = claimed.check(&secret).expect_err("changed");
                assert_eq!(refused.code(), "SignatureDoesNotMatch", "{name}");
                let text = refused.to_string();
                assert!(text.contains(" server string to sign is:"), "{text}");
            }
        }
    }
}

#[test]
fn the_string_to_sign_is_what_the_old_python_sdk_compares() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/py_new_fixed/003.req");
    let claimed = Capture::read(&path).claimed().expect("parsed");
    let text = claimed.check(&Secret::new("wrong")).expect_err("refused").to_string();
    let shown = text.split(':').nth(1).expect("a colon");
    assert_eq!(
        shown,
        "POST&%2F&AccessKeyId%3Dtestid%26Action%3DGetAuthorizationToken%26Format%3Djson%26\
         InstanceId%3Dcri-123%26SignatureMethod%3DHMAC-SHA1%26SignatureNonce%3D\
         0123456789abcdef0123456789abcdef%26SignatureVersion%3D1.0%26Timestamp%3D\
         2026-01-02T03%253A04%253A05Z%26Version%3D2018-12-01"
    );
}

#[test]
fn secrets_are_struck_out_of_the_message() {
    let query = "Action=ResetLoginPassword&Password=hunter22&AccessKeyId=a&SignatureMethod=HMAC-SHA1\
                 &SignatureVersion=1.0&Timestamp=2026-01-02T03%3A04%3A05Z&SignatureNonce=n&Signature=s";
    let raw = format!("GET /?{query} HTTP/1.1\r\nHost: x\r\n\r\n");
    let claimed = Capture::parse(raw.as_bytes()).claimed().expect("parsed");
    let text = claimed.check(&Secret::new("wrong")).expect_err("refused").to_string();
    assert!(text.contains("Password") && !text.contains("hunter22"), "{text}");
}

#[test]
fn official_vectors_of_v1() {
    for (query, expected) in [
        (
            "UserName=test&SignatureVersion=1.0&Format=JSON&Timestamp=2015-08-18T03%3A15%3A45Z\
             &AccessKeyId=testid&SignatureMethod=HMAC-SHA1&Version=2015-05-01&Action=CreateUser\
             &SignatureNonce=6a6e0ca6-4557-11e5-86a2-b8e8563dc8d2",
            "kRA2cnpJVacIhDMzXnoNZG9tDCI=",
        ),
        (
            "SignatureVersion=1.0&Format=JSON&Timestamp=2015-09-01T05%3A57%3A34Z\
             &RoleArn=acs%3Aram%3A%3A1234567890123%3Arole%2Ffirstrole&RoleSessionName=client\
             &AccessKeyId=testid&SignatureMethod=HMAC-SHA1&Version=2015-04-01&Action=AssumeRole\
             &SignatureNonce=571f8fb8-506e-11e5-8e12-b8e8563dc8d2",
            "gNI7b0AyKZHxDgjBGPDgJ1Ce3L4=",
        ),
        (
            "Timestamp=2016-02-23T12%3A46%3A24Z&Format=XML&AccessKeyId=testid&Action=DescribeRegions\
             &SignatureMethod=HMAC-SHA1&SignatureNonce=3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf\
             &Version=2014-05-26&SignatureVersion=1.0",
            "OLeaidS1JvxuMvnyHOwuJ+uX5qY=",
        ),
    ] {
        let parameters = berth_auth::encoding::merge(&parse_form(query.as_bytes()), &[]);
        let string = signature::rpc_v1::string_to_sign("GET", "/", &parameters);
        let signed = signature::rpc_v1::signature(&string, &Secret::new("testsecret"));
        assert_eq!(signed, expected);
    }
}

#[test]
fn official_vector_of_v3() {
    let request = "POST /?RegionId=cn-shanghai&ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd HTTP/1.1\r\n\
        Authorization: ACS3-HMAC-SHA256 Credential=YourAccessKeyId, SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version, Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0\r\n\
        host: ecs.cn-shanghai.aliyuncs.com\r\n\
        x-acs-action: RunInstances\r\n\
        x-acs-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\r\n\
        x-acs-date: 2023-10-26T10:22:32Z\r\n\
        x-acs-signature-nonce: 3156853299f313e23d1673dc12e1703d\r\n\
        x-acs-version: 2014-05-26\r\n\r\n";
    let claimed = Capture::parse(request.as_bytes()).claimed().expect("parsed");
    assert_eq!(Some(claimed.timestamp), parse_timestamp("2023-10-26T10:22:32Z"));
    claimed.check(&Secret::new("YourAccessKeySecret")).expect("the documented signature");
}

#[test]
fn unsigned_or_missing_parts_are_named() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/py_new_fixed/002.req");
    let raw = fs::read_to_string(path).expect("a capture");
    for (from, to, code) in [
        ("host;", "", "IncompleteSignature"),
        ("x-acs-security-token;", "", "IncompleteSignature"),
        ("Credential=testid,", "", "IncompleteSignature"),
        (",Signature=", ",Signatur=", "IncompleteSignature"),
        ("ACS3-HMAC-SHA256 ", "ACS3-HMAC-SHA256", "IncompleteSignature"),
        ("ACS3-HMAC-SHA256 ", "ACS3-HMAC-MD5 ", "InvalidSignatureMethod"),
        ("2026-01-02T03:04:05Z", "2026-01-02 03:04:05", "InvalidTimeStamp.Format"),
    ] {
        let changed = raw.replacen(from, to, 1);
        assert_ne!(changed, raw, "{from}");
        let refused = Capture::parse(changed.as_bytes()).claimed().expect_err(from);
        assert_eq!(refused.code(), code, "{from}: {refused}");
    }
}
