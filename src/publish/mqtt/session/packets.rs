//! Packets made of what a connection begins with, and what the broker's answers mean.

use rumqttc::mqttbytes::{
    Protocol, QoS,
    v4::{ConnectReturnCode, LastWill, Login, Packet, Subscribe, SubscribeFilter},
};

use super::{Connect, Failure, Refusal, STRING_BYTES_MAX, message::codec_qos};

pub(super) fn connect_packet(connect: Connect) -> Result<Packet, Failure> {
    let mut packet = rumqttc::mqttbytes::v4::Connect::new(connect.client_id);
    packet.protocol = Protocol::V4;
    packet.clean_session = true;
    // Rounded up: the broker gives us up after one and a half times this.
    packet.keep_alive = u16::try_from(connect.keep_alive.as_millis().div_ceil(1000)).unwrap_or(u16::MAX);
    packet.last_will = connect.will.map(|will| LastWill {
        topic: will.topic,
        message: will.payload,
        qos: codec_qos(will.qos),
        retain: will.retain,
    });
    packet.login = connect.login.map(|(username, password)| Login { username, password });
    let login = packet.login.as_ref();
    let login_bytes = login.map_or(0, |login| login.username.len().max(login.password.len()));
    let will_bytes = packet.last_will.as_ref().map_or(0, |will| will.message.len());
    if packet.client_id.len().max(login_bytes).max(will_bytes) > STRING_BYTES_MAX {
        return Err(Failure::Protocol("a client id, user name, password or last will beyond 65535 bytes".into()));
    }
    if login.is_some_and(|login| login.username.is_empty()) {
        return Err(Failure::Protocol("a password without a user name".into()));
    }
    Ok(Packet::Connect(packet))
}

pub(super) fn refusal(code: ConnectReturnCode) -> Option<Refusal> {
    match code {
        ConnectReturnCode::Success => None,
        ConnectReturnCode::RefusedProtocolVersion => Some(Refusal::Version),
        ConnectReturnCode::BadClientId => Some(Refusal::ClientId),
        ConnectReturnCode::ServiceUnavailable => Some(Refusal::Unavailable),
        ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => Some(Refusal::Credentials),
    }
}

pub(super) fn kind(packet: &Packet) -> &'static str {
    match packet {
        Packet::Connect(_) => "CONNECT",
        Packet::ConnAck(_) => "CONNACK",
        Packet::Publish(_) => "PUBLISH",
        Packet::PubAck(_) => "PUBACK",
        Packet::PubRec(_) => "PUBREC",
        Packet::PubRel(_) => "PUBREL",
        Packet::PubComp(_) => "PUBCOMP",
        Packet::Subscribe(_) => "SUBSCRIBE",
        Packet::SubAck(_) => "SUBACK",
        Packet::Unsubscribe(_) => "UNSUBSCRIBE",
        Packet::UnsubAck(_) => "UNSUBACK",
        Packet::PingReq => "PINGREQ",
        Packet::PingResp => "PINGRESP",
        Packet::Disconnect => "DISCONNECT",
    }
}

/// Asks for all messages that match one of the filters.
pub(super) fn subscribe_packet(id: u16, filters: &[String]) -> Packet {
    let filters = filters.iter().map(|filter| SubscribeFilter::new(filter.clone(), QoS::AtLeastOnce));
    Packet::Subscribe(Subscribe { pkid: id, ..Subscribe::new_many(filters) })
}
