//! What a user writes to name a source.
//!
//! Parsing is about the text alone: whether a file is there or a camera answers is found out when the source is opened.
//! This module also knows how to show such a text without the passwords that may stand in it.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// A source, as named in `[[camera]] source` or on the command line.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum SourceUri {
    /// `v4l2:/dev/v4l/by-id/…`, or a path below `/dev/v4l` or `/dev/video` alone: a camera.
    V4l2(PathBuf),
    /// A path: an image, a folder, a glob, or a video. `file:` stands before names that look like something else.
    Files(String),
    /// `-`: one image on stdin.
    Stdin,
    /// `http://…` or `https://…`: an MJPEG stream or one JPEG.
    Http(String),
    /// `rtsp://…` or `rtsps://…`: a network camera.
    Rtsp(String),
    /// `command:ffmpeg -i …`: a program that writes pictures to its stdout. Words are split as a shell does, but no
    /// shell runs: there are no variables, pipes or wildcards.
    Command(Vec<String>),
    /// `line:seed=7,defects=0.5`: the simulated line, with its options ([`super::line::Options`]).
    Line(String),
}

impl SourceUri {
    /// Whether a camera stands behind it, whose next picture nobody has seen before. A command counts as one.
    pub fn is_live(&self) -> bool {
        matches!(self, Self::V4l2(_) | Self::Http(_) | Self::Rtsp(_) | Self::Command(_))
    }

    /// Whether its pictures follow each other as in a film, so that a thing can be found again in the next one. Those of a
    /// folder and of the simulated line show something else each, unless the line films a scene.
    pub fn is_film(&self) -> bool {
        match self {
            Self::Files(text) => super::ffmpeg::is_video(Path::new(text)),
            Self::Line(text) => text.parse::<super::line::Options>().is_ok_and(|options| options.scene.is_film()),
            _ => self.is_live(),
        }
    }
}

/// What a source may begin with, as the errors list it.
const SCHEMES: [&str; 8] = ["v4l2", "rtsp", "rtsps", "http", "https", "command", "line", "file"];

impl FromStr for SourceUri {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        anyhow::ensure!(
            !text.trim().is_empty(),
            "the source is empty; name a file, a folder, a camera (v4l2:/dev/v4l/by-id/…) or a URL"
        );
        anyhow::ensure!(!text.contains('\0'), "the source holds a NUL byte; remove it");
        if text == "-" {
            return Ok(Self::Stdin);
        }
        if text.starts_with("/dev/v4l/") || text.starts_with("/dev/video") {
            return Ok(Self::V4l2(PathBuf::from(text)));
        }
        anyhow::ensure!(
            !text.bytes().all(|byte| byte.is_ascii_digit()),
            "\"{text}\" is no source: cameras are named by a path that stays the same, which `andon devices` lists; a \
             file of that name is file:{text}"
        );
        let Some((scheme, rest)) = split_scheme(text) else {
            return Ok(Self::Files(text.to_owned()));
        };
        match scheme.as_str() {
            "v4l2" => {
                let path = rest.trim_start_matches("//");
                anyhow::ensure!(
                    path.starts_with('/'),
                    "v4l2:{rest} names no device; write v4l2:/dev/v4l/by-id/…, as `andon devices` lists it"
                );
                Ok(Self::V4l2(PathBuf::from(path)))
            }
            "http" | "https" => Ok(Self::Http(checked_url(&scheme, rest)?)),
            "rtsp" | "rtsps" => Ok(Self::Rtsp(checked_url(&scheme, rest)?)),
            "command" => {
                let argv = shlex::split(rest).ok_or_else(|| {
                    anyhow::anyhow!("command: a quote is not closed, or a backslash stands at the end; close it")
                })?;
                anyhow::ensure!(
                    argv.first().is_some_and(|program| !program.is_empty()),
                    "command: names no program; write command:PROGRAM ARGUMENT…"
                );
                Ok(Self::Command(argv))
            }
            "line" => Ok(Self::Line(rest.to_owned())),
            "file" => {
                let path = if rest.starts_with("///") { &rest[2..] } else { rest };
                anyhow::ensure!(!path.is_empty(), "file: names no file; write file:PATH");
                Ok(Self::Files(path.to_owned()))
            }
            _ => anyhow::bail!(unknown_scheme(&scheme, text)),
        }
    }
}

impl fmt::Display for SourceUri {
    /// Without the passwords that a URL or a command line may hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4l2(path) => write!(f, "v4l2:{}", path.display()),
            Self::Files(text) if matches!(text.parse(), Ok(Self::Files(again)) if again == *text) => f.write_str(text),
            Self::Files(text) => write!(f, "file:{text}"),
            Self::Http(text) | Self::Rtsp(text) => f.write_str(&redact(text)),
            Self::Stdin => f.write_str("-"),
            Self::Command(argv) => {
                let shown: Vec<String> = argv.iter().map(|word| redact(word)).collect();
                let words = shlex::try_join(shown.iter().map(String::as_str)).unwrap_or_else(|_| shown.join(" "));
                write!(f, "command:{words}")
            }
            Self::Line(options) => write!(f, "line:{options}"),
        }
    }
}

impl fmt::Debug for SourceUri {
    /// As [`fmt::Display`], so that no log can show a password by accident.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceUri({self})")
    }
}

/// The text with `***` for every password in the URLs it holds: before the `@`, and in query values whose key speaks of
/// one.
pub(crate) fn redact(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        shown.push_str(before);
        // Quotes may stand in a password; one that closes around a URL does no harm as a part of it.
        let end = after.find(char::is_whitespace).unwrap_or(after.len());
        let (url, following) = after.split_at(end);
        redact_url(url, &mut shown);
        rest = following;
    }
    shown.push_str(rest);
    shown
}

/// Writes what follows `://` in a URL, without its secrets.
fn redact_url(url: &str, shown: &mut String) {
    let authority_end = url.find(['/', '?', '#']).unwrap_or(url.len());
    let (authority, path) = url.split_at(authority_end);
    match authority.rsplit_once('@') {
        Some((user_info, host)) => {
            match user_info.split_once(':') {
                Some((user, _)) => {
                    shown.push_str(user);
                    shown.push_str(":***");
                }
                None => shown.push_str(user_info),
            }
            shown.push('@');
            shown.push_str(host);
        }
        None => shown.push_str(authority),
    }
    let Some((path, query)) = path.split_once('?') else {
        // Another URL may stand behind this one.
        shown.push_str(&redact(path));
        return;
    };
    shown.push_str(&redact(path));
    for (index, pair) in query.split('&').enumerate() {
        shown.push(if index == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((key, _)) if is_secret_key(key) => {
                shown.push_str(key);
                shown.push_str("=***");
            }
            _ => shown.push_str(&redact(pair)),
        }
    }
}

/// Whether a query key names a password, as the many cameras that take one in their URL call it.
fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["pass", "pwd", "psw", "token", "secret", "auth", "key"].iter().any(|word| key.contains(word))
}

/// What stands before the first colon, in lower case, where that can be a scheme and not a part of a path.
fn split_scheme(text: &str) -> Option<(String, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let mut bytes = scheme.bytes();
    let starts_well = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic());
    let goes_on_well = bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.' | b'_'));
    (starts_well && goes_on_well).then(|| (scheme.to_ascii_lowercase(), rest))
}

/// The URL with its scheme in lower case.
///
/// # Errors
/// Where there is no host or the port is no number. The text is not repeated: a slash or an `@` in a password that is
/// not percent-encoded leads here, and the password must not be shown.
fn checked_url(scheme: &str, rest: &str) -> anyhow::Result<String> {
    let Some(after) = rest.strip_prefix("//") else {
        anyhow::bail!("{scheme}: is followed by no address; write {scheme}://HOST/PATH");
    };
    let authority = &after[..after.find(['/', '?', '#']).unwrap_or(after.len())];
    let (user_info, host) = match authority.rsplit_once('@') {
        Some((user_info, host)) => (user_info, host),
        None => ("", authority),
    };
    let port = match host.rsplit_once(']') {
        Some((_, after_address)) => after_address.strip_prefix(':'),
        None => host.split_once(':').map(|(_, port)| port),
    };
    let name = if host.starts_with('[') { host } else { host.split(':').next().unwrap_or(host) };
    anyhow::ensure!(!name.is_empty(), "{scheme}:// is followed by no host; write {scheme}://HOST/PATH");
    anyhow::ensure!(
        port.is_none_or(|port| port.parse::<u16>().is_ok()) && !user_info.contains('@'),
        "the {scheme}:// source has a port that is no number, or a password with one of / ? # @ in it; write those as \
         %2F %3F %23 %40"
    );
    anyhow::ensure!(
        !after.contains(|c: char| c.is_whitespace() || c.is_control()),
        "the {scheme}:// source has a space in it; write it as %20"
    );
    Ok(format!("{scheme}:{rest}"))
}

/// One sentence about a scheme that is none, with the nearest that is one.
fn unknown_scheme(scheme: &str, text: &str) -> String {
    let nearest = SCHEMES
        .iter()
        .map(|known| (strsim::damerau_levenshtein(scheme, known), known))
        .min()
        .filter(|(distance, known)| *distance <= 2 && *distance < known.len());
    let remedy = match (scheme, nearest) {
        ("rtmp" | "rtmps" | "srt" | "udp" | "rtp" | "tcp" | "mms" | "libcamera" | "gst" | "csi", _) => {
            "command:PROGRAM … takes in whatever ffmpeg, rpicam-vid or gst-launch-1.0 can read".to_owned()
        }
        (_, Some((_, known))) => format!("did you mean {known}:"),
        _ => format!("known are {}", SCHEMES.map(|known| format!("{known}:")).join(" ")),
    };
    // A mistyped URL is not repeated: where its password ends is a guess.
    let file = if text.contains("://") { String::new() } else { format!("; a file of that name is file:{text}") };
    format!("{scheme}: is no kind of source; {remedy}{file}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> SourceUri {
        text.parse().unwrap()
    }

    fn refuse(text: &str) -> String {
        format!("{:#}", text.parse::<SourceUri>().unwrap_err())
    }

    #[test]
    fn every_kind_is_recognised() {
        let files = |text: &str| SourceUri::Files(text.to_owned());
        for (text, uri) in [
            ("bus.jpg", files("bus.jpg")),
            ("images/", files("images/")),
            ("images/*.png", files("images/*.png")),
            ("a/b:c.png", files("a/b:c.png")),
            ("clip.mp4", files("clip.mp4")),
            ("file:rtsp.jpg", files("rtsp.jpg")),
            ("file:/srv/a:b.png", files("/srv/a:b.png")),
            ("file:///srv/a.png", files("/srv/a.png")),
            ("file:-", files("-")),
            ("file:/dev/video0", files("/dev/video0")),
            ("-", SourceUri::Stdin),
            ("v4l2:/dev/v4l/by-id/usb-x", SourceUri::V4l2("/dev/v4l/by-id/usb-x".into())),
            ("v4l2:///dev/video2", SourceUri::V4l2("/dev/video2".into())),
            ("/dev/video0", SourceUri::V4l2("/dev/video0".into())),
            ("/dev/v4l/by-path/pci-0", SourceUri::V4l2("/dev/v4l/by-path/pci-0".into())),
            ("RTSP://cam:554/s?a=1", SourceUri::Rtsp("rtsp://cam:554/s?a=1".to_owned())),
            ("rtsps://cam/s", SourceUri::Rtsp("rtsps://cam/s".to_owned())),
            ("http://[fe80::1]:8080/", SourceUri::Http("http://[fe80::1]:8080/".to_owned())),
            ("https://cam/@1", SourceUri::Http("https://cam/@1".to_owned())),
            ("line:", SourceUri::Line(String::new())),
            ("line:seed=3,count=2", SourceUri::Line("seed=3,count=2".to_owned())),
        ] {
            assert_eq!(parse(text), uri, "{text}");
        }
    }

    #[test]
    fn a_command_is_split_into_words_without_a_shell() {
        assert_eq!(
            parse("command:ffmpeg -i 'my clip.mp4' \"a\\\"b\" $HOME"),
            SourceUri::Command(["ffmpeg", "-i", "my clip.mp4", "a\"b", "$HOME"].map(str::to_owned).to_vec())
        );
        assert!(refuse("command:ffmpeg 'x").contains("quote is not closed"));
        assert!(refuse("command:").contains("names no program"));
        assert!(refuse("command:''").contains("names no program"));
    }

    #[test]
    fn what_is_shown_reads_back_as_the_same() {
        for text in
            ["bus.jpg", "file:rtsp://x", "file:-", "file:7", "-", "v4l2:/dev/video0", "http://h/a?b=c", "line:noise=1"]
        {
            let uri = parse(text);
            assert_eq!(parse(&uri.to_string()), uri, "{text}");
        }
        let command = parse("command:ffmpeg -i 'my clip.mp4'");
        assert_eq!(parse(&command.to_string()), command);
    }

    #[test]
    fn passwords_are_never_shown() {
        for (text, shown) in [
            ("rtsp://admin:s3cret@cam/1", "rtsp://admin:***@cam/1"),
            ("rtsp://admin@cam/1", "rtsp://admin@cam/1"),
            ("http://u:s3cret:x@cam:80", "http://u:***@cam:80"),
            ("http://cam/v.cgi?user=a&pwd=s3cret&x=1", "http://cam/v.cgi?user=a&pwd=***&x=1"),
            ("http://u:it's3cret@cam", "http://u:***@cam"),
            (
                "http://proxy/http://u:s3cret@cam?x=rtsp://u:s3cret@cam",
                "http://proxy/http://u:***@cam?x=rtsp://u:***@cam",
            ),
            ("command:ffmpeg -i rtsp://a:s3cret@cam/1 -f mjpeg", "command:ffmpeg -i 'rtsp://a:***@cam/1' -f mjpeg"),
        ] {
            let uri = parse(text);
            assert_eq!(uri.to_string(), shown);
            assert!(!format!("{uri:?}").contains("s3cret"), "{uri:?}");
        }
        let said = "'rtsp://a:s3'cret@h/1',tcp://b:s3cret@h failed: rtsp://c@h";
        assert_eq!(redact(said), "'rtsp://a:***@h/1',tcp://b:***@h failed: rtsp://c@h");
        for text in ["rtsp://admin:s3/cret@cam/1", "rtsp://admin:s3@cret@cam/1", "rtps://admin:s3cret@cam"] {
            let message = refuse(text);
            assert!(!message.contains("cret"), "{message}");
        }
    }

    #[test]
    fn an_error_names_the_remedy() {
        for (text, part) in [
            ("", "the source is empty"),
            ("0", "andon devices"),
            ("rstp://cam/1", "did you mean rtsp:"),
            ("htpp://cam/1", "did you mean http:"),
            ("comand:ffmpeg", "did you mean command:"),
            ("rtmp://cam/1", "command:PROGRAM"),
            ("gopher://x", "known are v4l2: rtsp:"),
            ("odd:name.png", "file:odd:name.png"),
            ("http:cam", "write http://HOST/PATH"),
            ("rtsp://", "no host"),
            ("rtsp://:554/x", "no host"),
            ("http://cam:eighty/", "port that is no number"),
            ("http://cam/a b", "%20"),
            ("v4l2:", "names no device"),
            ("v4l2:video0", "names no device"),
            ("file:", "file:PATH"),
        ] {
            let message = refuse(text);
            assert!(message.contains(part), "{text}: {message}");
            assert!(!message.contains('\n'));
        }
    }
}
