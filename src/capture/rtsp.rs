//! RTSP cameras, through `ffmpeg` as a command.
//!
//! The other way would be the `retina` crate with a decoder of our own. `retina` speaks RTSP well, but what can decode
//! H.264 beside it is `openh264`, whose patent licence covers only the binaries that Cisco ships and not one built with
//! andon, and it knows no H.265, which half of today's cameras send by default. ffmpeg comes with the distribution, which
//! answers for its licence (LGPL or GPL, a program of its own) and its patents, decodes all that cameras send, uses the
//! board's decoder where there is one, and a crash in it takes nothing of ours along.
//!
//! Transport is TCP: a lost UDP packet smears a picture until the next key frame, and a detector takes the smear for a
//! defect. A command line can be read by everybody on the machine, so a URL with a password is handed to ffmpeg on its
//! stdin, as a list with one entry for its `concat` reader.

use std::{
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use anyhow::anyhow;

use super::{
    ErrorKind, SourceError,
    command::{CommandSource, Spec, Stream},
    ffmpeg,
    splitter::Packing,
    uri::redact,
};

/// How long the camera may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// How many of a host's addresses are tried.
const ADDRESSES_MAX: usize = 4;

/// Opens a camera; with an `interval`, pictures that come sooner after one another are left out before they are
/// converted.
///
/// # Errors
/// Where nobody answers at the address, or there is no ffmpeg. What the camera says to user and path comes with the
/// first read.
pub(crate) fn open(url: &str, interval: Option<Duration>) -> Result<CommandSource, SourceError> {
    let label = redact(url);
    knock(url).map_err(|cause| SourceError::new(ErrorKind::Absent, cause.context(label.clone())))?;
    let filter = interval.map(thinning);
    let (argv, input) = command(url, filter.as_deref());
    CommandSource::start(Spec {
        argv,
        input,
        packing: Packing::Ppm,
        stream: Stream::Camera,
        interval,
        label,
        explain: ffmpeg::explain,
    })
}

/// The command line and what goes to its stdin.
fn command(url: &str, filter: Option<&str>) -> (Vec<String>, Option<String>) {
    let live = ["-fflags", "nobuffer", "-flags", "low_delay"];
    if redact(url) == url {
        let input = [&live[..], &["-rtsp_transport", "tcp", "-i", url]].concat();
        return (ffmpeg::argv(&input, filter), None);
    }
    let list =
        ["-f", "concat", "-safe", "0", "-protocol_whitelist", "pipe,rtsp,rtsps,rtp,srtp,tcp,udp,tls", "-i", "pipe:0"];
    // Within quotes, a quote is written by leaving them.
    let quoted = url.replace('\'', r"'\''");
    let script = format!("ffconcat version 1.0\nfile '{quoted}'\noption rtsp_transport tcp\n");
    (ffmpeg::argv(&[&live[..], &list].concat(), filter), Some(script))
}

/// Leaves out pictures that come sooner than an interval after the last one, and never repeats one. A tenth of
/// tolerance keeps a camera at the stated rate from losing every second picture to jitter.
fn thinning(interval: Duration) -> String {
    format!("select=isnan(prev_selected_t)+gte(t-prev_selected_t\\,{:.4})", interval.as_secs_f64() * 0.9)
}

/// Whether somebody answers at the URL's address. ffmpeg would say the same, but after minutes.
fn knock(url: &str) -> anyhow::Result<()> {
    let (host, port) = address(url);
    let found = (host, port).to_socket_addrs();
    let addresses = found.map_err(|error| anyhow!("the host {host} is not known ({error}); check its name"))?;
    let mut last = None;
    for address in addresses.take(ADDRESSES_MAX) {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(_) => return Ok(()),
            Err(error) => last = Some(error),
        }
    }
    let why = last.map_or("it has no address".to_owned(), |error| error.to_string());
    Err(anyhow!(
        "nobody answers at {host} port {port} ({why}); check the address, the cable, and that RTSP is switched on"
    ))
}

/// Host and port of a URL that `uri` has checked.
fn address(url: &str) -> (&str, u16) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("rtsp", url));
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let usual = if scheme == "rtsps" { 322 } else { 554 };
    if let Some((address, after)) = host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        return (address, after.strip_prefix(':').and_then(|port| port.parse().ok()).unwrap_or(usual));
    }
    match host.split_once(':') {
        Some((name, port)) => (name, port.parse().unwrap_or(usual)),
        None => (host, usual),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_stays_off_the_command_line() {
        for url in ["rtsp://admin:it's@cam/1", "rtsp://cam/1?user=a&password=it's"] {
            let (argv, input) = command(url, None);
            assert!(!argv.join(" ").contains("it's"), "{argv:?}");
            let input = input.unwrap();
            assert!(input.contains(&format!("file '{}'\n", url.replace('\'', r"'\''"))), "{input}");
            assert!(input.contains("option rtsp_transport tcp"));
        }
        let (argv, input) = command("rtsp://cam/1", Some("null"));
        assert!(argv.join(" ").contains("-rtsp_transport tcp -i rtsp://cam/1 -map 0:v:0 -vf null"), "{argv:?}");
        assert_eq!(input, None);
    }

    #[test]
    fn host_and_port_are_found() {
        for (url, expected) in [
            ("rtsp://cam", ("cam", 554)),
            ("rtsps://cam/x:1", ("cam", 322)),
            ("rtsp://u:p@cam:8554/x", ("cam", 8554)),
            ("rtsp://[fe80::1]/x", ("fe80::1", 554)),
            ("rtsp://[fe80::1]:99?x", ("fe80::1", 99)),
        ] {
            assert_eq!(address(url), expected, "{url}");
        }
    }

    #[test]
    fn nobody_at_the_address_is_absent() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let error = open(&format!("rtsp://u:s3cret@127.0.0.1:{port}/x"), None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Absent);
        let message = error.to_string();
        assert!(message.contains("nobody answers at 127.0.0.1") && !message.contains("s3cret"), "{message}");
    }
}
