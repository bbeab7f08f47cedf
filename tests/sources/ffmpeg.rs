//! Videos and RTSP cameras, through the ffmpeg of this machine and a GStreamer RTSP server.

use std::{
    fs,
    io::Read as _,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use andon::{
    capture::{self, ErrorKind, Read},
    frame::{Frame, PixelFormat},
    geometry::Size,
};

use super::{is_installed, next, open, processes_with, settings};

#[test]
fn every_picture_of_a_video_comes_in_order() {
    if !is_installed("ffmpeg") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("-clip one.mp4");
    let made = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=2"])
        .args(["-c:v", "mpeg4", "-q:v", "1"])
        .arg(format!("file:{}", clip.display()))
        .status()
        .unwrap();
    assert!(made.success());
    let text = clip.to_str().unwrap();
    let mut source = open(text);
    let mut frame = Frame::empty();
    let mut first = Vec::new();
    for seq in 0..20 {
        assert_eq!(next(&mut *source, &mut frame).unwrap(), Read::Frame);
        assert_eq!((frame.seq, frame.dropped, frame.name.as_str()), (seq, 0, text));
        assert_eq!(
            (frame.format, frame.size, frame.data.len()),
            (PixelFormat::Rgb8, Size { width: 64, height: 48 }, 9216)
        );
        if seq == 0 {
            first.clone_from(&frame.data);
        } else {
            assert_ne!(frame.data, first);
        }
        // A reader that is slower than ffmpeg must get them all the same.
        thread::sleep(Duration::from_millis(u64::from(seq == 3) * 300));
    }
    assert_eq!(next(&mut *source, &mut frame).unwrap(), Read::End);

    let mut repeated = settings(text);
    repeated.repeat = true;
    let mut source = capture::open(&repeated).unwrap();
    for seq in 0..22 {
        assert_eq!(next(&mut *source, &mut frame).unwrap(), Read::Frame);
        assert_eq!((frame.seq, frame.data == first), (seq, seq % 20 == 0));
    }
}

#[test]
fn a_file_that_is_no_video_is_said_to_be_none() {
    if !is_installed("ffmpeg") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.mp4");
    fs::write(&clip, "this is text, and more of it than a header would need to be looked at").unwrap();
    let error = next(&mut *open(clip.to_str().unwrap()), &mut Frame::empty()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(error.to_string().contains("clip.mp4: ffmpeg ended with"), "{error}");
}

/// GStreamer's RTSP server with a test picture and a login.
const RTSP_SERVER: &str = r#"
import sys, gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer, GLib
Gst.init(None)
server = GstRtspServer.RTSPServer(); server.set_service("0"); server.set_address("127.0.0.1")
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch("( videotestsrc is-live=true ! video/x-raw,width=160,height=120,framerate=15/1 ! x264enc tune=zerolatency key-int-max=15 speed-preset=ultrafast ! rtph264pay name=pay0 pt=96 )")
factory.set_shared(True)
token = GstRtspServer.RTSPToken(); token.set_string("media.factory.role", "user")
auth = GstRtspServer.RTSPAuth(); auth.add_basic(GstRtspServer.RTSPAuth.make_basic("admin", sys.argv[1]), token)
server.set_auth(auth)
permissions = GstRtspServer.RTSPPermissions()
permissions.add_permission_for_role("user", "media.factory.access", True)
permissions.add_permission_for_role("user", "media.factory.construct", True)
factory.set_permissions(permissions)
server.get_mount_points().add_factory("/cam", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
"#;

/// Ends the server with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The RTSP server and its port, where it can run.
fn rtsp_server(password: &str) -> Option<(Server, u16)> {
    let elements = Command::new("gst-inspect-1.0").arg("x264enc").stdout(Stdio::null()).status();
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", RTSP_SERVER, password])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()
        .filter(|_| elements.is_ok_and(|status| status.success()))?;
    let mut line = String::new();
    let mut byte = [0];
    let mut stdout = child.stdout.take().unwrap();
    let server = Server(child);
    while stdout.read_exact(&mut byte).is_ok() && byte[0] != b'\n' {
        line.push(char::from(byte[0]));
    }
    line.parse().ok().map(|port| (server, port))
}

#[test]
fn an_rtsp_camera_is_read_and_its_password_stays_hidden() {
    if !is_installed("ffmpeg") {
        return;
    }
    // Its own, so that no other process has it on its command line.
    let password = format!("s3cret{}", std::process::id());
    let Some((server, port)) = rtsp_server(&password) else {
        println!("skipped: gir1.2-gst-rtsp-server-1.0, python3-gi or x264enc is not installed");
        return;
    };
    let mut source = open(&format!("rtsp://admin:{password}@127.0.0.1:{port}/cam"));
    let mut frame = Frame::empty();
    for _ in 0..5 {
        assert_eq!(next(&mut *source, &mut frame).unwrap(), Read::Frame);
        assert_eq!((frame.format, frame.size), (PixelFormat::Rgb8, Size { width: 160, height: 120 }));
    }
    assert_eq!(processes_with(&password).into_iter().filter(|&pid| pid != server.0.id()).count(), 0);
    assert!(!source.describe().contains(&password));

    for (password, path, part) in
        [("wrong", "cam", "check user and password"), (password.as_str(), "other", "check the path")]
    {
        let mut source = open(&format!("rtsp://admin:{password}@127.0.0.1:{port}/{path}"));
        let error = next(&mut *source, &mut frame).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error}");
        assert!(error.to_string().contains(part) && !error.to_string().contains(password), "{error}");
    }
    drop(server);
    let end = loop {
        match next(&mut *source, &mut frame) {
            Ok(Read::Frame) => {}
            other => break other,
        }
    };
    assert_ne!(end.unwrap_err().kind(), ErrorKind::Corrupt);
}
