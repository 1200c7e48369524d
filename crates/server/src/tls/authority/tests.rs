use std::os::unix::fs::PermissionsExt as _;

use berth_types::{Clock as _, SystemClock};

use super::*;

fn open(folder: &Path, now: Millis) -> OwnAuthority {
    let names = names(&["hub.example.com".to_owned()], [10, 0, 0, 7].into()).expect("names");
    OwnAuthority::open(&folder.join("tls"), names, now).expect("an authority")
}

fn issue(authority: &mut OwnAuthority, now: Millis) -> CertificateDer<'static> {
    let certified = authority.renew(now).expect("signed").expect("a new one");
    certified.cert[0].clone().into_owned()
}

#[test]
fn the_authority_stays_and_only_its_owner_reads_the_key() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let now = SystemClock.now();
    let mut first = open(folder.path(), now);
    let certificate = std::fs::read(first.certificate_file()).expect("ca.pem");
    let mode = |name: &str| {
        let path = folder.path().join("tls").join(name);
        std::fs::metadata(path).expect("exists").permissions().mode() & 0o777
    };
    assert_eq!((mode(""), mode(KEY), mode(CERTIFICATE)), (0o700, 0o600, 0o644));
    let issued = issue(&mut first, now);
    let mut again = open(folder.path(), now + DAY);
    assert_eq!(std::fs::read(again.certificate_file()).expect("ca.pem"), certificate);
    again.verify(&issued, now).expect("the same authority");
    let later = issue(&mut again, now + DAY);
    first.verify(&later, now + DAY).expect("the same authority");
    assert_eq!(std::fs::read_dir(folder.path()).expect("list").count(), 1, "nothing left over");
}

#[test]
fn certificates_are_renewed_before_they_end() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let now = SystemClock.now();
    let mut authority = open(folder.path(), now);
    let first = issue(&mut authority, now);
    authority.verify(&first, now + CERTIFICATE_LIFE - 1000).expect("until its end");
    authority.verify(&first, now + CERTIFICATE_LIFE + 1000).expect_err("and no longer");
    assert!(authority.renew(now + RENEW_AFTER - 1).expect("asked").is_none());
    let second = issue(&mut authority, now + RENEW_AFTER);
    assert_ne!(first, second);
    assert!(authority.renew(now + RENEW_AFTER + DAY).expect("asked").is_none());
    issue(&mut authority, now - 2 * DAY);
}

#[test]
fn a_key_of_another_authority_is_noticed() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let other = tempfile::tempdir().expect("temporary folder");
    let now = SystemClock.now();
    drop((open(folder.path(), now), open(other.path(), now)));
    let key = |folder: &Path| folder.join("tls").join(KEY);
    std::fs::copy(key(other.path()), key(folder.path())).expect("copied");
    let error = open(folder.path(), now).renew(now).expect_err("not its key");
    assert!(error.to_string().contains("does not vouch"), "{error}");
    std::fs::remove_file(key(folder.path())).expect("removed");
    let missing = OwnAuthority::open(&folder.path().join("tls"), Vec::new(), now);
    assert!(missing.err().expect("no key").to_string().contains("ca.key"));
}

#[test]
fn names_are_those_of_this_machine_and_the_operators() {
    let added = ["Hub.Example.com", "*.hub.example.com", "10.1.2.3"].map(str::to_owned);
    let names = names(&added, Ipv4Addr::UNSPECIFIED.into()).expect("names");
    for name in
        ["localhost", "127.0.0.1", "::1", "hub.example.com", "*.hub.example.com", "10.1.2.3"]
    {
        assert!(names.iter().any(|known| known == name), "{name} in {names:?}");
    }
    assert!(!names.iter().any(|name| name == "0.0.0.0"));
    for wrong in ["", "a b", "https://x", "x:5000", "*.*.x", "ümlaut"] {
        let error = super::names(&[wrong.to_owned()], Ipv4Addr::LOCALHOST.into());
        assert!(error.is_err(), "`{wrong}`");
    }
}
