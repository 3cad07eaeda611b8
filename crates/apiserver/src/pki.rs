//! Certificates and keys: a CA of our own, the serving certificate it signs, and the key that service account tokens carry.

use std::{
    fmt,
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};

/// Why certificates could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: std::io::Error,
    },
    /// A certificate could not be made, or what the directory holds is not one.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
}

/// What the server shows to its clients and signs with. All parts are PEM text.
#[derive(Clone)]
pub struct Pki {
    /// Certificate that clients trust: the `certificate-authority-data` of a kubeconfig, `ca.crt` of a service account.
    pub ca_certificate: String,
    /// Serving certificate.
    pub server_certificate: String,
    /// Key of the serving certificate (PKCS#8).
    pub server_key: String,
    /// Key that signs service account tokens (PKCS#8, P-256).
    pub service_account_key: String,
    /// Public half of it.
    pub service_account_public_key: String,
}

impl fmt::Debug for Pki {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pki").finish_non_exhaustive()
    }
}

/// Ten years: the CA lives as long as the data directory, and nobody is there to renew it.
const CA_DAYS: i64 = 3650;

impl Pki {
    /// Fresh keys and certificates that are kept nowhere; for tests and simulations.
    ///
    /// # Errors
    /// When a name is not a DNS name or an IP address.
    pub fn generate(names: &[String]) -> Result<Self, Error> {
        let ca_key = KeyPair::generate()?;
        let ca_certificate = authority(&ca_key)?;
        let (server_certificate, server_key) = serving(&ca_certificate, &ca_key, names)?;
        let service_account = KeyPair::generate()?;
        Ok(Self {
            ca_certificate,
            server_certificate,
            server_key,
            service_account_key: service_account.serialize_pem(),
            service_account_public_key: service_account.public_key_pem(),
        })
    }

    /// Reads the CA and the token key from `dir`, makes what is missing (mode 0600), and signs a new serving certificate
    /// for these DNS names and IP addresses.
    ///
    /// # Errors
    /// When the directory cannot be read or written, or holds something else under these names.
    pub fn load_or_create(dir: &Path, names: &[String]) -> Result<Self, Error> {
        std::fs::create_dir_all(dir).map_err(|source| Error::Write { path: dir.to_owned(), source })?;
        let ca_key = load_or_create_key(&dir.join("ca.key"))?;
        let ca_path = dir.join("ca.crt");
        let ca_certificate = match read(&ca_path)? {
            Some(pem) => pem,
            None => {
                let pem = authority(&ca_key)?;
                write(&ca_path, &pem)?;
                pem
            }
        };
        let (server_certificate, server_key) = serving(&ca_certificate, &ca_key, names)?;
        let service_account = load_or_create_key(&dir.join("sa.key"))?;
        Ok(Self {
            ca_certificate,
            server_certificate,
            server_key,
            service_account_key: service_account.serialize_pem(),
            service_account_public_key: service_account.public_key_pem(),
        })
    }
}

fn authority(key: &KeyPair) -> Result<String, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "windlass-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    validity(&mut params);
    Ok(params.self_signed(key)?.pem())
}

fn serving(ca_certificate: &str, ca_key: &KeyPair, names: &[String]) -> Result<(String, String), Error> {
    let issuer = Issuer::from_ca_cert_pem(ca_certificate, ca_key)?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "windlass-apiserver");
    for name in names {
        params.subject_alt_names.push(match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.as_str().try_into()?),
        });
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    validity(&mut params);
    let key = KeyPair::generate()?;
    Ok((params.signed_by(&key, &issuer)?.pem(), key.serialize_pem()))
}

/// Starts a day ago, so that a client whose clock is behind trusts it too.
fn validity(params: &mut CertificateParams) {
    let now = std::time::SystemTime::now();
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    params.not_before = (now - day).into();
    params.not_after = (now + day * u32::try_from(CA_DAYS).unwrap_or(u32::MAX)).into();
}

fn load_or_create_key(path: &Path) -> Result<KeyPair, Error> {
    if let Some(pem) = read(path)? {
        return Ok(KeyPair::from_pem(&pem)?);
    }
    let key = KeyPair::generate()?;
    write(path, &key.serialize_pem())?;
    Ok(key)
}

fn read(path: &Path) -> Result<Option<String>, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(source) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { path: path.to_owned(), source }),
    }
}

/// Writes beside the file and renames, so that a crash leaves no half-written key.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    let fail = |source| Error::Write { path: path.to_owned(), source };
    let beside = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside).map_err(fail)?;
    file.write_all(text.as_bytes()).map_err(fail)?;
    file.sync_all().map_err(fail)?;
    std::fs::rename(&beside, path).map_err(fail)
}
