//! Runs a test of this binary as a process of its own, behind `tests/fault/shim.c`.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// A folder that is fast and is no flash.
pub fn fast_dir() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// The compiled shim; `None`, and says so, where it cannot be used.
fn shim() -> Option<&'static Path> {
    static SHIM: OnceLock<Option<PathBuf>> = OnceLock::new();
    SHIM.get_or_init(|| {
        if !cfg!(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64")) {
            println!("skipped: the shim that fails calls is written for Linux with glibc and 64 bits");
            return None;
        }
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fault/shim.c");
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fault-{}.so", std::process::id()));
        let arguments = ["-shared", "-fPIC", "-O1", "-o", library.to_str().unwrap(), source];
        match Command::new("cc").args(arguments).status() {
            Ok(status) => {
                assert!(status.success(), "{source} does not compile");
                Some(library)
            }
            Err(error) => {
                println!("skipped: no C compiler for the shim that fails calls ({error}); install build-essential");
                None
            }
        }
    })
    .as_deref()
}

/// The test `name` of this binary as a process of its own, which finds `folder` in `ANDON_FAULT_DIR`.
pub fn child(name: &str, folder: &Path) -> Option<Command> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]);
    command.env("LD_PRELOAD", shim()?).env("ANDON_FAULT_DIR", folder).env("RUST_BACKTRACE", "0");
    Some(command)
}

/// The folder where this process is such a child.
pub fn child_folder() -> Option<PathBuf> {
    std::env::var_os("ANDON_FAULT_DIR").map(PathBuf::from)
}

/// What the environment asks for instead of a default.
pub fn asked<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
