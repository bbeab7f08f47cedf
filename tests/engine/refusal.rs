//! Files that cannot be a YOLO: one sentence that names the file and the remedy, and never a panic.

use std::{fs, path::Path, time::Instant};

use andon::engine::{Session, Settings};

use super::stored;
use crate::util::{
    onnx::{Attr, Dim, Elem, Model},
    tiny_yolo::{Head, TinyYolo, tiny_yolo},
};

/// Why a file is refused: one line that begins with the file's name.
fn refusal(path: &Path) -> String {
    let cause = Session::load(path, &Settings { threads: Some(1), ..Settings::default() }).unwrap_err();
    let text = format!("{cause:#}");
    assert!(text.starts_with(&format!("model {}: ", path.display())), "{text}");
    assert!(!text.contains('\n') && text.contains("; "), "{text}");
    text
}

fn refusal_of(bytes: &[u8]) -> String {
    let (_folder, path) = stored(bytes);
    refusal(&path)
}

fn assert_refused(bytes: &[u8], reason: &str) {
    let text = refusal_of(bytes);
    assert!(text.contains(reason), "{text}");
}

/// A model of one node that reads `x`, which has these dimensions, and the constants that `prepare` adds.
fn one_node(
    dims: &[i64],
    op: &str,
    inputs: &[&str],
    attributes: &[(&str, Attr<'_>)],
    prepare: fn(&mut Model),
) -> Vec<u8> {
    let mut model = Model::new(17);
    model.input("x", Elem::F32, &dims.iter().copied().map(Dim::Fixed).collect::<Vec<_>>());
    model.output("y", Elem::F32, &[Dim::Symbol("n")]);
    prepare(&mut model);
    model.node(op, inputs, &["y"], attributes);
    model.to_bytes()
}

#[test]
fn what_is_no_onnx() {
    assert_refused(b"", "empty");
    assert_refused(b"PK\x03\x04 archive/data.pkl", "PyTorch");
    assert_refused(b"\x1c\0\0\0TFL3 and so on", "TensorFlow Lite");
    assert_refused(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull");
    assert_refused(&[0xff; 4096], "cut short or no ONNX");
    assert_refused(&[0x00; 4096], "cut short or no ONNX");
    assert_refused(b"\x08\x08", "cut short or no ONNX");
}

#[test]
fn what_is_no_file() {
    let folder = tempfile::tempdir().unwrap();
    assert!(refusal(folder.path()).contains("folder"));
    assert!(refusal(&folder.path().join("absent.onnx")).contains("no such file"));
    let large = folder.path().join("large.onnx");
    fs::File::create(&large).unwrap().set_len(600 << 20).unwrap();
    assert!(refusal(&large).contains("600 MiB, more than 512"));
}

#[cfg(unix)]
#[test]
fn what_may_not_be_read() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, path) = stored(&tiny_yolo(TinyYolo::default()));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&path).is_ok() {
        println!("skipped: this user may read everything");
        return;
    }
    assert!(refusal(&path).contains("may not be read"));
}

#[test]
fn what_takes_no_picture() {
    let none = |_: &mut Model| {};
    assert_refused(&one_node(&[1, 768], "Relu", &["x"], &[], none), "2 dimensions");
    assert_refused(&one_node(&[1, 4, 8, 8], "Relu", &["x"], &[], none), "4 channels");
    assert_refused(&one_node(&[1, 8, 8, 3], "Relu", &["x"], &[], none), "NCHW");
    assert_refused(&one_node(&[8, 3, 8, 8], "Relu", &["x"], &[], none), "batch=1");
    let mut two = Model::new(17);
    for name in ["x", "size"] {
        two.input(name, Elem::F32, &[1, 3, 8, 8].map(Dim::Fixed));
    }
    two.output("y", Elem::F32, &[1, 3, 8, 8].map(Dim::Fixed));
    two.node("Add", &["x", "size"], &["y"], &[]);
    assert_refused(&two.to_bytes(), "2 inputs (x, size)");
}

#[test]
fn what_cannot_run() {
    let dims = [1, 3, 8, 8];
    let none = |_: &mut Model| {};
    let text = refusal_of(&one_node(&dims, "DeformConv", &["x"], &[], none));
    assert!(text.contains("DeformConv") && text.contains("\"/DeformConv_1\""), "{text}");
    assert_refused(&one_node(&dims, "Relu", &["nowhere"], &[], none), "\"nowhere\"");
    assert_refused(&one_node(&dims, "Add", &["x", "y"], &[], none), "depends on itself");
    assert_refused(&one_node(&dims, "NonZero", &["x"], &[], none), "nms=False");
    let absent = |model: &mut Model| drop(model.external("w", Elem::F32, &[3], "model.onnx.data"));
    assert_refused(&one_node(&dims, "Add", &["x", "w"], &[], absent), "\"model.onnx.data\" are missing");
    let outside = |model: &mut Model| drop(model.external("w", Elem::F32, &[3], "../../etc/passwd"));
    assert_refused(&one_node(&dims, "Add", &["x", "w"], &[], outside), "outside its folder");
}

#[test]
fn what_is_too_large() {
    let none = |_: &mut Model| {};
    assert_refused(&one_node(&[1, 3, 60_000, 60_000], "Relu", &["x"], &[], none), "more than 1024 MiB");
    assert_refused(&one_node(&[1, 3, i64::MAX, i64::MAX], "Relu", &["x"], &[], none), "pixels");
    let dims = [1, 3, 8, 8];
    let huge = |model: &mut Model| drop(model.constant("w", Elem::F32, &[1 << 40, 1 << 40], &[0; 4]));
    assert_refused(&one_node(&dims, "Add", &["x", "w"], &[], huge), "constant \"w\"");
    let short = |model: &mut Model| drop(model.constant("w", Elem::F32, &[1, 3, 8, 8], &[0; 4]));
    assert_refused(&one_node(&dims, "Add", &["x", "w"], &[], short), "should have 192 numbers but holds 1");
    let sizes = |model: &mut Model| drop(model.longs("sizes", &[4], &[1, 3, 1 << 20, 1 << 20]));
    assert_refused(&one_node(&dims, "Expand", &["x", "sizes"], &[], sizes), "\"/Expand_1\" declares");
    let window = [("kernel_shape", Attr::Ints(&[1 << 40, 1])), ("strides", Attr::Ints(&[0, 1]))];
    assert_refused(&one_node(&dims, "MaxPool", &["x"], &window, none), "in kernel_shape");
}

#[test]
fn external_weights_beside_the_file_are_read() {
    let mut model = Model::new(17);
    model.input("x", Elem::F32, &[1, 1, 2, 2].map(Dim::Fixed));
    model.output("y", Elem::F32, &[1, 1, 2, 2].map(Dim::Fixed));
    model.external("w", Elem::F32, &[1], "model.onnx.data");
    model.node("Mul", &["x", "w"], &["y"], &[]);
    let (folder, path) = stored(&model.to_bytes());
    fs::write(folder.path().join("model.onnx.data"), 3.0_f32.to_le_bytes()).unwrap();
    let mut session = Session::load(&path, &Settings::default()).unwrap();
    assert_eq!(session.run(&[1.0, 2.0, 3.0, 4.0]).unwrap()[0].data, [3.0, 6.0, 9.0, 12.0]);
    fs::write(folder.path().join("model.onnx.data"), [0]).unwrap();
    assert!(refusal(&path).contains("cut short"));
}

/// Every prefix of a model is refused, but for the last ones, which lack only some of the metadata.
#[test]
fn a_cut_file_is_refused() {
    let bytes = tiny_yolo(TinyYolo { head: Head::EndToEnd, ..TinyYolo::default() });
    let author = bytes.windows(6).position(|window| window == b"author").unwrap();
    for length in (0..bytes.len()).step_by(7) {
        let (_folder, path) = stored(&bytes[..length]);
        if let Err(cause) = Session::load(&path, &Settings { threads: Some(1), ..Settings::default() }) {
            assert!(!format!("{cause:#}").contains('\n'));
        } else {
            assert!(length + 60 > author, "{length} of {} bytes load", bytes.len());
        }
    }
}

/// Damaged files are refused or run; nothing panics, and nothing takes long.
#[test]
fn a_damaged_file_does_no_harm() {
    for head in [Head::AnchorFree, Head::EndToEnd] {
        let bytes = tiny_yolo(TinyYolo { head, symbolic: head == Head::AnchorFree, ..TinyYolo::default() });
        // The weights may hold anything: positions inside them are skipped.
        let name = bytes.windows(7).position(|window| window == b"weights").unwrap();
        let weights = name + 100..name + 1500;
        let (_folder, path) = stored(&bytes);
        let mut random: u32 = 12_345;
        for position in (0..bytes.len()).step_by(2).filter(|position| !weights.contains(position)) {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let mut damaged = bytes.clone();
            damaged[position] ^= 1 << (random >> 29);
            fs::write(&path, &damaged).unwrap();
            let started = Instant::now();
            match Session::load(&path, &Settings { threads: Some(1), ..Settings::default() }) {
                Ok(mut session) => {
                    let input = vec![0.5; session.input().shape.iter().product()];
                    drop(session.run(&input));
                }
                Err(cause) => assert!(!format!("{cause:#}").contains('\n'), "{cause:#}"),
            }
            let seconds = started.elapsed().as_secs();
            assert!(seconds < 20, "byte {position} of {head:?} costs {seconds} seconds");
        }
    }
}

#[test]
fn impossible_axes_are_refused() {
    let none = |_: &mut Model| {};
    let perm = [("perm", Attr::Ints(&[1, 2, 1, 0]))];
    assert_refused(&one_node(&[1, 3, 8, 8], "Transpose", &["x"], &perm, none), "impossible perm");
    assert_refused(
        &one_node(&[1, 3, 8, 8], "Softmax", &["x"], &[("axis", Attr::Int(1 << 40))], none),
        "impossible axis",
    );
}
