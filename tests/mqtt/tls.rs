//! TLS and mutual TLS with mosquitto; every certificate is made here.

use std::path::{Path, PathBuf};

use andon::publish::mqtt::{Identity, TlsSettings};
use rcgen::ExtendedKeyUsagePurpose;

use super::*;

pub(super) fn with_tls(port: u16, ca: &Path) -> Settings {
    Settings { tls: Some(TlsSettings { ca: Some(ca.to_owned()), identity: None }), ..settings(port) }
}

#[track_caller]
fn assert_fault(settings: Settings, kind: FaultKind, sentence: &str) {
    let fault = Device::start(settings).wait_until_down(kind).to_string();
    assert!(fault.contains(sentence), "{fault}");
}

#[test]
fn a_broker_is_believed_by_its_certificate_only() {
    if !mosquitto::is_installed() {
        return;
    }
    let ca = Ca::new("Plant CA");
    let other = Ca::new("Another CA");
    let start = |tls| Mosquitto::start(Setup { tls: Some(tls), ..Setup::default() });
    let broker = start(ca.server("127.0.0.1"));
    let device = Device::start(with_tls(broker.port, &ca.pem()));
    device.wait_for_counters(|counters| counters.acknowledged == 1);
    assert!(device.stop(SOON));
    broker.assert_no_complaint();

    let wrong_ca = with_tls(broker.port, &other.pem());
    assert_fault(wrong_ca, FaultKind::UnknownCa, "set [mqtt] tls.ca to the CA that signed it");
    let other_name = Settings { host: "localhost".into(), ..with_tls(broker.port, &ca.pem()) };
    assert_fault(other_name, FaultKind::NameMismatch, "not for \"localhost\"; set [mqtt] host");
    let system = Settings { tls: Some(TlsSettings::default()), ..settings(broker.port) };
    let fault = Device::start(system).wait_for_link(SOON, |link| matches!(link, Link::Down { .. }));
    let Link::Down { reason, .. } = fault else { unreachable!("it was just seen to be down") };
    assert!([FaultKind::UnknownCa, FaultKind::TlsFiles].contains(&reason.kind), "{reason}");

    let expired = start(ca.sign("127.0.0.1", ExtendedKeyUsagePurpose::ServerAuth, true));
    assert_fault(with_tls(expired.port, &ca.pem()), FaultKind::Expired, "has expired; renew it on the broker");
}

#[test]
fn tls_and_no_tls_do_not_meet() {
    if !mosquitto::is_installed() {
        return;
    }
    let ca = Ca::new("Plant CA");
    let secure = Mosquitto::start(Setup { tls: Some(ca.server("127.0.0.1")), ..Setup::default() });
    let plain = Mosquitto::start(Setup::default());
    assert_fault(settings(secure.port), FaultKind::Closed, "set [mqtt] tls if this port wants TLS");
    assert_fault(with_tls(plain.port, &ca.pem()), FaultKind::Tls, "or remove [mqtt] tls");
}

#[test]
fn a_broker_may_want_to_see_our_certificate() {
    if !mosquitto::is_installed() {
        return;
    }
    let ca = Ca::new("Plant CA");
    let other = Ca::new("Another CA");
    let setup = Setup { tls: Some(ca.server("127.0.0.1")), clients_from: Some(ca.pem()), ..Setup::default() };
    let broker = Mosquitto::start(setup);
    let wants = "wants a client certificate";
    assert_fault(with_tls(broker.port, &ca.pem()), FaultKind::ClientCertificate, wants);
    let with_identity = |(cert, key): (PathBuf, PathBuf)| {
        let tls = TlsSettings { ca: Some(ca.pem()), identity: Some(Identity { cert, key }) };
        Settings { tls: Some(tls), ..settings(broker.port) }
    };
    let stranger = other.sign("box", ExtendedKeyUsagePurpose::ClientAuth, false);
    assert_fault(with_identity(stranger.clone()), FaultKind::ClientCertificate, "refused the client certificate");
    let friend = ca.sign("box", ExtendedKeyUsagePurpose::ClientAuth, false);
    let mixed = (friend.0.clone(), stranger.1);
    assert_fault(with_identity(mixed), FaultKind::TlsFiles, "do not go together");
    let device = Device::start(with_identity(friend));
    device.wait_for_counters(|counters| counters.acknowledged == 1);
    assert!(device.stop(SOON));
}

#[test]
fn files_that_cannot_be_used_are_named_and_waited_for() {
    if !mosquitto::is_installed() {
        return;
    }
    let ca = Ca::new("Plant CA");
    let broker = Mosquitto::start(Setup { tls: Some(ca.server("127.0.0.1")), ..Setup::default() });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let device = Device::start(with_tls(broker.port, &file));
    let fault = device.wait_until_down(FaultKind::TlsFiles).to_string();
    assert!(fault.contains("ca.pem cannot be read") && fault.ends_with("check [mqtt] tls.ca"), "{fault}");
    fs::write(&file, "not a certificate").unwrap();
    device.wait_for_link(SOON, |link| {
        matches!(link, Link::Down { reason, .. } if reason.to_string().contains("holds no certificate in PEM form"))
    });
    fs::copy(ca.pem(), &file).unwrap();
    device.wait_until_up();
}
