//! Berth's own certificate authority: made at the first start that asks for it, kept in two files,
//! and used to sign the server's certificate, which lives in memory only.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use berth_types::Millis;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{
    CertificateDer, DnsName, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime,
};
use rustls::sign::CertifiedKey;

use super::{TlsError, file_error, pem_error, provider};

const CERTIFICATE: &str = "ca.pem";
const KEY: &str = "ca.key";

const DAY: Millis = 24 * 60 * 60 * 1000;
/// A client whose clock is behind must not find the certificate too young.
const BACKDATED: Millis = DAY;
const AUTHORITY_LIFE: Millis = 3650 * DAY;
/// Short enough for every client's rules; nobody has to carry the certificate anywhere.
const CERTIFICATE_LIFE: Millis = 90 * DAY;
const RENEW_AFTER: Millis = 60 * DAY;

/// The authority and what it signs.
pub(super) struct OwnAuthority {
    folder: PathBuf,
    root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    names: Vec<String>,
    /// When the certificate in use was issued.
    issued: Option<Millis>,
}

impl OwnAuthority {
    /// Reads the authority in `folder`, made when the folder is not there. `names` are what the
    /// certificates are for.
    pub(super) fn open(folder: &Path, names: Vec<String>, now: Millis) -> Result<Self, TlsError> {
        if !folder.exists() {
            create(folder, now)?;
        }
        let [certificate, key] = [CERTIFICATE, KEY].map(|name| folder.join(name));
        let root = CertificateDer::from_pem_file(&certificate)
            .map_err(pem_error("the authority's certificate", &certificate))?;
        let text = std::fs::read_to_string(&key).map_err(file_error(&key))?;
        let key = KeyPair::from_pem(&text)?;
        let issuer = Issuer::new(authority_parameters(&key), key);
        Ok(Self { folder: folder.to_owned(), root, issuer, names, issued: None })
    }

    /// The file to hand to clients.
    pub(super) fn certificate_file(&self) -> PathBuf {
        self.folder.join(CERTIFICATE)
    }

    /// A certificate, when there is none yet or the last one is old.
    pub(super) fn renew(&mut self, now: Millis) -> Result<Option<CertifiedKey>, TlsError> {
        // A clock that was set back far makes the certificate one of the future.
        let young = |issued| (issued - BACKDATED..issued + RENEW_AFTER).contains(&now);
        if self.issued.is_some_and(young) {
            return Ok(None);
        }
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::new(self.names.clone())?;
        parameters.distinguished_name = named("Berth registry");
        parameters.use_authority_key_identifier_extension = true;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        set_life(&mut parameters, now, CERTIFICATE_LIFE);
        let certificate = parameters.signed_by(&key, &self.issuer)?.der().clone();
        self.verify(&certificate, now)
            .map_err(|source| TlsError::Authority { folder: self.folder.clone(), source })?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let certified = CertifiedKey::from_der(vec![certificate], key, &provider())?;
        self.issued = Some(now);
        Ok(Some(certified))
    }

    /// Whether a client that trusts `ca.pem` takes `certificate` at that time: the two files may not
    /// belong together. When `ca.pem` itself ends is not looked at.
    fn verify(&self, certificate: &CertificateDer<'_>, at: Millis) -> Result<(), rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let server = ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let at = UnixTime::since_unix_epoch(since_epoch(at));
        verifier.verify_server_cert(certificate, &[], &server, &[], at).map(drop)
    }
}

/// What a certificate is for: this machine under its usual names, the address that the server
/// listens on, and what the operator adds.
pub(super) fn names(added: &[String], listen: IpAddr) -> Result<Vec<String>, TlsError> {
    let mut names = BTreeSet::from(["localhost".to_owned()]);
    names.insert(Ipv4Addr::LOCALHOST.to_string());
    names.insert(Ipv6Addr::LOCALHOST.to_string());
    if !listen.is_unspecified() {
        names.insert(listen.to_string());
    }
    if let Ok(host) = rustix::system::uname().nodename().to_str()
        && is_name(host)
    {
        names.insert(host.to_ascii_lowercase());
    }
    for name in added {
        if !is_name(name) {
            return Err(TlsError::Name { name: name.clone() });
        }
        names.insert(name.to_ascii_lowercase());
    }
    Ok(names.into_iter().collect())
}

/// An address, a host name, or a host name whose first label is a star.
fn is_name(text: &str) -> bool {
    let host = text.strip_prefix("*.").unwrap_or(text);
    text.parse::<IpAddr>().is_ok() || DnsName::try_from(host).is_ok()
}

/// Makes the folder with both files in one step: of several processes that start at once one wins,
/// and no certificate is ever beside another one's key.
fn create(folder: &Path, now: Millis) -> Result<(), TlsError> {
    let key = KeyPair::generate()?;
    let mut parameters = authority_parameters(&key);
    set_life(&mut parameters, now, AUTHORITY_LIFE);
    let certificate = parameters.self_signed(&key)?.pem();
    // The name is as random as the key: what a crash leaves behind is in nobody's way.
    let partial = folder.with_extension(format!("partial-{}", identifier(&parameters, &key)));
    let made = (|| {
        DirBuilder::new().mode(0o700).create(&partial)?;
        write(&partial.join(KEY), &key.serialize_pem(), 0o600)?;
        write(&partial.join(CERTIFICATE), &certificate, 0o644)?;
        File::open(&partial)?.sync_all()?;
        std::fs::rename(&partial, folder)?;
        File::open(folder.parent().unwrap_or(Path::new(".")))?.sync_all()
    })();
    if made.is_err() {
        // The first error is the one to tell; no key may stay behind.
        drop(std::fs::remove_dir_all(&partial));
    }
    match made {
        Err(error) if !folder.exists() => Err(file_error(folder)(error)),
        _ => Ok(()),
    }
}

fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The authority as its key makes it: the name holds a part of the key's identifier, so clients can
/// tell the authorities of several servers apart, and it can be written again from the key alone.
fn authority_parameters(key: &KeyPair) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = named(&format!("Berth CA {}", identifier(&parameters, key)));
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters
}

fn identifier(parameters: &CertificateParams, key: &KeyPair) -> String {
    parameters.key_identifier(key).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

fn named(common_name: &str) -> rcgen::DistinguishedName {
    let mut name = rcgen::DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn set_life(parameters: &mut CertificateParams, now: Millis, life: Millis) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    parameters.not_before = epoch + since_epoch(now - BACKDATED);
    parameters.not_after = epoch + since_epoch(now + life);
}

fn since_epoch(time: Millis) -> Duration {
    Duration::from_millis(u64::try_from(time).unwrap_or_default())
}

#[cfg(test)]
mod tests;
