//! What operators install: the unit's sandbox, and the Debian package with all that has to be in it. What only a machine
//! booted by systemd can show is in `tests/vm/deb.sh`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::util::run::Dir;

const UNIT: &str = "systemd/andon.service";

/// The exposure that `systemd-analyze security` may find, in tenths.
const EXPOSURE_MAX_TENTHS: &str = "15";

/// What `packaging/deb` ends with where the program of this machine needs a newer C library than the package promises.
const C_LIBRARY_TOO_NEW: i32 = 3;

/// Runs a program in the root of the tree; `None` where the machine does not have it, which is told.
fn run(program: impl AsRef<Path>, arguments: &[&str]) -> Option<Output> {
    let program = program.as_ref();
    let mut command = Command::new(program);
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    match command.output() {
        Ok(output) => Some(output),
        Err(error) => {
            println!("skipped: {}: {error}", program.display());
            None
        }
    }
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn the_service_is_shut_in() {
    let threshold = format!("--threshold={EXPOSURE_MAX_TENTHS}");
    let Some(output) = run("systemd-analyze", &["security", "--offline=yes", "--no-pager", &threshold, UNIT]) else {
        return;
    };
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("exposure level for andon.service"), "{}", String::from_utf8_lossy(&output.stderr));
    println!("{}", table.lines().last().unwrap_or_default());
    assert!(output.status.success(), "{table}");
}

#[test]
fn systemd_knows_every_line_of_the_unit() {
    let unit = fs::read_to_string(UNIT).unwrap();
    // The programs of the unit have to be there, or nothing else is looked at.
    let unit = unit.replace("/usr/bin/andon", env!("CARGO_BIN_EXE_andon")).replace("Documentation=man:andon(1)\n", "");
    let dir = Dir::new();
    let path = dir.write("andon.service", unit);
    let Some(output) = run("systemd-analyze", &["verify", path.to_str().unwrap()]) else { return };
    let said = String::from_utf8_lossy(&output.stderr);
    let of_ours: Vec<_> = said.lines().filter(|line| line.contains("andon.service")).collect();
    assert!(of_ours.is_empty(), "{of_ours:?}");
    let wrong = dir.write("wrong.service", "[Service]\nExecStart=/bin/true\nNoSuchKey=1\n");
    let output = run("systemd-analyze", &["verify", wrong.to_str().unwrap()]).unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("NoSuchKey"), "verify finds what is wrong");
}

#[test]
fn a_box_without_a_camera_is_left_in_peace() {
    let unit = fs::read_to_string(UNIT).unwrap();
    let condition = unit.lines().find_map(|line| line.strip_prefix("ExecCondition=/bin/sh -c '")).unwrap();
    let script = condition.trim_end_matches('\'');
    let dir = Dir::new();
    let skipped_at = |path: &Path| {
        let script = script.replace("/etc/andon/andon.toml", path.to_str().unwrap());
        let output = run("/bin/sh", &["-c", &script]).unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        assert_eq!(told.contains("no camera in"), !output.status.success(), "{told}");
        !output.status.success()
    };
    let skipped = |configuration: &str| skipped_at(&dir.write("andon.toml", configuration));
    assert!(skipped(&fs::read_to_string("andon.toml").unwrap()));
    assert!(!skipped("[[camera]]\nid = \"infeed\"\n"));
    // What may be meant for a camera is for `andon check` to judge.
    assert!(!skipped("[device]\nid = \"a\" # the first\n  [ camera ]\n"));
    // So is a configuration that is not there.
    assert!(!skipped_at(&dir.path("missing.toml")));
}

/// The package of this machine's architecture around the program of these tests; `None` where the tools are missing.
fn package() -> Option<PathBuf> {
    if !Path::new("target/tools/bin/cargo-deb").exists() {
        println!("skipped: no cargo-deb; `packaging/tool cargo-deb` builds it");
        return None;
    }
    let arch = stdout(&run("dpkg", &["--print-architecture"])?);
    let mut command = Command::new("packaging/deb");
    command.args([arch.trim(), "dev"]).env("BUILT", env!("CARGO_BIN_EXE_andon")).env("FAST", "1");
    let output = command.output().unwrap();
    if output.status.code() == Some(C_LIBRARY_TOO_NEW) {
        println!("skipped: {}", String::from_utf8_lossy(&output.stderr).trim_end());
        return None;
    }
    let path = stdout(&output);
    Some(PathBuf::from(path.lines().last().unwrap()))
}

#[test]
fn the_package_has_all_that_belongs_to_it() {
    let Some(deb) = package() else { return };
    let deb = deb.to_str().unwrap();
    let fields = stdout(&run("dpkg-deb", &["-f", deb]).unwrap());
    assert!(fields.contains("\nDepends: libc6 (>= 2.35), "), "{fields}");
    assert!(fields.contains(concat!("\nVersion: ", env!("CARGO_PKG_VERSION"), "-1\n")), "{fields}");

    let listing = stdout(&run("dpkg-deb", &["-c", deb]).unwrap());
    let found: Vec<(&str, &str)> = listing
        .lines()
        .filter_map(|line| Some((line.split(' ').next()?, line.split(' ').next_back()?)))
        .filter(|(_, path)| !path.ends_with('/'))
        .collect();
    let mut expected = vec![
        ("-rw-r-----", "./etc/andon/andon.toml"),
        ("-rwxr-xr-x", "./usr/bin/andon"),
        ("-rw-r--r--", "./usr/lib/systemd/system/andon.service"),
        ("-rw-r--r--", "./usr/lib/sysusers.d/andon.conf"),
        ("-rw-r--r--", "./usr/share/andon/bare-boards.md"),
        ("-rw-r--r--", "./usr/share/andon/bare-boards.onnx"),
        ("-rw-r--r--", "./usr/share/doc/andon/README.md"),
        ("-rw-r--r--", "./usr/share/doc/andon/copyright"),
        ("-rw-r--r--", "./usr/share/doc/andon/examples/andon-light.toml"),
        ("-rw-r--r--", "./usr/share/doc/andon/examples/bottle-counting.toml"),
        ("-rw-r--r--", "./usr/share/doc/andon/examples/pcb-reject-gate.toml"),
        ("-rw-r--r--", "./usr/share/doc/andon/examples/self-checkout.toml"),
        ("-rw-r--r--", "./usr/share/doc/andon/third-party.txt.gz"),
        ("-rw-r--r--", "./usr/share/man/man1/andon.1.gz"),
    ];
    for entry in &found {
        let at = expected.iter().position(|other| other == entry);
        expected.remove(at.unwrap_or_else(|| panic!("{entry:?} is not expected")));
    }
    assert!(expected.is_empty(), "{expected:?} is missing");

    let dir = Dir::new();
    let (control, files) = (dir.path("control"), dir.path("files"));
    stdout(&run("dpkg-deb", &["-e", deb, control.to_str().unwrap()]).unwrap());
    stdout(&run("dpkg-deb", &["-x", deb, files.to_str().unwrap()]).unwrap());
    assert_eq!(dir.read("control/conffiles"), "/etc/andon/andon.toml\n");
    let script = dir.read("control/postinst");
    let (user, start) = (script.find("systemd-sysusers").unwrap(), script.find("deb-systemd-invoke").unwrap());
    assert!(user < start, "the user is there before the service starts");
    assert!(dir.read("control/prerm").contains("deb-systemd-invoke stop andon.service"));
    assert!(dir.read("control/postrm").contains("rm -rf /var/lib/andon"));

    let unpacked = |name: &str| stdout(&run("gzip", &["-dc", files.join(name).to_str().unwrap()]).unwrap());
    let notices = unpacked("usr/share/doc/andon/third-party.txt.gz");
    for name in
        ["libjpeg-turbo", "SQLite", "Noto Sans Mono", "tract-onnx", "Independent JPEG Group", "SIL OPEN FONT LICENSE"]
    {
        assert!(notices.contains(name), "{name} is not in the notices");
    }
    assert!(!notices.contains("\ntempfile "), "what only the tests need is not in the notices");
    let manual = unpacked("usr/share/man/man1/andon.1.gz");
    for command in ["RUN", "DETECT", "CHECK", "QUANTIZE"] {
        assert!(manual.contains(&format!(".SH \"ANDON {command}\"")), "the manual has nothing on {command}");
    }
    assert!(manual.contains("\\-\\-model <FILE>"));
}

#[test]
fn the_configuration_of_cross_is_whole() {
    let text = fs::read_to_string("cross.toml").unwrap();
    let table: toml::Table = text.parse().unwrap();
    let targets = table["target"].as_table().unwrap();
    for (target, gnu) in
        [("aarch64-unknown-linux-gnu", "aarch64-linux-gnu"), ("armv7-unknown-linux-gnueabihf", "arm-linux-gnueabihf")]
    {
        let entry = &targets[target];
        let before =
            entry["pre-build"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect::<String>();
        assert!(before.contains("libclang-dev"), "{target}");
        let passed = entry["env"]["passthrough"].as_array().unwrap();
        // The images set the variable of the target, which counts before the one for all.
        let variable = format!("BINDGEN_EXTRA_CLANG_ARGS_{}=--sysroot=/usr/{gnu} ", target.replace('-', "_"));
        assert!(passed.iter().any(|passed| passed.as_str().unwrap().starts_with(&variable)), "{target}: {variable}");
    }
}
