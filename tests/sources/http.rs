//! Cameras that speak HTTP, played by a listening socket: streams as odd as they come, refusals, logins.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use andon::{
    capture::{self, ErrorKind, Read},
    frame::{Frame, PixelFormat},
};

use super::{is_own_process, jpeg, next, open, passes_in_own_process, refuse, settings};

/// A camera on a socket: answers each connection with what the function does, and hands back the request's head.
fn serve(answer: impl Fn(usize, &str, &mut TcpStream) -> std::io::Result<()> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                head.push(byte[0]);
            }
            // A camera whose viewer has gone meets an error when it writes on; that is how it is.
            let _ = answer(number, &String::from_utf8_lossy(&head), &mut stream);
        }
    });
    address.to_string()
}

const MULTIPART: &str = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=\"--frame\"\r\n\r\n";

#[test]
fn an_mjpeg_stream_is_read_with_and_without_lengths_past_garbage_and_stalls() {
    let (go, wait) = mpsc::channel::<()>();
    let (a, b, c) = (jpeg(10), jpeg(20), jpeg(30));
    let pictures = [a.clone(), b.clone(), c.clone()];
    let address = serve(move |_, _, stream| {
        let [a, b, c] = &pictures;
        stream.write_all(MULTIPART.as_bytes())?;
        write!(stream, "----frame\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", a.len())?;
        stream.write_all(&[a, b"\r\n".as_slice()].concat())?;
        wait.recv().unwrap();
        // Without a length, behind another boundary than promised, and in two halves.
        stream.write_all(b"garbage \xff\xd8 \xff\xff--other\r\n\r\n")?;
        stream.write_all(&b[..200])?;
        wait.recv().unwrap();
        stream.write_all(&b[200..])?;
        wait.recv().unwrap();
        // Cut short, then one with a wrong length.
        write!(stream, "\r\n--frame\r\nContent-Length: {}\r\n\r\n", c.len())?;
        stream.write_all(&c[..c.len() - 100])?;
        stream.write_all(b"\r\n--frame\r\nContent-Length: 7\r\n\r\n")?;
        stream.write_all(c)?;
        wait.recv().unwrap();
        Ok(())
    });
    let mut source = open(&format!("http://{address}/stream"));
    let mut frame = Frame::empty();
    assert_eq!(next(&mut *source, &mut frame).unwrap(), Read::Frame);
    assert_eq!((frame.format, frame.seq, &frame.data), (PixelFormat::Jpeg, 0, &a));
    for _ in 0..2 {
        let before = Instant::now();
        assert_eq!(source.read(&mut frame, Duration::from_millis(50)).unwrap(), Read::Nothing);
        assert!(before.elapsed() < Duration::from_secs(5), "read waited beyond its timeout");
        go.send(()).unwrap();
    }
    assert_eq!(next(&mut *source, &mut frame).unwrap(), Read::Frame);
    assert_eq!((frame.seq, &frame.data), (1, &b));
    go.send(()).unwrap();
    let mut damaged = 0;
    loop {
        match next(&mut *source, &mut frame) {
            Ok(read) => break assert_eq!(read, Read::Frame),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt);
                damaged += 1;
            }
        }
    }
    assert_eq!((frame.seq, frame.dropped, &frame.data), (3, 1, &c));
    go.send(()).unwrap();
    // The camera hangs up; the damaged picture is told of by now at the latest.
    let end = loop {
        match next(&mut *source, &mut frame) {
            Err(error) if error.kind() == ErrorKind::Corrupt => damaged += 1,
            other => break other.unwrap_err(),
        }
    };
    assert_eq!((end.kind(), damaged), (ErrorKind::Lost, 1), "{end}");
}

#[test]
fn a_silent_stream_can_be_closed_at_once() {
    let address = serve(|_, _, stream| {
        stream.write_all(MULTIPART.as_bytes())?;
        stream.read_exact(&mut [0])
    });
    let mut source = open(&format!("http://{address}/"));
    assert_eq!(source.read(&mut Frame::empty(), Duration::from_millis(20)).unwrap(), Read::Nothing);
    let before = Instant::now();
    drop(source);
    assert!(before.elapsed() < Duration::from_secs(5), "closing took {:?}", before.elapsed());
}

#[test]
fn a_single_jpeg_is_asked_for_again_and_again() {
    let address = serve(|number, _, stream| {
        let picture = jpeg(number as u8);
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            picture.len()
        )?;
        stream.write_all(&picture)
    });
    let mut wanted = settings(&format!("http://{address}/shot.jpg"));
    wanted.rate_hz = Some(20.0);
    let mut source = capture::open(&wanted).unwrap();
    assert_eq!(source.interval(), Some(Duration::from_millis(50)));
    let mut frame = Frame::empty();
    let mut expected = 0;
    let before = Instant::now();
    for _ in 0..5 {
        assert_eq!(next(&mut *source, &mut frame).unwrap(), Read::Frame);
        assert_eq!(frame.seq, expected + frame.dropped);
        assert_eq!(frame.data, jpeg(frame.seq as u8));
        expected = frame.seq + 1;
    }
    assert!(before.elapsed() >= Duration::from_millis(190), "asked faster than the rate: {:?}", before.elapsed());
}

#[test]
fn refusals_have_a_kind_and_a_remedy() {
    for (status, kind, part) in [
        ("401 Unauthorized", ErrorKind::Misconfigured, "http://USER:PASSWORD@HOST/"),
        ("403 Forbidden", ErrorKind::Misconfigured, "forbidden"),
        ("404 Not Found", ErrorKind::Misconfigured, "check what stands behind the host"),
        ("302 Found\r\nLocation: http://u:s3cret@other/", ErrorKind::Misconfigured, "http://u:***@other/"),
        ("503 Service Unavailable", ErrorKind::Busy, "another viewer"),
        ("500 Internal Server Error", ErrorKind::Absent, "fault of its own"),
        ("200 OK\r\nContent-Type: text/html", ErrorKind::Misconfigured, "the answer is text/html"),
        ("200 OK", ErrorKind::Misconfigured, "something without a type"),
    ] {
        let address = serve(move |_, _, stream| {
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        });
        let error = refuse(&settings(&format!("http://{address}/x")));
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(part) && error.to_string().starts_with("http://127"), "{error}");
    }
    let speaks_other = serve(|_, _, stream| stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"));
    assert_eq!(refuse(&settings(&format!("http://{speaks_other}/"))).kind(), ErrorKind::Misconfigured);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(refuse(&settings(&format!("http://{nobody}/"))).kind(), ErrorKind::Absent);
}

#[test]
fn user_and_password_are_given_as_the_camera_wants_them() {
    const DIGEST: &str = "Digest realm=\"cam\", nonce=\"abc\", qop=\"auth\", algorithm=MD5";
    for challenge in ["Basic realm=\"cam\"", DIGEST] {
        let (tell, told) = mpsc::channel();
        let address = serve(move |_, head, stream| {
            let given = head.lines().find(|line| line.to_ascii_lowercase().starts_with("authorization:"));
            let Some(given) = given else {
                return write!(
                    stream,
                    "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: {challenge}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
            };
            tell.send(given.to_owned()).unwrap();
            stream.write_all(MULTIPART.as_bytes())?;
            stream.write_all(&jpeg(1))
        });
        let mut source = open(&format!("http://admin:p%40ss@{address}/v?x=1"));
        assert_eq!(next(&mut *source, &mut Frame::empty()).unwrap(), Read::Frame);
        let given = told.recv().unwrap();
        assert!(!source.describe().contains("p%40ss"), "{}", source.describe());
        if challenge.starts_with("Basic") {
            assert!(given.ends_with("Basic YWRtaW46cEBzcw=="), "{given}");
        } else {
            assert!(given.contains("username=\"admin\"") && given.contains("uri=\"/v?x=1\""), "{given}");
        }
    }
    let refusing = serve(|_, _, stream| {
        write!(
            stream,
            "HTTP/1.1 401 No\r\nWWW-Authenticate: {DIGEST}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
    });
    let error = refuse(&settings(&format!("http://admin:wrong@{refusing}/")));
    assert!(error.to_string().contains("user or password is wrong"), "{error}");
}

/// A camera that answers every secure connection with one picture; its address, and its certificate as PEM.
fn serve_tls() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
            let mut byte = [0];
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                head.push(byte[0]);
            }
            // A viewer that does not trust the certificate is gone by now.
            let _ = stream.write_all(&[MULTIPART.as_bytes(), &jpeg(8)].concat());
            let _ = stream.flush();
        }
    });
    (format!("localhost:{port}"), made.cert.pem())
}

#[test]
fn a_secure_camera_is_read_where_its_certificate_is_trusted() {
    const TEST: &str = "sources::http::a_secure_camera_is_read_where_its_certificate_is_trusted";
    let (address, certificate) = serve_tls();
    if is_own_process() {
        // The file that the environment names is what this process trusts; it was written before its start.
        let trusted = std::env::var("SSL_CERT_FILE").unwrap();
        let address = std::fs::read_to_string(format!("{trusted}.address")).unwrap();
        let mut frame = Frame::empty();
        assert_eq!(next(&mut *open(&format!("https://{address}/")), &mut frame).unwrap(), Read::Frame);
        assert_eq!(frame.data, jpeg(8));
        return;
    }
    let error = refuse(&settings(&format!("https://{address}/")));
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("camera.pem");
    std::fs::write(&trusted, certificate).unwrap();
    std::fs::write(folder.path().join("camera.pem.address"), &address).unwrap();
    assert!(passes_in_own_process(TEST, ("SSL_CERT_FILE", trusted.to_str().unwrap()), &[]));
}
