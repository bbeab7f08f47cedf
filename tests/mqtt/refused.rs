//! A broker that does not let us hear what we ask for: a few bytes that play one, since what real ones do depends on their
//! access rules.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
};

use andon::publish::mqtt::{INCOMING_BYTES_MAX, Subscription};

use super::*;

/// What it does with a subscription.
#[derive(Clone, Copy, PartialEq)]
enum Refusal {
    Said,
    CutOff,
}

/// Takes connections one after the other, for ever; counts them.
fn play_broker(refusal: Refusal) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    thread::spawn(move || {
        for stream in listener.incoming() {
            counter.fetch_add(1, Ordering::Relaxed);
            let _ended = serve(stream.unwrap(), refusal);
        }
    });
    (port, connections)
}

/// One connection, until either side ends it. Packets here are shorter than 128 bytes or publishes.
fn serve(mut stream: TcpStream, refusal: Refusal) -> std::io::Result<()> {
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        let kind = byte[0];
        let (mut length, mut shift) = (0, 0);
        loop {
            stream.read_exact(&mut byte)?;
            length |= usize::from(byte[0] & 0x7f) << shift;
            shift += 7;
            if byte[0] < 0x80 {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        match kind >> 4 {
            1 => stream.write_all(&[0x20, 2, 0, 0])?,
            3 if kind & 0x06 != 0 => {
                let id = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
                stream.write_all(&[0x40, 2, body[id], body[id + 1]])?;
            }
            8 if refusal == Refusal::Said => stream.write_all(&[0x90, 3, body[0], body[1], 0x80])?,
            8 => return Ok(()),
            12 => stream.write_all(&[0xd0, 0])?,
            _ => return Ok(()),
        }
    }
}

fn device(port: u16) -> Device {
    let network = Network::start();
    let wire = Wire::new("andon", "box", false).unwrap();
    let will = wire.clone();
    let subscription = Subscription {
        filters: vec!["andon/box/cmd/resend".into()],
        incoming_bytes_max: INCOMING_BYTES_MAX,
        hear: Box::new(|message, _replies| panic!("nothing was sent: {message:?}")),
    };
    let client = Client { subscription: Some(subscription), ..Client::with_will(move || will.will(&Reading::now())) };
    let publisher = Publisher::start(&network.handle, settings(port), client);
    let device = Device { network, wire, publisher };
    device.publisher.publish(device.status(&DeviceState::Online)).unwrap();
    device
}

fn wait_for_trouble(device: &Device) -> Fault {
    let give_up = Instant::now() + SOON;
    loop {
        if let Some(fault) = device.publisher.trouble() {
            return fault;
        }
        assert!(Instant::now() < give_up, "no trouble, and the link is {:?}", device.publisher.link());
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_refused_subscription_is_told_and_all_else_goes_on() {
    for (refusal, connections_wanted) in [(Refusal::Said, 1), (Refusal::CutOff, 4)] {
        let (port, connections) = play_broker(refusal);
        let device = device(port);
        let fault = wait_for_trouble(&device);
        assert_eq!(fault.kind, FaultKind::Subscription);
        assert_eq!(
            fault.to_string(),
            format!(
                "broker 127.0.0.1:{port} refused the subscription to andon/box/cmd/resend; allow clients without a name to \
                 read it in the broker's access rules"
            )
        );
        device.wait_for_counters(|counters| counters.acknowledged >= 1);
        thread::sleep(Duration::from_millis(700));
        device.wait_until_up();
        assert_eq!(connections.load(Ordering::Relaxed), connections_wanted, "it does not try again and again");
        assert!(device.stop(SOON));
    }
}
