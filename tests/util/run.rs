//! Runs the `andon` binary in a folder of its own: [`Dir`] holds the files, [`Cmd`] the command, [`Answer`] what came back.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use image::{Rgb, RgbImage};

use super::tiny_yolo::{TinyYolo, tiny_yolo};

/// A folder for one test, removed at its end.
pub struct Dir(tempfile::TempDir);

impl Dir {
    /// An empty folder.
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// The path of a file in it.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, with the folders on the way to it.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The text of a file.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Writes the model that finds red and green squares.
    pub fn tiny_yolo(&self, name: &str, options: TinyYolo) -> PathBuf {
        self.write(name, tiny_yolo(options))
    }

    /// Writes a dark picture with coloured squares in some cells: `(column, row, colour)`.
    pub fn squares(&self, name: &str, size: (u32, u32), cells: &[(u32, u32, [u8; 3])]) -> PathBuf {
        let path = self.write(name, "");
        squares(size, cells).save(&path).unwrap();
        path
    }

    /// `andon` with these arguments, in this folder.
    pub fn andon(&self, arguments: &[&str]) -> Cmd {
        self.command(env!("CARGO_BIN_EXE_andon"), arguments)
    }

    /// The same where no file may become larger than so many blocks, 512 or 1024 bytes each: writing more is an error, as it
    /// is on a full disk.
    pub fn andon_on_full_disk(&self, blocks: u32, arguments: &[&str]) -> Cmd {
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec {} \"$@\"", env!("CARGO_BIN_EXE_andon"));
        self.command("sh", &[&["-c", &script, "sh"], arguments].concat())
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Cmd {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.0.path());
        // Whoever runs the tests may have these set; the answers must not depend on it.
        for name in ["ANDON_LOG", "RUST_LOG", "JOURNAL_STREAM", "NOTIFY_SOCKET", "STATE_DIRECTORY"] {
            command.env_remove(name);
        }
        // What is kept is kept here.
        command.env("XDG_STATE_HOME", self.0.path().join("state"));
        // The sentences must stay alone even where backtraces are asked for.
        command.env("RUST_BACKTRACE", "1");
        Cmd { command, stdin: Vec::new() }
    }
}

/// Bright red, as [`tiny_yolo`] likes it.
pub const RED: [u8; 3] = [220, 30, 30];

/// Bright green.
pub const GREEN: [u8; 3] = [30, 220, 30];

/// A dark picture with coloured squares of 8 × 8 pixels.
pub fn squares((width, height): (u32, u32), cells: &[(u32, u32, [u8; 3])]) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let here = cells.iter().find(|(column, row, _)| (x / 8, y / 8) == (*column, *row));
        Rgb(here.map_or([20, 20, 20], |(_, _, colour)| *colour))
    })
}

/// A command about to run.
pub struct Cmd {
    command: Command,
    stdin: Vec<u8>,
}

impl Cmd {
    /// Gives it these bytes on stdin.
    pub fn stdin(mut self, bytes: &[u8]) -> Self {
        self.stdin = bytes.to_vec();
        self
    }

    /// Sets something else about the command.
    pub fn with(mut self, set: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        set(&mut self.command);
        self
    }

    /// Runs it to its end.
    pub fn run(mut self) -> Answer {
        let mut child =
            self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A program that does not read its stdin may be gone before all is written.
        let _ = child.stdin.take().unwrap().write_all(&self.stdin);
        Answer::of(child.wait_with_output().unwrap())
    }

    /// Starts it with a stdin that can be written to; whoever starts it waits for it.
    pub fn start_with_stdin(mut self) -> Child {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Starts it; whoever starts it waits for it.
    pub fn start(mut self) -> Child {
        self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

/// What a command came to.
#[derive(Debug)]
pub struct Answer {
    /// The exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Answer {
    /// The answer of a process that ended.
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Its stdout, after exit code 0 and silence on stderr.
    pub fn ok(&self) -> &str {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self:?}");
        &self.stdout
    }

    /// Its stdout as JSON, after [`Self::ok`].
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.ok()).unwrap()
    }

    /// The one sentence that it failed with.
    pub fn sentence(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        let sentences = self.sentences();
        assert_eq!(sentences.len(), 1, "{self:?}");
        sentences[0]
    }

    /// The sentences on stderr, one a line, none of them a backtrace or a panic.
    pub fn sentences(&self) -> Vec<&str> {
        self.stderr
            .lines()
            .map(|line| {
                let sentence = line.strip_prefix("error: ").unwrap_or_else(|| panic!("no sentence: {self:?}"));
                assert!(!sentence.contains("panicked") && !sentence.contains("a fault in andon"), "{self:?}");
                sentence
            })
            .collect()
    }
}
