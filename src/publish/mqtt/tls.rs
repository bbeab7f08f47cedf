//! The TLS side of the connection: rustls with ring, made from files that are read at every connection, so that a renewed
//! certificate takes effect without a restart.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
};

use super::fault::{Fault, FaultKind};

/// How to speak TLS with the broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// PEM file of the CAs to trust; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// Our own certificate and its key, for a broker that wants one.
    pub identity: Option<Identity>,
}

/// Who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// PEM file of the certificate, followed by those in between it and its CA.
    pub cert: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
}

/// Reads the files.
pub(super) fn client_config(settings: &TlsSettings) -> Result<Arc<ClientConfig>, Fault> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = match &settings.ca {
        Some(path) => roots_from(path)?,
        None => system_roots()?,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for TLS 1.2 and 1.3")
        .with_root_certificates(roots);
    let config = match &settings.identity {
        None => builder.with_no_client_auth(),
        Some(Identity { cert, key }) => {
            let chain = certificates(cert, "tls.cert")?;
            let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, "tls.key", "key", &error))?;
            builder.with_client_auth_cert(chain, private).map_err(|error| {
                Fault::new(
                    FaultKind::TlsFiles,
                    format!(
                        "certificate {} and key {} do not go together ({error}); check [mqtt] tls.cert and tls.key",
                        cert.display(),
                        key.display()
                    ),
                )
            })?
        }
    };
    Ok(Arc::new(config))
}

fn roots_from(path: &Path) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, "tls.ca")? {
        roots.add(certificate).map_err(|error| {
            Fault::new(
                FaultKind::TlsFiles,
                format!(
                    "CA file {} holds a certificate that cannot be used ({error}); check [mqtt] tls.ca",
                    path.display()
                ),
            )
        })?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(Fault::new(
            FaultKind::TlsFiles,
            "this system trusts no CA; install ca-certificates, or set [mqtt] tls.ca",
        ));
    }
    Ok(roots)
}

fn certificates(path: &Path, setting: &str) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if certificates.is_empty() => {
            Err(unusable(path, setting, "certificate", &pem::Error::NoItemsFound))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unusable(path, setting, "certificate", &error)),
    }
}

fn unusable(path: &Path, setting: &str, what: &str, error: &pem::Error) -> Fault {
    let path = path.display();
    let text = match error {
        pem::Error::Io(error) => format!("{what} file {path} cannot be read ({error}); check [mqtt] {setting}"),
        pem::Error::NoItemsFound => format!("file {path} holds no {what} in PEM form; check [mqtt] {setting}"),
        error => format!("{what} file {path} is damaged ({error}); check [mqtt] {setting}"),
    };
    Fault::new(FaultKind::TlsFiles, text)
}
