//! Why there is no connection: a kind to decide on, and one sentence that says what to do.

use std::{error::Error, fmt, io, path::PathBuf, time::Duration};

use rustls::{AlertDescription, CertificateError, InvalidMessage};

use super::session::{Failure, Refusal};

/// What stands between us and the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The password's file cannot be used.
    PasswordFile,
    /// A certificate or key on this box cannot be used.
    TlsFiles,
    /// The broker's name has no address.
    Dns,
    /// Nobody listens on the port.
    Refused,
    /// No way through the network to the broker.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// The broker's certificate comes from a CA that is not trusted here.
    UnknownCa,
    /// The broker's certificate has expired or is not valid yet.
    Expired,
    /// The broker's certificate is for other names.
    NameMismatch,
    /// The broker wants a client certificate, or another than it got.
    ClientCertificate,
    /// Any other trouble with TLS.
    Tls,
    /// The broker refuses the user name and password.
    Credentials,
    /// The broker refuses the client id.
    ClientId,
    /// The broker says that it cannot serve now.
    Unavailable,
    /// The broker or the network closed the connection.
    Closed,
    /// The connection is open, but nothing comes back, or nothing goes out.
    Silent,
    /// The broker refuses a subscription; the connection stands all the same.
    Subscription,
    /// The broker said something that MQTT 3.1.1 does not allow.
    Protocol,
    /// A mistake in andon.
    Internal,
}

impl FaultKind {
    /// Whether it stays until a person changes something, as far as one can tell.
    pub(super) fn waits_for_a_person(self) -> bool {
        matches!(
            self,
            Self::TlsFiles
                | Self::UnknownCa
                | Self::Expired
                | Self::NameMismatch
                | Self::ClientCertificate
                | Self::Credentials
                | Self::ClientId
        )
    }
}

/// Why there is no connection; displays as one sentence with the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What to decide on.
    pub kind: FaultKind,
    text: String,
}

impl Fault {
    pub(super) fn new(kind: FaultKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Fault {}

/// How far a connection had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Opening the TCP connection.
    Tcp,
    /// Agreeing on TLS.
    Handshake,
    /// Waiting for the broker's answer to CONNECT.
    Login,
    /// Publishing.
    Up,
}

/// What went wrong with a connection.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The operating system or TLS.
    Io(io::Error),
    /// The broker ended it.
    Closed,
    /// A step took longer than allowed.
    Timeout,
    /// Bytes could not be handed to the network in time.
    Stalled,
    /// MQTT.
    Session(Failure),
}

/// What the sentences name.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// `host:port`.
    pub(super) broker: String,
    pub(super) host: String,
    pub(super) client_id: String,
    pub(super) username: Option<String>,
    pub(super) tls: bool,
    pub(super) ca: Option<PathBuf>,
    pub(super) has_certificate: bool,
    pub(super) answer_within: Duration,
    pub(super) keep_alive: Duration,
}

impl Place {
    /// The sentence for a trouble.
    pub(super) fn fault(&self, phase: Phase, trouble: &Trouble) -> Fault {
        let broker = &self.broker;
        match trouble {
            Trouble::Io(error) => self.io(phase, error),
            Trouble::Closed => self.closed(phase),
            Trouble::Timeout => Fault::new(
                FaultKind::Timeout,
                format!(
                    "broker {broker} did not answer within {} s; check [mqtt] host and port, and that no firewall drops the packets",
                    self.answer_within.as_secs_f32()
                ),
            ),
            Trouble::Stalled => Fault::new(
                FaultKind::Silent,
                format!("broker {broker} takes no more data; check the broker and the network between"),
            ),
            Trouble::Session(failure) => self.session(phase, failure),
        }
    }

    /// The sentence for filters that the broker refuses.
    pub(super) fn unsubscribed(&self, refused: &[String]) -> Fault {
        let who = self.username.as_ref().map_or("clients without a name".to_owned(), |user| format!("user {user:?}"));
        Fault::new(
            FaultKind::Subscription,
            format!(
                "broker {} refused the subscription to {}; allow {who} to read it in the broker's access rules",
                self.broker,
                refused.join(", ")
            ),
        )
    }

    fn session(&self, phase: Phase, failure: &Failure) -> Fault {
        let broker = &self.broker;
        match failure {
            Failure::Refused(Refusal::Credentials) => Fault::new(
                FaultKind::Credentials,
                match &self.username {
                    Some(user) => format!(
                        "broker {broker} refused the password (user {user:?}); check [mqtt] username and password_file"
                    ),
                    None => format!(
                        "broker {broker} refused a client without a name; set [mqtt] username and password_file"
                    ),
                },
            ),
            Failure::Refused(Refusal::ClientId) => Fault::new(
                FaultKind::ClientId,
                format!("broker {broker} refused the client id {:?}; change [mqtt] client_id", self.client_id),
            ),
            Failure::Refused(Refusal::Unavailable) => Fault::new(
                FaultKind::Unavailable,
                format!("broker {broker} says that it cannot serve now; see the broker's log"),
            ),
            Failure::Refused(Refusal::Version) => Fault::new(
                FaultKind::Protocol,
                format!("broker {broker} does not speak MQTT 3.1.1; allow this version on the broker"),
            ),
            Failure::Silent if phase == Phase::Login => self.fault(phase, &Trouble::Timeout),
            Failure::Silent => Fault::new(
                FaultKind::Silent,
                format!(
                    "broker {broker} gave no sign of life for {} s; check the broker and the network between",
                    (2 * self.keep_alive).as_secs_f32()
                ),
            ),
            Failure::Unacknowledged => Fault::new(
                FaultKind::Silent,
                format!("broker {broker} does not acknowledge what it is sent; see the broker's log"),
            ),
            Failure::Protocol(what) => Fault::new(
                FaultKind::Protocol,
                format!(
                    "broker {broker} broke the rules of MQTT 3.1.1: {what}; check that [mqtt] port is an MQTT broker's"
                ),
            ),
        }
    }

    fn closed(&self, phase: Phase) -> Fault {
        let broker = &self.broker;
        let (kind, text) = match phase {
            Phase::Tcp | Phase::Handshake => (
                FaultKind::Tls,
                format!(
                    "{broker} closed the connection instead of agreeing on TLS; check that [mqtt] port is the broker's TLS port, or remove [mqtt] tls"
                ),
            ),
            Phase::Login if self.tls => (
                FaultKind::Closed,
                format!(
                    "broker {broker} closed the connection instead of answering; see the broker's log, and check [mqtt] tls.cert and tls.key if it wants a client certificate"
                ),
            ),
            Phase::Login => (
                FaultKind::Closed,
                format!(
                    "broker {broker} closed the connection instead of answering; see the broker's log, and set [mqtt] tls if this port wants TLS"
                ),
            ),
            Phase::Up => (
                FaultKind::Closed,
                format!(
                    "broker {broker} closed the connection; see the broker's log, and check that no other client has the id {:?}",
                    self.client_id
                ),
            ),
        };
        Fault::new(kind, text)
    }

    fn io(&self, phase: Phase, error: &io::Error) -> Fault {
        let broker = &self.broker;
        if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return self.tls(tls);
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Fault::new(
                FaultKind::Refused,
                format!("broker {broker} refused the connection; check that it runs, and [mqtt] host and port"),
            ),
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
                if phase != Phase::Tcp =>
            {
                self.closed(phase)
            }
            io::ErrorKind::TimedOut if phase == Phase::Up => self.session(phase, &Failure::Silent),
            io::ErrorKind::TimedOut => self.fault(phase, &Trouble::Timeout),
            _ => Fault::new(
                FaultKind::Unreachable,
                format!("broker {broker} cannot be reached ({error}); check the network and [mqtt] host"),
            ),
        }
    }

    fn tls(&self, error: &rustls::Error) -> Fault {
        let broker = &self.broker;
        let store = match &self.ca {
            Some(path) => path.display().to_string(),
            None => "the system's store".into(),
        };
        let (kind, text) = match error {
            rustls::Error::InvalidCertificate(error) => match error {
                CertificateError::UnknownIssuer => (
                    FaultKind::UnknownCa,
                    format!(
                        "broker {broker} has a certificate from a CA that is not in {store}; set [mqtt] tls.ca to the CA that signed it"
                    ),
                ),
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
                    FaultKind::Expired,
                    format!(
                        "broker {broker} has a certificate that has expired; renew it on the broker, or set this box's clock"
                    ),
                ),
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
                    FaultKind::Expired,
                    format!("broker {broker} has a certificate that is not valid yet; set this box's clock"),
                ),
                CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty() => (
                    FaultKind::NameMismatch,
                    format!(
                        "broker {broker} has a certificate for {}, not for {:?}; set [mqtt] host to a name in the certificate",
                        presented.join(", "),
                        self.host
                    ),
                ),
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
                    FaultKind::NameMismatch,
                    format!(
                        "broker {broker} has a certificate without the name {:?}; give it one as subject alternative name",
                        self.host
                    ),
                ),
                other => (
                    FaultKind::Tls,
                    format!(
                        "broker {broker} has a certificate that cannot be used ({other}); make a server certificate signed by a CA"
                    ),
                ),
            },
            rustls::Error::AlertReceived(alert) if is_about_our_certificate(*alert) => (
                FaultKind::ClientCertificate,
                if self.has_certificate {
                    format!(
                        "broker {broker} refused the client certificate ({alert:?}); set [mqtt] tls.cert and tls.key to one that it trusts"
                    )
                } else {
                    format!("broker {broker} wants a client certificate ({alert:?}); set [mqtt] tls.cert and tls.key")
                },
            ),
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => (
                FaultKind::Tls,
                format!(
                    "{broker} does not speak TLS; check that [mqtt] port is the broker's TLS port, or remove [mqtt] tls"
                ),
            ),
            other => (FaultKind::Tls, format!("no TLS with broker {broker} ({other}); check [mqtt] port and tls")),
        };
        Fault::new(kind, text)
    }
}

fn is_about_our_certificate(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::NoCertificate
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::CertificateRequired
            | Alert::HandshakeFailure
    )
}
