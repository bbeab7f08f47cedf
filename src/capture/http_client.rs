//! One URL, asked by HTTP: user and password, certificates, time limits, and what a refusal means.

use std::{io, sync::Arc, time::Duration};

use anyhow::anyhow;
use http_auth::{PasswordClient, PasswordParams};
use percent_encoding::percent_decode_str;
use ureq::{
    Agent, Body,
    http::{Response, header},
    tls::{Certificate, RootCerts, TlsConfig, TlsProvider},
};

use super::{ErrorKind, SourceError, uri::redact};

/// How long the camera's name may take to be looked up, and a connection to be made.
const CONNECT: Duration = Duration::from_secs(3);
/// How long the camera may take from the request to the head of its answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a stream may be silent before it counts as broken. The owner notices a stall long before; this is what ends
/// the connection when nobody looks.
const SILENCE: Duration = Duration::from_secs(30);

/// Asks for one URL, again and again.
pub(crate) struct Client {
    agent: Agent,
    /// Without user and password.
    url: String,
    user: Option<(String, String)>,
    /// How the camera wants them; known after its first refusal.
    scheme: Option<PasswordClient>,
    label: String,
}

impl Client {
    /// A client for this URL, which may hold user and password.
    ///
    /// # Errors
    /// Where an `https` URL meets a machine without certificates.
    pub(crate) fn new(url: &str) -> Result<Self, SourceError> {
        let label = redact(url);
        let (url, user) = split_user(url);
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("andon/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_send_request(Some(ANSWER))
            .timeout_recv_response(Some(ANSWER))
            .timeout_per_read(Some(SILENCE));
        if url.starts_with("https:") {
            let tls =
                tls().map_err(|cause| SourceError::new(ErrorKind::Misconfigured, cause.context(label.clone())))?;
            config = config.tls_config(tls);
        }
        Ok(Self { agent: config.build().new_agent(), url, user, scheme: None, label })
    }

    /// The agent behind it: shutting it down ends a request in progress.
    pub(crate) fn agent(&self) -> Agent {
        self.agent.clone()
    }

    /// An error about this URL.
    pub(crate) fn fail(&self, kind: ErrorKind, text: impl std::fmt::Display) -> SourceError {
        SourceError::new(kind, anyhow!("{}: {text}", self.label))
    }

    /// Content type and body of the answer.
    ///
    /// # Errors
    /// Where nobody answers, or the answer is a refusal.
    pub(crate) fn get(&mut self) -> Result<(String, Body), SourceError> {
        let mut response = self.ask()?;
        // The first answer says how to authenticate; later ones that a number in it has run out.
        if response.status() == 401 && self.user.is_some() {
            self.scheme = Some(self.scheme_of(&response)?);
            response = self.ask()?;
        }
        self.check(&response)?;
        let content_type = header_text(&response, header::CONTENT_TYPE);
        Ok((content_type, response.into_body()))
    }

    fn ask(&mut self) -> Result<Response<Body>, SourceError> {
        let mut request = self.agent.get(&self.url);
        if let (Some(scheme), Some((user, password))) = (&mut self.scheme, &self.user) {
            let path = path_of(&self.url);
            let answer = scheme
                .respond(&PasswordParams { username: user, password, uri: path, method: "GET", body: Some(&[]) })
                .map_err(|why| {
                    self.fail(ErrorKind::Misconfigured, format_args!("the login is not possible ({why})"))
                })?;
            request = request.header(header::AUTHORIZATION, answer);
        }
        request.call().map_err(|error| self.explain(&error))
    }

    /// How the camera wants user and password.
    fn scheme_of(&self, response: &Response<Body>) -> Result<PasswordClient, SourceError> {
        let mut builder = PasswordClient::builder();
        for value in response.headers().get_all(header::WWW_AUTHENTICATE) {
            builder = builder.challenges(value.to_str().unwrap_or_default());
        }
        builder.build().map_err(|why| {
            self.fail(
                ErrorKind::Misconfigured,
                format_args!(
                    "the camera wants a login that andon does not know ({why}); choose Basic or Digest in its settings"
                ),
            )
        })
    }

    fn check(&self, response: &Response<Body>) -> Result<(), SourceError> {
        use ErrorKind::{Absent, Busy, Misconfigured};
        let status = response.status();
        let (kind, text) = match status.as_u16() {
            200 => return Ok(()),
            401 if self.user.is_some() => {
                (Misconfigured, "user or password is wrong; check them in the URL".to_owned())
            }
            401 => (
                Misconfigured,
                "a login is needed; write user and password in the URL, as http://USER:PASSWORD@HOST/".to_owned(),
            ),
            403 => (Misconfigured, "access is forbidden; give this user the right to see the stream".to_owned()),
            404 | 410 => (Misconfigured, "there is nothing at this path; check what stands behind the host".to_owned()),
            300..=399 => {
                let to = redact(&header_text(response, header::LOCATION));
                (
                    Misconfigured,
                    format!("the camera sends to another address, which is not followed; use \"{to}\" if it is right"),
                )
            }
            429 | 503 => (Busy, "the camera is busy; close another viewer".to_owned()),
            500..=599 => (Absent, format!("the camera reports a fault of its own ({status}); restart it")),
            _ => (Misconfigured, format!("the answer is {status}; check the address")),
        };
        Err(self.fail(kind, text))
    }

    /// What it means that there is no answer.
    fn explain(&self, error: &ureq::Error) -> SourceError {
        use ErrorKind::{Absent, Misconfigured};
        match error {
            ureq::Error::HostNotFound => self.fail(Absent, "the host is not known; check its name"),
            ureq::Error::Timeout(_) => {
                self.fail(Absent, "nobody answers in time; check the address and the network cable")
            }
            ureq::Error::Io(error) if is_certificate(error) => self.fail(
                Misconfigured,
                format_args!(
                    "the certificate is not trusted ({error}); install it with update-ca-certificates, or use http"
                ),
            ),
            ureq::Error::Io(error) => {
                self.fail(Absent, format_args!("nobody answers ({error}); check the address and the network cable"))
            }
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) => self.fail(
                Misconfigured,
                format_args!("no secure connection ({error}); check the camera's certificate and clock, or use http"),
            ),
            ureq::Error::Protocol(_) => {
                self.fail(Misconfigured, format_args!("what answers does not speak HTTP ({error}); check the port"))
            }
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
                self.fail(Misconfigured, "this is no URL; write http://HOST/PATH")
            }
            _ => self.fail(Absent, format_args!("nobody answers ({error}); check the address and the network cable")),
        }
    }
}

/// Certificates as the system trusts them, and the one cryptography provider that is built in.
fn tls() -> anyhow::Result<TlsConfig> {
    let found = rustls_native_certs::load_native_certs();
    anyhow::ensure!(
        !found.certs.is_empty(),
        "this machine trusts no certificates, so https is not possible; apt install ca-certificates"
    );
    let certificates: Vec<_> = found.certs.iter().map(|der| Certificate::from_der(der.as_ref()).to_owned()).collect();
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::new_with_certs(&certificates))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build())
}

/// Whether an error of the socket is one of the certificate inside.
fn is_certificate(error: &io::Error) -> bool {
    error.get_ref().and_then(|inner| inner.downcast_ref()).is_some_and(|error: &rustls::Error| {
        matches!(error, rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)
    })
}

fn header_text(response: &Response<Body>, name: header::HeaderName) -> String {
    let value = response.headers().get(name);
    value.map_or(String::new(), |value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// The URL without user and password, and these, decoded.
fn split_user(url: &str) -> (String, Option<(String, String)>) {
    let Some((scheme, rest)) = url.split_once("://") else { return (url.to_owned(), None) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let Some((user_info, host)) = rest[..end].rsplit_once('@') else { return (url.to_owned(), None) };
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    (format!("{scheme}://{host}{}", &rest[end..]), Some((decode(user), decode(password))))
}

/// Path and query of a URL, as the request line has them.
fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').map_or("/", |start| &rest[start..]);
    path.split('#').next().unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_leave_the_url() {
        let user = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        for (url, bare, expected) in [
            ("http://cam/x", "http://cam/x", None),
            ("http://u:p%40%2F@cam:80/x?y@z", "http://cam:80/x?y@z", user("u", "p@/")),
            ("https://u@cam", "https://cam", user("u", "")),
            ("http://cam/a@b", "http://cam/a@b", None),
        ] {
            assert_eq!(split_user(url), (bare.to_owned(), expected), "{url}");
        }
    }

    #[test]
    fn the_path_is_what_the_request_line_has() {
        for (url, path) in [("http://cam", "/"), ("http://cam/a?b=c#d", "/a?b=c"), ("http://cam:80/", "/")] {
            assert_eq!(path_of(url), path);
        }
    }
}
